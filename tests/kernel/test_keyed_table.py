"""The keyed state table against a plain list of rows."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidemill.errors import CheckpointError, CorruptCheckpointError, IncompatiblePlanError
from tidemill.kernel.keyed import NEVER, KeyedTable, rowlog

SECOND = 1_000_000

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("hits", pa.int64()),
        ("seen", pa.bool_()),
        ("price", pa.decimal128(10, 2)),
        ("tags", pa.list_(pa.struct([("a", pa.int32()), ("b", pa.string())]))),
    ]
)

ROW = st.fixed_dictionaries(
    {
        "key": st.none() | st.text(max_size=3),
        "hits": st.none() | st.integers(-5, 5),
        "seen": st.none() | st.booleans(),
        "price": st.none() | st.decimals(-9, 9, places=2),
        "tags": st.none()
        | st.lists(st.none() | st.just({"a": 1, "b": None}) | st.just({"a": None, "b": "x"}), max_size=2),
    }
)
EXPIRY = st.sampled_from([NEVER, -1, 0, 5, SECOND, SECOND + 1, 65 * SECOND, 4097 * SECOND, 10**15, NEVER - 1])
HASH = st.integers(0, 5) | st.integers(0, 2**64 - 1)


@dataclass
class Row:
    hash: int
    values: dict[str, Any]
    expiry: int


def arrow(rows: list[dict[str, Any]], names: list[str] | None = None) -> pa.Table:
    schema = SCHEMA if names is None else pa.schema([SCHEMA.field(name) for name in names])
    return pa.Table.from_pylist(rows, schema)


def hashes_of(numbers: list[int]) -> Any:
    return np.array(numbers, np.uint64)


def contents(table: KeyedTable) -> dict[tuple[int, int], tuple[int, dict[str, Any], int]]:
    """Every row by its shard and row id."""
    slots = table.slots()
    hashes, ids = table.hashes(slots).tolist(), table.row_ids(slots).tolist()
    rows, expiry = table.gather(slots).to_pylist(), table.expiry(slots).tolist()
    return {
        (h % table.shards, i): (h, row, e) for h, i, row, e in zip(hashes, ids, rows, expiry, strict=True)
    }


class TableMachine(RuleBasedStateMachine):
    """Writes, attempts, expiry and recovery in any order; the model is a dict of rows by row id."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, Row] = {}
        self.blobs: list[bytes] = []
        self.open = False

    @initialize(shards=st.sampled_from([1, 3, 64]), stable=st.sampled_from([(), ("key",)]))
    def make(self, shards: int, stable: tuple[str, ...]) -> None:
        self.shards, self.stable = shards, stable
        self.table = KeyedTable(SCHEMA, shards, stable)

    @precondition(lambda self: not self.open)
    @rule()
    def begin(self) -> None:
        self.table.begin()
        self.open = True
        self.before = copy.deepcopy(self.model)
        self.slots_before = {
            int(s): int(i)
            for s, i in zip(self.table.slots(), self.table.row_ids(self.table.slots()), strict=True)
        }

    @precondition(lambda self: self.open)
    @rule(rows=st.lists(st.tuples(HASH, ROW, EXPIRY), min_size=1, max_size=12), expires=st.booleans())
    def insert(self, rows: list[tuple[int, dict[str, Any], int]], expires: bool) -> None:
        hashes, values, expiry = (list(part) for part in zip(*rows, strict=True))
        given = np.array(expiry) if expires else None
        slots = self.table.insert(arrow(values), hashes_of(hashes), given)
        for row_id, h, v, e in zip(self.table.row_ids(slots).tolist(), hashes, values, expiry, strict=True):
            assert row_id not in self.model
            self.model[row_id] = Row(h, v, e if expires else NEVER)

    def some_slots(self, data: st.DataObject) -> tuple[Any, list[int]]:
        """Distinct slots and their row ids."""
        slots = self.table.slots()
        picked = np.array(data.draw(st.lists(st.sampled_from(slots.tolist()), unique=True, min_size=1)))
        return picked, self.table.row_ids(picked).tolist()

    @precondition(lambda self: self.open and self.model)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        slots, ids = self.some_slots(data)
        names = data.draw(st.sampled_from([SCHEMA.names, ["seen"], ["tags", "hits"], ["key"]]))
        rows = [{k: v for k, v in data.draw(ROW).items() if k in names} for _ in ids]
        expiry = data.draw(st.none() | st.lists(EXPIRY, min_size=len(ids), max_size=len(ids)))
        self.table.update(slots, arrow(rows, names), None if expiry is None else np.array(expiry))
        for position, row_id in enumerate(ids):
            self.model[row_id].values = self.model[row_id].values | rows[position]
            if expiry is not None:
                self.model[row_id].expiry = expiry[position]

    @precondition(lambda self: self.open and self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        slots, ids = self.some_slots(data)
        self.table.remove(slots)
        for row_id in ids:
            del self.model[row_id]

    @precondition(lambda self: self.open)
    @rule(watermark=EXPIRY)
    def evict(self, watermark: int) -> None:
        slots = self.table.expired(watermark)
        due = {
            row_id for row_id, row in self.model.items() if row.expiry <= watermark and row.expiry != NEVER
        }
        if watermark != NEVER:
            assert set(self.table.row_ids(slots).tolist()) == due
            assert len(slots) == len(due)
            self.table.remove(slots)
            for row_id in due:
                del self.model[row_id]

    @rule(watermark=EXPIRY.filter(lambda e: e != NEVER))
    def peek(self, watermark: int) -> None:
        slots = self.table.expired(watermark)
        due = {row_id for row_id, row in self.model.items() if row.expiry <= watermark}
        assert sorted(self.table.row_ids(slots).tolist()) == sorted(due)

    @precondition(lambda self: self.open)
    @rule()
    def accept(self) -> None:
        self.blobs += [delta.blob for delta in self.table.delta()]
        self.table.accept()
        self.open = False

    @precondition(lambda self: self.open)
    @rule()
    def roll_back(self) -> None:
        self.table.rollback()
        self.model, self.open = self.before, False
        slots = self.table.slots()
        assert dict(zip(slots.tolist(), self.table.row_ids(slots).tolist(), strict=True)) == self.slots_before

    @precondition(lambda self: not self.open)
    @rule(snapshot=st.booleans())
    def recover(self, snapshot: bool) -> None:
        if snapshot:
            self.blobs = [self.table.snapshot(shard).blob for shard in range(self.shards)]
        again = KeyedTable(SCHEMA, self.shards, self.stable)
        again.load(self.blobs)
        assert contents(again) == contents(self.table)
        self.table = again

    @rule(hashes=st.lists(HASH, max_size=6))
    def find(self, hashes: list[int]) -> None:
        query, slots = self.table.find(hashes_of(hashes))
        assert query.tolist() == sorted(query.tolist())
        found = sorted(zip(query.tolist(), self.table.row_ids(slots).tolist(), strict=True))
        wanted = [
            (n, row_id) for n, h in enumerate(hashes) for row_id, row in self.model.items() if row.hash == h
        ]
        assert found == sorted(wanted)

    @invariant()
    def same_rows(self) -> None:
        assert len(self.table) == len(self.model)
        wanted = {
            (row.hash % self.shards, i): (row.hash, row.values, row.expiry) for i, row in self.model.items()
        }
        assert contents(self.table) == wanted


TableMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTableIsAListOfRows = TableMachine.TestCase


TYPES = {
    "int8": (pa.int8(), [1, None, -3]),
    "uint64": (pa.uint64(), [2**64 - 1, None, 0]),
    "half": (pa.float16(), [np.float16(0.5), None, np.float16(2)]),
    "double": (pa.float64(), [float("inf"), None, -0.0]),
    "bool": (pa.bool_(), [True, None, False]),
    "date": (pa.date32(), [dt.date(2024, 1, 1), None, dt.date(1, 1, 1)]),
    "timestamp": (pa.timestamp("us", "UTC"), [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None, None]),
    "duration": (pa.duration("us"), [dt.timedelta(days=1), None, dt.timedelta(0)]),
    "interval": (pa.month_day_nano_interval(), [(1, 2, 3), None, (0, 0, 0)]),
    "decimal": (pa.decimal128(38, 10), [Decimal("1.5"), None, Decimal("-2")]),
    "decimal256": (pa.decimal256(60, 3), [Decimal("1.5"), None, Decimal("-2")]),
    "fixed": (pa.binary(5), [b"abcde", None, b"12345"]),
    "string": (pa.string(), ["a", None, ""]),
    "large": (pa.large_string(), ["a", None, ""]),
    "uuid": (pa.uuid(), [UUID(int=1), None, UUID(int=2)]),
    "binary": (pa.binary(), [b"\0", None, b""]),
    "list": (pa.list_(pa.int64()), [[1, None], None, []]),
    "fixed_list": (pa.list_(pa.int64(), 2), [[1, None], None, [3, 4]]),
    "struct": (pa.struct([("a", pa.list_(pa.string()))]), [{"a": ["x"]}, None, {"a": None}]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("k", 1)], None, []]),
    "null": (pa.null(), [None, None, None]),
}


