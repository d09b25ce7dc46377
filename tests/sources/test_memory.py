from __future__ import annotations

import pyarrow as pa
import pytest

from tidemill.errors import SourceError
from tidemill.sources.base import Limits
from tidemill.sources.memory import MemoryLog, MemorySource, append_together
from tidemill.types import parse_ddl


def ints(*values: int | None) -> pa.Table:
    return pa.table({"value": pa.array(values, pa.int64())})


def rows_of(source: MemorySource, start: int, end: int) -> list[int]:
    return [v for p in source.partitions(start, end) for v in source.read(p).table["a"].to_pylist()]


def test_a_trigger_takes_everything_added_before_it() -> None:
    log = MemoryLog(parse_ddl("a INT"))
    source = MemorySource(log)
    assert log.append(ints(1)) == 1
    assert log.append(ints(2, None)) == 2
    assert source.latest(source.initial(), Limits()) == 2
    assert rows_of(source, 0, 2) == [1, 2, None]
    assert rows_of(source, 1, 2) == [2, None]


def test_an_append_wakes_who_waits_and_close_ends_it() -> None:
    log = MemoryLog(parse_ddl("a INT"))
    source = MemorySource(log)
    woken: list[int] = []
    source.on_arrival(lambda: woken.append(len(log)))
    log.append(ints(1))
    source.close()
    log.append(ints(2))
    assert woken == [1]


def test_rows_that_do_not_fit_are_refused_and_nothing_is_added() -> None:
    log, other = MemoryLog(parse_ddl("a INT")), MemoryLog(parse_ddl("a INT"))
    with pytest.raises(SourceError, match="do not fit struct<a:int>"):
        append_together({other: ints(1), log: pa.table({"a": ["x"]})})
    with pytest.raises(SourceError, match="rows of 2 columns"):
        log.append(pa.table({"a": [1], "b": [2]}))
    assert (len(log), len(other)) == (0, 0)


def test_one_micro_batch_over_several_streams() -> None:
    log, other = MemoryLog(parse_ddl("a INT")), MemoryLog(parse_ddl("a INT"))
    other.append(ints(0))
    assert append_together({log: ints(1), other: ints(2)}) == {log: 1, other: 2}


def test_an_empty_batch_counts_and_holds_nothing() -> None:
    log = MemoryLog(parse_ddl("a INT"))
    log.append(ints())
    source = MemorySource(log)
    assert source.latest(0, Limits()) == 1
    assert source.partitions(0, 1) == []


def test_offsets_of_another_process_are_refused() -> None:
    source = MemorySource(MemoryLog(parse_ddl("a INT")))
    with pytest.raises(SourceError, match="does not outlive its process"):
        source.partitions(0, 3)
