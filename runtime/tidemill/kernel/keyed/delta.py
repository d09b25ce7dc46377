"""What a batch changed in one shard, as an Arrow IPC stream.

The stream holds the table's columns, ``__hash`` and ``__row_id``; ``__expiry`` (microseconds) if the operator evicts;
and ``__parts`` if some rows lack a part of the columns, which is then as it was: bit ``1 << k`` says that the row has
part k. A row whose ``__hash`` is null was removed; all else of it is null too. The schema's metadata names the shard,
the number of shards, and the columns of each part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import CorruptCheckpointError, IncompatiblePlanError
from tidemill.kernel.keyed.vectors import Bytes, Hashes, Int64s

RESERVED = HASH, ROW_ID, EXPIRY, PARTS = "__hash", "__row_id", "__expiry", "__parts"
SHARD_KEY, SHARDS_KEY, PARTS_KEY = b"tidemill.shard", b"tidemill.shards", b"tidemill.parts"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
WORTH_COMPRESSING = 1 << 13
"""Bytes of a blob; below them lz4 costs more time than the store saves."""

_LZ4 = pa.ipc.IpcWriteOptions(
    compression="lz4" if pa.Codec.is_available("lz4_frame") else None, use_threads=False
)


@dataclass(frozen=True)
class ShardDelta:
    """What one attempt changed in a shard, encoded; a snapshot is a delta from nothing."""

    shard: int
    blob: bytes
    upserted: int
    removed: int


@dataclass(frozen=True)
class Delta:
    """A decoded `ShardDelta`: each row is new, or replaces the row of the same id; the removed ids are gone."""

    shard: int
    rows: pa.Table
    hashes: Hashes
    row_ids: Hashes
    expiry: Int64s | None
    parts: Bytes | None
    """For each row, which of the parts it has; none if all rows have all of them."""
    part_columns: list[list[str]]
    removed: Hashes


class Encoder:
    """Cuts rows into the blobs of their shards."""

    def __init__(self, shards: int, part_columns: list[list[str]]) -> None:
        self._shards = shards
        self._parts = json.dumps(part_columns)
        self._headers: dict[tuple[int, tuple[str, ...]], tuple[pa.Schema, bytes]] = {}

    def cut(
        self, rows: pa.Table, ends: list[int], removed: Hashes, removed_ends: list[int]
    ) -> list[ShardDelta]:
        """A blob for each shard that has rows or removed ids; both lie shard by shard, ending at ``ends[shard]``.

        ``rows`` have the table's columns and those named above.
        """
        per_row = rows.nbytes / max(rows.num_rows, 1)
        whole = len(rows) and all(column.num_chunks == 1 for column in rows.columns)
        source = rows.to_batches()[0] if whole else rows  # slicing a batch is faster than slicing a table
        deltas = []
        row = gone = 0
        for shard, (end, gone_end) in enumerate(zip(ends, removed_ends, strict=True)):
            if end > row or gone_end > gone:
                mine, lost = source.slice(row, end - row), removed[gone:gone_end]
                compress = mine.num_rows * per_row + lost.nbytes >= WORTH_COMPRESSING
                deltas.append(self.encode(shard, mine, lost, compress))
            row, gone = end, gone_end
        return deltas

    def encode(
        self, shard: int, rows: pa.Table | pa.RecordBatch, removed: Hashes, compress: bool = False
    ) -> ShardDelta:
        schema, header = self._header(shard, rows.schema)
        batches = [rows] if isinstance(rows, pa.RecordBatch) else rows.to_batches()
        if len(removed):
            batches.insert(0, _tombstones(schema, removed))
        if compress:
            blob = _compressed(schema, batches)
        else:  # what a stream writer would make, in a third of its time: a header made once, messages, an end
            blob = b"".join([header, *(batch.serialize() for batch in batches), END_OF_STREAM])
        return ShardDelta(shard, blob, rows.num_rows, len(removed))

    def _header(self, shard: int, schema: pa.Schema) -> tuple[pa.Schema, bytes]:
        key = (shard, tuple(schema.names))
        if key not in self._headers:
            metadata = {SHARD_KEY: str(shard), SHARDS_KEY: str(self._shards), PARTS_KEY: self._parts}
            mine = schema.with_metadata(metadata)
            self._headers[key] = mine, mine.serialize().to_pybytes()
        return self._headers[key]


def shard_of(blob: bytes) -> int:
    """The shard that a blob is of; raises `CorruptCheckpointError`."""
    try:
        return int((pa.ipc.open_stream(pa.py_buffer(blob)).schema.metadata or {})[SHARD_KEY])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(blob, error) from error


def shape_of(blob: bytes) -> tuple[pa.Schema, int]:
    """The columns and the number of shards of the table that a blob is of; raises `CorruptCheckpointError`."""
    try:
        schema = pa.ipc.open_stream(pa.py_buffer(blob)).schema
        shards = int((schema.metadata or {})[SHARDS_KEY])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(blob, error) from error
    return pa.schema([field for field in schema if field.name not in RESERVED]), shards


def decode_delta(blob: bytes, schema: pa.Schema, shards: int) -> Delta:
    """Decode the blob of a table with these columns and this number of shards.

    Raises `CorruptCheckpointError` for what is no blob of ours, and `IncompatiblePlanError` for one whose columns or
    number of shards differ.
    """
    try:
        table = pa.ipc.open_stream(pa.py_buffer(blob)).read_all()
        metadata = table.schema.metadata or {}
        shard, written = int(metadata[SHARD_KEY]), int(metadata[SHARDS_KEY])
        part_columns = json.loads(metadata[PARTS_KEY])
        gone = table.column(HASH).is_null()
        removed = table.column(ROW_ID).filter(gone).to_numpy()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(blob, error) from error
    _check_shards(written, shards)
    _check_columns(table.schema, schema)
    rows = table.filter(pc.invert(gone)) if len(removed) else table
    own = {name: rows.column(name).to_numpy() for name in RESERVED if name in rows.column_names}
    values = rows.select(schema.names).cast(schema)
    return Delta(
        shard, values, own[HASH], own[ROW_ID], own.get(EXPIRY), own.get(PARTS), part_columns, removed
    )


def _compressed(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_LZ4) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _tombstones(schema: pa.Schema, removed: Hashes) -> pa.RecordBatch:
    arrays = [
        pa.array(removed) if field.name == ROW_ID else pa.nulls(len(removed), field.type) for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)


def _unreadable(blob: bytes, error: Exception) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"a state blob of {len(blob)} bytes cannot be read ({error}); restore the checkpoint from a copy, or "
        "start from a new checkpoint"
    )


def _check_shards(found: int, wanted: int) -> None:
    if found != wanted:
        raise IncompatiblePlanError(
            f"the state was written with {found} shards and is read with {wanted}; set the number of shards to "
            f"{found}, which is fixed for the life of a checkpoint"
        )


def _check_columns(found: pa.Schema, wanted: pa.Schema) -> None:
    have = {field.name: field.type for field in found if field.name not in RESERVED}
    want = {field.name: field.type for field in wanted}
    if have != want:
        names = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))
        differences = ", ".join(f"{name}: {have.get(name)} was {want.get(name)} is" for name in names)
        raise IncompatiblePlanError(
            f"the state's columns have changed ({differences}); undo the change, or start from a new checkpoint"
        )