@pytest.mark.parametrize("name", TYPES)
def test_every_type_survives_writes_and_recovery(name: str) -> None:
    kind, values = TYPES[name]
    table = KeyedTable(pa.schema([("v", kind)]), shards=2)
    column = pa.array(values, kind)
    rows = pa.table({"v": pa.concat_arrays([column, column]).slice(1, 4)})
    table.begin()
    slots = table.insert(rows, hashes_of([1, 2, 3, 4]))
    table.update(slots[[3, 0]], pa.table({"v": column.slice(0, 2)}))
    blobs = [delta.blob for delta in table.delta()]
    table.accept()
    wanted = [values[1], values[2], values[0], values[0]]
    assert table.gather(slots).column("v").to_pylist() == wanted
    again = KeyedTable(table.schema, shards=2)
    again.load(blobs)
    query, found = again.find(hashes_of([1, 2, 3, 4]))
    assert query.tolist() == [0, 1, 2, 3]
    assert again.gather(found).column("v").to_pylist() == wanted


def test_a_hot_key_comes_and_goes_in_any_amount() -> None:
    table = KeyedTable(pa.schema([("n", pa.int64())]))
    hot = 7
    for step in range(20):
        table.begin()
        numbers = np.arange(5000) + 5000 * step
        hashes = np.where(numbers % 5, hot, numbers).astype(np.uint64)
        table.insert(pa.table({"n": numbers}), hashes)
        _, slots = table.find(hashes_of([hot]))
        table.remove(slots[: len(slots) // 2])
        table.accept()
    _, slots = table.find(hashes_of([hot]))
    alive = table.scan().column("n").to_numpy()
    assert sorted(table.gather(slots).column("n").to_pylist()) == sorted(alive[alive % 5 != 0])
    assert len(table) == len(alive)


def test_many_keys_are_all_found_while_the_index_grows_and_shrinks() -> None:
    rng = np.random.default_rng(3)
    table = KeyedTable(pa.schema([("k", pa.uint64())]))
    alive = hashes_of([])
    for size in (1, 3, 1000, 50_000, 7, 120_000):
        new = rng.integers(0, 2**63, size).astype(np.uint64)
        alive = np.concatenate([alive, new])
        table.begin()
        table.insert(pa.table({"k": new}), new)
        gone, alive = alive[: len(alive) // 3], alive[len(alive) // 3 :]
        table.remove(table.find(gone)[1])
        table.accept()
        query, slots = table.find(np.concatenate([alive, gone]))
        assert query.tolist() == list(range(len(alive)))
        assert (table.gather(slots).column("k").to_numpy() == alive).all()


def test_updates_leave_a_bounded_number_of_segments_and_little_garbage() -> None:
    table = KeyedTable(pa.schema([("k", pa.string())]))
    rng = np.random.default_rng(5)
    names = [f"{number:08d}" for number in range(20_000)]
    table.begin()
    slots = table.insert(pa.table({"k": names}), np.arange(20_000).astype(np.uint64))
    table.accept()
    (log,) = table._store._logs
    for step in range(200):
        picked = rng.choice(20_000, 500, replace=False)
        new = [f"{number:05d}{step:03d}" for number in picked]
        for number, name in zip(picked, new, strict=True):
            names[number] = name
        table.begin()
        table.update(slots[picked], pa.table({"k": new}))
        table.accept()
        assert log.segments <= 4 * 7
    assert table.gather(slots).column("k").to_pylist() == names
    assert sum(len(segment.owners) for segment in log._present()) <= 3 * 20_000


def test_eviction_looks_at_what_expires_and_at_one_second_more() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]))
    numbers = np.arange(50_000)
    table.begin()
    table.insert(
        pa.table({"k": numbers}), numbers.astype(np.uint64), numbers * 20 * SECOND
    )  # over twelve days
    table.accept()
    looked_at = found = 0
    for hour in range(279):
        table.begin()
        gone = table.expired(hour * 3600 * SECOND)
        assert table.gather(gone).column("k").to_pylist() == list(range(found, min(180 * hour + 1, 50_000)))
        assert table._wheel is not None
        looked_at += sum(table._wheel._buckets[key].count for key in table._wheel._due)
        found += len(gone)
        table.remove(gone)
        table.accept()
    assert found == 50_000
    assert looked_at < 4 * found  # once where it expires, and on the way there once for each coarser level
    assert not table._wheel._buckets


