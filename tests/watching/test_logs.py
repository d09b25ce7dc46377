"""Log lines say what they are about."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from tidemill import logs

log = logging.getLogger("tidemill.tested")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger("tidemill")
    before = root.handlers, root.level, root.propagate
    monkeypatch.setattr(logs, "_process", {})
    with logs.bound():
        yield
    root.handlers, root.level, root.propagate = before


def lines(form: str) -> io.StringIO:
    out = io.StringIO()
    logs.configure(form, stream=out, mask=lambda text: text.replace("hunter2", "***"))
    return out


def test_json_lines_have_the_fields() -> None:
    out = lines("json")
    logs.of_process(job="visits")
    with logs.bound(query="hits", generation=2):
        logs.bind(batch=7)
        log.info("read with %s", "hunter2", extra={"rows": 3})
    log.info("later")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert {k: first[k] for k in ("job", "query", "batch", "generation", "rows", "message")} == {
        "job": "visits", "query": "hits", "batch": 7, "generation": 2, "rows": 3, "message": "read with ***",
    }  # fmt: skip
    assert second["job"] == "visits" and "query" not in second


def test_lines_for_people_begin_with_them() -> None:
    out = lines("text")
    log.info("nothing known")
    with logs.bound(query="hits", batch=7):
        log.info("read")
    first, second = out.getvalue().splitlines()
    assert first.endswith("tidemill.tested: nothing known")
    assert second.endswith("tidemill.tested: [query=hits batch=7] read")


def test_what_a_call_says_itself_counts() -> None:
    out = lines("json")
    with logs.bound(query="hits"):
        log.info("about another", extra={"query": "visits"})
    assert json.loads(out.getvalue())["query"] == "visits"


def test_pools_carry_the_fields_and_other_threads_have_their_own() -> None:
    out = lines("json")
    with logs.CarryingPool(1) as pool:
        with logs.bound(query="hits"):
            list(pool.map(log.info, ["from the pool"]))
            other = threading.Thread(target=log.info, args=("from a thread",))
            other.start()
            other.join()
        pool.submit(log.info, "from the pool, later").result()
    told = {line["message"]: line.get("query") for line in map(json.loads, out.getvalue().splitlines())}
    assert told == {"from the pool": "hits", "from a thread": None, "from the pool, later": None}
