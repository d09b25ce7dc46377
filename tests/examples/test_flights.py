"""The flights job: manifest and program agree with one batch query, and Ctrl-C and reruns change nothing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.examples.lives import EXAMPLES, interrupt, life, until, whole_life

HERE = EXAMPLES / "flights"
sys.path.insert(0, str(HERE))
import replay  # noqa: E402

DAYS = 2
Row = tuple[Any, ...]

# Batches of four files each, always with more to read. A flight counts if its hour had not ended at or before the
# watermark when the batch before its own began: one hour behind the latest schedule of all batches before that one. An
# hour is final, and shown, once the watermark of all of them has reached its end.
IN_BATCH = """
WITH flights AS (
    SELECT * REPLACE (scheduled::TIMESTAMP AS scheduled), date_trunc('hour', scheduled::TIMESTAMP) AS hour,
           (dense_rank() OVER (ORDER BY file) - 1) // 4 AS batch
    FROM read_json('{data}/flights/*.json', filename = 'file')
), latest AS (
    SELECT batch + 2 AS batch, max(max(scheduled)) OVER (ORDER BY batch) - INTERVAL 1 HOUR AS watermark
    FROM flights GROUP BY batch
), counted AS (
    SELECT flights.* FROM flights LEFT JOIN latest USING (batch)
    WHERE watermark IS NULL OR hour + INTERVAL 1 HOUR > watermark
)
SELECT strftime(hour, '%Y-%m-%dT%H:%M'), origin, count(*), round(avg(delay), 6), max(delay)
FROM counted JOIN read_csv('{data}/airlines.csv', header = true) USING (carrier)
WHERE hour + INTERVAL 1 HOUR <= (SELECT max(watermark) FROM latest)
GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with two days of flights, and the manifest."""
    for _ in replay.play(replay.set_up(tmp_path / "data"), DAYS):
        pass
    shutil.copy(HERE / "job.yaml", tmp_path)
    return tmp_path


def in_batch(place: Path) -> list[Row]:
    with duckdb.connect() as con:
        return con.execute(IN_BATCH.format(data=place / "data")).fetchall()


def final(place: Path) -> list[Row]:
    """What the job has written, as any reader finds it; each hour and airport once."""
    files = sorted((place / "out" / "departures").glob("*.json"))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = [(r["hour"][:16], r["origin"], r["flights"], round(r["mean_delay"], 6), r["worst"]) for r in rows]
    assert len({row[:2] for row in found}) == len(found)
    return sorted(found)


def worst_airlines(place: Path) -> dict[Row, str]:
    files = (place / "out" / "departures").glob("*.json")
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {(r["hour"][:16], r["origin"]): r["worst_airline"] for r in rows}


def run_available(place: Path) -> tuple[int, str, str]:
    """The manifest over what there is, and no more."""
    text = (HERE / "job.yaml").read_text()
    at_once = text.replace("      sink: {", "      trigger: {availableNow: true}\n      sink: {")
    assert at_once != text
    (place / "job.yaml").write_text(at_once)
    return whole_life("-m", "tidemill", "run", place / "job.yaml")


def test_manifest_and_program_give_what_a_batch_query_gives(place: Path) -> None:
    assert run_available(place)[0] == 0
    by_manifest, airlines = final(place), worst_airlines(place)
    assert by_manifest == in_batch(place)
    shutil.rmtree(place / "out")
    code, _, err = whole_life(HERE / "job.py", place / "data", place / "out")
    assert code == 0, err
    assert final(place) == by_manifest
    assert worst_airlines(place) == airlines


def test_running_twice_changes_nothing(place: Path) -> None:
    assert run_available(place)[0] == 0
    before = {file: file.read_bytes() for file in (place / "out").rglob("*.json")}
    assert run_available(place)[0] == 0
    assert {file: file.read_bytes() for file in (place / "out").rglob("*.json")} == before


def test_ctrl_c_ends_the_batch_and_the_next_run_goes_on(place: Path) -> None:
    for _ in replay.play(place / "data" / "flights", days=8):
        pass
    expected = in_batch(place)
    with life("-m", "tidemill", "run", place / "job.yaml") as process:
        until(lambda: len(final(place)) > 0, process, "the first final hour")
        code, _, err = interrupt(process)
    assert code == 0, err
    assert "Traceback" not in err
    assert hidden(place / "out") == []
    first = final(place)
    assert first == expected[: len(first)]
    assert len(first) < len(expected), "it had done all before it was interrupted"
    with life("-m", "tidemill", "run", place / "job.yaml") as process:
        until(lambda: len(final(place)) >= len(expected), process, "the rest")
        code, _, err = interrupt(process)
    assert code == 0, err
    assert final(place) == expected


def hidden(out: Path) -> list[str]:
    """Files of a batch that was begun and not committed."""
    return [file.name for file in out.rglob(".*") if file.is_file()]


def test_the_quick_start_runs_without_a_terminal(tmp_path: Path) -> None:
    code, out, err = whole_life(HERE / "quickstart.py", "--plain", "--days", 1, "--directory", tmp_path)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("2013-01-01T05:00 EWR")
    assert any(line.startswith("838 flights in") and "Each exactly once" in line for line in lines)
    program = next(line for line in lines if "job.py" in line).split()
    assert whole_life(*program[1:])[0] == 0
    assert list((tmp_path / "program" / "departures").glob("*.json"))
    assert "\x1b" not in out