def test_changes_of_expiry_do_not_pile_up() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]))
    table.begin()
    slots = table.insert(
        pa.table({"k": range(1000)}), np.arange(1000).astype(np.uint64), np.zeros(1000, np.int64)
    )
    table.accept()
    for step in range(1, 300):
        table.begin()
        table.update(slots, pa.table({"k": range(1000)}), np.full(1000, step * 3600 * SECOND))
        table.accept()
    assert table._wheel is not None
    assert sum(bucket.count for bucket in table._wheel._buckets.values()) < 75_000
    assert len(table.expired(298 * 3600 * SECOND)) == 0
    assert len(table.expired(299 * 3600 * SECOND)) == 1000


def test_a_log_of_wide_rows_is_cut_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowlog, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(rowlog, "TAKE_BYTES", 2500)
    table = KeyedTable(pa.schema([("k", pa.string())]))
    words = [str(number) * 100 for number in range(10)] * 5
    table.begin()
    slots = table.insert(pa.table({"k": words}), np.arange(50).astype(np.uint64))
    table.accept()
    (log,) = table._store._logs
    assert max(segment.nbytes for segment in log._present()) <= 1000
    assert table.gather(slots[::-1]).column("k").to_pylist() == words[::-1]


def test_a_small_slice_of_a_large_table_does_not_keep_it_in_memory() -> None:
    table = KeyedTable(pa.schema([("k", pa.string())]))
    large = pa.table({"k": ["x" * 1000] * 10_000})
    table.begin()
    table.insert(large.slice(5000, 10), np.arange(10).astype(np.uint64))
    table.accept()
    (log,) = table._store._logs
    assert sum(segment.rows.get_total_buffer_size() for segment in log._present()) < 20_000


