"""What every checkpoint log promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.checkpoint import open_
from tidemill.checkpoint.base import CheckpointLog
from tidemill.checkpoint.files import DirectoryLog
from tidemill.checkpoint.memory import MemoryDisk, MemoryLog
from tidemill.errors import CheckpointError, CheckpointLockedError, FencedError
from tidemill.sinks.base import Generation

Open = Callable[[], CheckpointLog]
"""Opens the same checkpoint anew, as another process would."""


KINDS_OF_LOG = ["memory", "directory", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=KINDS_OF_LOG)
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return opener(request.param, request, tmp_path)


def opener(kind: str, request: pytest.FixtureRequest, path: Path) -> Open:
    if kind == "redis":
        location = request.getfixturevalue("redis").location()
        return lambda: open_(location)[0]
    disk = MemoryDisk()
    return (lambda: MemoryLog(disk)) if kind == "memory" else (lambda: DirectoryLog(path / "cp"))


def test_an_entry_is_read_back_by_another_process(open_log: Open) -> None:
    log = open_log()
    generation = log.acquire("one")
    entry = {"n": 1, "list": [1.5, None, "ü\n"], "nested": {"a": True}}
    log.put_new("q", "plan", 0, entry, generation)
    other = open_log()
    assert other.get("q", "plan", 0) == entry
    assert other.get("q", "plan", 1) is None
    assert other.get("q", "commit", 0) is None
    assert other.get("elsewhere", "plan", 0) is None


def test_an_entry_is_made_once(open_log: Open) -> None:
    log = open_log()
    generation = log.acquire("one")
    log.put_new("q", "plan", 0, {"a": 1}, generation)
    with pytest.raises(CheckpointError, match="exist"):
        log.put_new("q", "plan", 0, {"a": 2}, generation)
    assert log.get("q", "plan", 0) == {"a": 1}


def test_numbers_are_in_order_and_by_kind_and_query(open_log: Open) -> None:
    log = open_log()
    generation = log.acquire("one")
    for n in (9, 10, 2):
        log.put_new("q", "plan", n, {}, generation)
    log.put_new("q", "commit", 3, {}, generation)
    log.put_new("other", "plan", 77, {}, generation)
    assert log.numbers("q", "plan") == [2, 9, 10]
    assert log.latest("q", "plan") == 10
    assert log.latest("q", "commit") == 3
    assert log.latest("q", "prepared") is None
    assert log.numbers("nobody", "plan") == []


def test_purge_leaves_the_query_entry_and_newer_ones(open_log: Open) -> None:
    log = open_log()
    generation = log.acquire("one")
    log.put_new("q", "query", 0, {"id": "q"}, generation)
    for n in range(6):
        for kind in ("plan", "prepared", "commit"):
            log.put_new("q", kind, n, {"n": n}, generation)  # type: ignore[arg-type]
    log.purge("q", 4)
    log.purge("q", 4)
    assert [log.numbers("q", k) for k in ("plan", "prepared", "commit")] == [[4, 5]] * 3  # type: ignore[arg-type]
    assert log.get("q", "query", 0) == {"id": "q"}
    log.put_new("q", "plan", 6, {}, generation)
    log.purge("q", 6)
    assert open_log().numbers("q", "plan") == [6]


def test_purge_by_a_later_process_finds_the_entries_of_the_earlier(open_log: Open) -> None:
    log = open_log()
    generation = log.acquire("one")
    for n in range(3):
        log.put_new("q", "plan", n, {}, generation)
    log.close()
    log = open_log()
    generation = log.acquire("two")
    log.put_new("q", "plan", 3, {}, generation)
    log.purge("q", 3)
    assert log.numbers("q", "plan") == [3]


def test_each_acquire_begins_a_generation_that_is_newer(open_log: Open) -> None:
    seen = []
    for _ in range(3):
        log = open_log()
        seen.append(log.acquire("one"))
        log.release(seen[-1])
    assert [g.number for g in seen] == [1, 2, 3]
    assert len({g.token for g in seen}) == 3


def test_a_lease_that_is_held_is_refused_by_the_holders_name(open_log: Open) -> None:
    first = open_log()
    first.acquire("the job web-logs")
    with pytest.raises(CheckpointLockedError, match="the job web-logs"):
        open_log().acquire("another")


def test_a_closed_log_holds_no_lease(open_log: Open) -> None:
    first = open_log()
    first.acquire("one")
    first.close()
    first.close()
    assert open_log().acquire("two").number == 2


def test_who_lost_the_lease_writes_nothing(open_log: Open) -> None:
    first = open_log()
    old = first.acquire("one")
    first.put_new("q", "plan", 0, {}, old)
    first.check(old)
    first.release(old)
    second = open_log()
    new = second.acquire("two")
    second.check(new)
    for log, generation in ((first, old), (second, old), (second, Generation(new.number, "another token"))):
        with pytest.raises(FencedError):
            log.check(generation)
    with pytest.raises(FencedError):
        first.put_new("q", "plan", 1, {}, old)
    with pytest.raises(FencedError):
        second.put_new("q", "plan", 1, {}, old)
    with pytest.raises(FencedError):
        second.put_new("q", "plan", 1, {}, Generation(new.number, "another token"))
    first.release(old)
    second.put_new("q", "plan", 1, {}, new)
    assert second.numbers("q", "plan") == [0, 1]


def test_a_generation_can_begin_above_another_checkpoints(open_log: Open) -> None:
    log = open_log()
    assert log.acquire("copy", above=7).number == 8
    log.close()
    assert open_log().acquire("next", above=3).number == 9


def test_what_a_source_remembers_is_found_by_the_next_process(open_log: Open) -> None:
    log = open_log()
    log.acquire("one")
    source, other = log.source_log(0), log.source_log(1)
    for n in range(4):
        source.put(n, [f"file {n}", n])
    source.put(3, ["again"])
    other.put(0, ["another source"])
    source.compact(2, ["all up to 2"])
    log.close()
    assert open_log().source_log(0).read() == [(2, ["all up to 2"]), (3, ["again"])]
    assert open_log().source_log(1).read() == [(0, ["another source"])]
    assert open_log().source_log(2).read() == []


KINDS = ("plan", "prepared", "commit")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=st.lists(st.integers(0, 8), min_size=1, max_size=6), retain=st.integers(1, 3))
@pytest.mark.parametrize("kind", KINDS_OF_LOG)
def test_whenever_a_process_dies_the_log_goes_on(
    kind: str,
    lives: list[int],
    retain: int,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> None:
    """Each life makes some steps and is gone without a word; the next one goes on after the last entry."""
    open_log = opener(kind, request, tmp_path_factory.mktemp("log"))
    written: list[tuple[str, int]] = []
    for life, steps in enumerate(lives):
        log = open_log()
        generation = log.acquire(f"life {life}")
        assert generation.number == life + 1
        for _ in range(steps):
            n = sum(1 for k, _ in written if k == "commit")
            step = KINDS[sum(1 for _, m in written if m == n)]
            log.put_new("q", step, n, {"life": life}, generation)  # type: ignore[arg-type]
            written.append((step, n))
            if step == "commit":
                log.purge("q", n - retain + 1)
        log.close()
    reader = open_log()
    commits = [n for k, n in written if k == "commit"]
    floor = (commits[-1] - retain + 1) if commits else 0
    for step in KINDS:
        expected = [n for k, n in written if k == step and n >= floor]
        assert reader.numbers("q", step) == expected  # type: ignore[arg-type]
        assert all(reader.get("q", step, n) for n in expected)  # type: ignore[arg-type]
