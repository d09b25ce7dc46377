"""What a batch changed in one shard, as an Arrow IPC stream.

The stream holds the table's columns and ``__hash``, ``__row_id`` and, if the operator evicts, ``__expiry``. A row
whose ``__hash`` is null was removed; all else of it is null too. The schema's metadata says which shard it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import CorruptCheckpointError, IncompatiblePlanError
from tidemill.kernel.keyed.vectors import Hashes, Int64s, runs

RESERVED = HASH, ROW_ID, EXPIRY = "__hash", "__row_id", "__expiry"
SHARD_KEY, SHARDS_KEY = b"tidemill.shard", b"tidemill.shards"
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
    removed: Hashes


def bookkeeping(hashes: Hashes, row_ids: Hashes, expiry: Int64s | None) -> dict[str, pa.Array]:
    """The columns that go with the table's own."""
    columns = {HASH: pa.array(hashes), ROW_ID: pa.array(row_ids)}
    if expiry is not None:
        columns[EXPIRY] = pa.array(expiry)
    return columns


class Encoder:
    """Cuts a table's rows into the blobs of its shards."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._headers: dict[tuple[int, bool], tuple[pa.Schema, bytes]] = {}

    def encode(
        self, shard: int, rows: pa.Table | pa.RecordBatch, removed: Hashes, compress: bool
    ) -> ShardDelta:
        """Encode the rows, which have the `bookkeeping` columns, and the ids of removed rows."""
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
        key = (shard, EXPIRY in schema.names)
        if key not in self._headers:
            mine = schema.with_metadata({SHARD_KEY: str(shard), SHARDS_KEY: str(self._shards)})
            self._headers[key] = mine, mine.serialize().to_pybytes()
        return self._headers[key]


def _compressed(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_LZ4) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def shard_of(blob: bytes) -> int:
    """The shard that a blob is of; raises `CorruptCheckpointError`."""
    try:
        return int((pa.ipc.open_stream(pa.py_buffer(blob)).schema.metadata or {})[SHARD_KEY])
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(blob, error) from error


def decode_delta(blob: bytes, schema: pa.Schema, shards: int) -> Delta:
    """Decode the blob of a table with these columns and this number of shards.

    Raises `CorruptCheckpointError` for what is no blob of ours, and `IncompatiblePlanError` for one whose columns or
    number of shards differ.
    """
    try:
        table = pa.ipc.open_stream(pa.py_buffer(blob)).read_all()
        found = {key: int((table.schema.metadata or {})[key]) for key in (SHARD_KEY, SHARDS_KEY)}
        gone = table.column(HASH).is_null()
        ids = table.column(ROW_ID)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise _unreadable(blob, error) from error
    if found[SHARDS_KEY] != shards:
        raise IncompatiblePlanError(
            f"the state was written with {found[SHARDS_KEY]} shards and is read with {shards}; set the number of "
            f"shards to {found[SHARDS_KEY]}, which is fixed for the life of a checkpoint"
        )
    _check_columns(table.schema, schema)
    rows = table.filter(pc.invert(gone)) if pc.any(gone).as_py() else table
    expiry = rows.column(EXPIRY).to_numpy() if EXPIRY in rows.column_names else None
    return Delta(
        found[SHARD_KEY],
        rows.select(schema.names).cast(schema),
        rows.column(HASH).to_numpy(),
        rows.column(ROW_ID).to_numpy(),
        expiry,
        ids.filter(gone).to_numpy(),
    )


def latest(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """The same deltas, in order, without removed ids and without the rows that later ones replace or remove."""
    deltas = list(deltas)
    if len(deltas) == 1:
        yield deltas[0]
        return
    parts = [ids for delta in deltas for ids in (delta.removed, delta.row_ids)]
    ids = np.concatenate(parts)
    order = np.argsort(ids, kind="stable")
    starts, lengths = runs(ids[order])
    last = np.zeros(len(ids), np.bool_)
    last[order[starts + lengths - 1]] = True
    end = 0
    for delta in deltas:
        start = end + len(delta.removed)
        end = start + len(delta.row_ids)
        yield _kept(delta, np.flatnonzero(last[start:end]))


def _kept(delta: Delta, keep: Int64s) -> Delta:
    if len(keep) == len(delta.row_ids):
        return delta
    expiry = None if delta.expiry is None else delta.expiry[keep]
    rows = delta.rows.take(pa.array(keep))
    return Delta(delta.shard, rows, delta.hashes[keep], delta.row_ids[keep], expiry, delta.removed)


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


def _check_columns(found: pa.Schema, wanted: pa.Schema) -> None:
    have = {field.name: field.type for field in found if field.name not in RESERVED}
    want = {field.name: field.type for field in wanted}
    if have != want:
        names = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))
        differences = ", ".join(f"{name}: {have.get(name)} was {want.get(name)} is" for name in names)
        raise IncompatiblePlanError(
            f"the state's columns have changed ({differences}); undo the change, or start from a new checkpoint"
        )