def test_shards_of_two_tables_come_together_and_part_again() -> None:
    schema = pa.schema([("k", pa.int64())])
    tables = [KeyedTable(schema, shards=4) for _ in range(2)]
    for table, numbers in zip(tables, ([0, 1, 4], [2, 3, 6]), strict=True):
        table.begin()
        table.insert(pa.table({"k": numbers}), hashes_of(numbers))
        table.accept()
    blobs = [
        table.snapshot(shard).blob
        for table, mine in zip(tables, ((0, 1), (2, 3)), strict=True)
        for shard in mine
    ]
    both = KeyedTable(schema, shards=4)
    both.load(blobs[:2])
    both.load(blobs[2:])
    assert sorted(both.scan().column("k").to_pylist()) == [0, 1, 2, 3, 4, 6]
    with pytest.raises(CheckpointError, match=r"shards \[0\] are in the state table already"):
        both.load(blobs[:1])
    both.drop([0, 2])
    assert sorted(both.scan().column("k").to_pylist()) == [1, 3]
    both.load(blobs[:1])
    assert sorted(both.scan().column("k").to_pylist()) == [0, 1, 3, 4]


def test_only_touched_shards_write_a_delta() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]), shards=8)
    table.begin()
    slots = table.insert(pa.table({"k": range(8)}), np.arange(8).astype(np.uint64))
    table.accept()
    table.begin()
    table.update(slots[2:3], pa.table({"k": [20]}))
    table.remove(slots[5:6])
    born = table.insert(pa.table({"k": [99]}), hashes_of([7]))
    table.remove(born)
    assert [(d.shard, d.upserted, d.removed) for d in table.delta()] == [(2, 1, 0), (5, 0, 1)]


def test_columns_that_an_update_leaves_alone_are_not_in_its_delta() -> None:
    schema = pa.schema([("key", pa.string()), ("words", pa.list_(pa.string())), ("hits", pa.int64())])
    table = KeyedTable(schema, shards=1, stable=["key"])
    table.begin()
    slots = table.insert(
        pa.table({"key": ["a" * 999], "words": [["b" * 999]], "hits": [1]}, schema), hashes_of([1])
    )
    blobs = [table.delta()[0].blob]
    table.accept()
    for rows, most in (({"hits": [2]}, 999), ({"words": [["c" * 999]]}, 1999)):
        table.begin()
        table.update(slots, pa.table(rows))
        blobs.append(table.delta()[0].blob)
        table.accept()
        assert len(blobs[-1]) < most + 999
    again = KeyedTable(schema, shards=1)
    again.load(blobs)
    assert again.scan().to_pylist() == [{"key": "a" * 999, "words": ["c" * 999], "hits": 2}]
    with pytest.raises(CorruptCheckpointError, match="1 rows of shard 0 were changed but never written"):
        KeyedTable(schema, shards=1).load(blobs[1:])


def test_a_load_that_fails_leaves_the_table_as_it_was() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]), shards=2)
    table.begin()
    table.insert(pa.table({"k": [1, 2]}), hashes_of([0, 1]))
    good, bad = table.delta()
    table.accept()
    again = KeyedTable(table.schema, shards=2)
    with pytest.raises(CorruptCheckpointError):
        again.load([good.blob, bad.blob[:-100]])
    assert len(again) == 0
    again.load([good.blob, bad.blob])
    assert sorted(again.scan().column("k").to_pylist()) == [1, 2]


def test_what_cannot_be_loaded_says_why() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]), shards=2)
    blob = table.snapshot(0).blob
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        table.load([blob[:-40]])
    with pytest.raises(IncompatiblePlanError, match="written with 2 shards and is read with 4"):
        KeyedTable(table.schema, shards=4).load([blob])
    with pytest.raises(IncompatiblePlanError, match="k: int64 was string is"):
        KeyedTable(pa.schema([("k", pa.string())]), shards=2).load([blob])


def test_misuse_is_refused() -> None:
    table = KeyedTable(pa.schema([("k", pa.int64())]))
    with pytest.raises(RuntimeError, match="no attempt is open"):
        table.remove(np.array([0]))
    table.begin()
    with pytest.raises(ValueError, match=r"lack columns \['k'\], have unknown \['q'\]"):
        table.insert(pa.table({"q": [1]}), hashes_of([1]))
    slots = table.insert(pa.table({"k": [1]}), hashes_of([1]))
    table.remove(slots)
    with pytest.raises(RuntimeError, match="1 of 1 slots to write have no row"):
        table.update(slots, pa.table({"k": [1]}))
    with pytest.raises(TypeError, match="cannot take from string_view; cast it to the plain type"):
        KeyedTable(pa.schema([("k", pa.list_(pa.string_view()))]))
    with pytest.raises(ValueError, match="1 to 1024 shards, not 0"):
        KeyedTable(pa.schema([("k", pa.int64())]), shards=0)
