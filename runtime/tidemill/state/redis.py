"""Blobs in Redis: one hash for each shard, so that shards spread over a cluster and a hash names its own blobs.

tidemill:{<name>:<operator>:<shard>}:<query>    <version>-<generation>-<attempt>.<kind> -> header and blob
tidemill:{<name>}:shards:<query>                the set of <operator>/<shard> that have, or had, such a hash
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from tidemill.checkpoint.redisclient import Client, command
from tidemill.checkpoint.redisurl import quoted
from tidemill.errors import CheckpointError, CorruptCheckpointError, LostWritesError
from tidemill.state.base import BlobName, StateStore

_HEADER = struct.Struct("<2sBBIQ")
_MAGIC = b"TB"
_FORMAT = 1
_PLAIN, _LZ4 = 0, 1
LARGEST = 500 << 20
"""Bytes of a blob; Redis takes values up to 512 MB (proto-max-bulk-len)."""
MOST_UNSYNCED = 10_000
"""Names remembered until ``sync``: a process whose puts another one vouches for never calls it."""
_SAMPLE = 1 << 16
_WORTH = 0.9
"""Compressed to more than this share, a blob is stored as it is."""


class RedisStore(StateStore):
    """See `StateStore`. ``put`` returns when the blobs are as durable as the location asks for."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._known: set[tuple[str, str, int]] = set()
        self._unsynced: deque[BlobName] = deque(maxlen=MOST_UNSYNCED)
        self._lock = threading.Lock()

    def put(self, blobs: Mapping[BlobName, bytes]) -> None:
        names = list(blobs)
        self._announce(names)
        written = [encoded(name, blobs[name]) for name in names]
        puts = [command("HSETNX", self._key(n), _field(n), w) for n, w in zip(names, written, strict=True)]
        answers = self.client.run(puts, durable=True)
        there = [(n, w) for n, w, new in zip(names, written, answers, strict=True) if not new]
        if there:
            self._compare(there)
        with self._lock:
            self._unsynced += names

    def _announce(self, names: Sequence[BlobName]) -> None:
        """Enter shards that are new to us in the query's set, before they have a blob that nobody would find."""
        new: dict[str, set[str]] = defaultdict(set)
        for name in names:
            if (name.query, name.operator, name.shard) not in self._known:
                new[name.query].add(f"{name.operator}/{name.shard}")
        if new:
            self.client.run([command("SADD", self._shards(q), *sorted(shards)) for q, shards in new.items()])
            self._known |= {(n.query, n.operator, n.shard) for n in names}

    def _compare(self, there: Sequence[tuple[BlobName, bytes]]) -> None:
        """What is there already is our own write, whose answer was lost, or someone else's."""
        found = self.client.run([command("HGET", self._key(n), _field(n)) for n, _ in there])
        for (name, wanted), data in zip(there, found, strict=True):
            if data != wanted:
                raise CheckpointError(
                    f"checkpoint {self.client.address}: blob {name.path()} exists with other content, and blobs never "
                    "change; two queries with one id seem to share this checkpoint: give each a checkpoint location of "
                    "its own"
                )

    def get(self, names: Iterable[BlobName]) -> dict[BlobName, bytes]:
        by_key: dict[str, list[BlobName]] = defaultdict(list)
        for name in names:
            by_key[self._key(name)].append(name)
        found: dict[BlobName, bytes] = {}
        groups = list(by_key.items())
        answers = self.client.run([command("HMGET", key, *map(_field, group)) for key, group in groups])
        for i, (_, group) in enumerate(groups):
            found |= {n: decoded(n, data, self) for n, data in zip(group, answers[i], strict=True)}
            answers[i] = None  # a whole state comes in one call; it need not be there twice
        return found

    def names(self, query: str) -> list[BlobName]:
        some = self._of_shards(query)
        answers = self.client.run([command("HKEYS", self._key(name)) for name in some])
        return sorted(
            BlobName.parse(f"{s.query}/{s.operator}/{s.shard}/{field.decode()}")
            for s, fields in zip(some, answers, strict=True)
            for field in fields
        )

    def _of_shards(self, query: str) -> list[BlobName]:
        """A name for each shard that has, or had, blobs of the query."""
        shards = [
            s.decode().rpartition("/") for s in self.client.one(command("SMEMBERS", self._shards(query)))
        ]
        return [BlobName(query, operator, int(shard), 0, 0, 0) for operator, _, shard in shards]

    def sizes(self, names: Iterable[BlobName]) -> dict[BlobName, int]:
        wanted = list(names)
        answers = self.client.run([command("HSTRLEN", self._key(n), _field(n)) for n in wanted])
        return {name: int(length) for name, length in zip(wanted, answers, strict=True)}

    def purge(self, names: Iterable[BlobName]) -> None:
        by_key: dict[str, list[str]] = defaultdict(list)
        gone = set(names)
        for name in gone:
            by_key[self._key(name)].append(_field(name))
        with self._lock:
            self._unsynced = deque((n for n in self._unsynced if n not in gone), MOST_UNSYNCED)
        self.client.run([command("HDEL", key, *fields) for key, fields in by_key.items()])

    def drop(self, query: str) -> None:
        """Delete all blobs of a query, and the set that leads to them."""
        keys = {self._key(name) for name in self._of_shards(query)}
        self.client.run([command("DEL", key) for key in sorted(keys)])
        self.client.one(command("DEL", self._shards(query)))

    def sync(self) -> None:
        """See that a failover since the puts has not taken a blob that an entry is about to name."""
        with self._lock:
            names = list(self._unsynced)
            self._unsynced.clear()
        there = self.client.run([command("HEXISTS", self._key(n), _field(n)) for n in names])
        gone = [n for n, found in zip(names, there, strict=True) if not found]
        if gone:
            raise LostWritesError(
                f"checkpoint {self.client.address}: Redis has lost {len(gone)} blobs that it had acknowledged, "
                f"{gone[0].path()} among them, by a failover to a server that lagged behind or by a restart. No entry "
                "names them yet, so nothing is wrong with the checkpoint: start the query again"
            )

    def close(self) -> None:
        self.client.close()

    def _key(self, name: BlobName) -> str:
        tag = f"{quoted(self.client.address.name)}:{quoted(name.operator)}:{name.shard}"
        return f"tidemill:{{{tag}}}:{quoted(name.query)}"

    def _shards(self, query: str) -> str:
        return self.client.address.key("shards", quoted(query))


def _field(name: BlobName) -> str:
    return name.path().rpartition("/")[2]


def encoded(name: BlobName, data: bytes) -> bytes:
    """A header with checksum and length, and the blob, compressed if that is worth it."""
    if len(data) > LARGEST:
        raise CheckpointError(
            f"blob {name.path()} has {len(data) >> 20} MB, and Redis takes {LARGEST >> 20} in one value; start with a "
            "new checkpoint and more shards (tidemill.shards)"
        )
    codec, body = _PLAIN, data
    if _shrinks(data):
        smaller = pa.compress(data, codec="lz4_raw", asbytes=True)
        codec, body = (_LZ4, smaller) if len(smaller) < _WORTH * len(data) else (_PLAIN, data)
    return b"".join([_HEADER.pack(_MAGIC, _FORMAT, codec, zlib.crc32(body), len(data)), body])


def _shrinks(data: bytes) -> bool:
    """Whether compressing is worth a try: large blobs of ours are compressed already, and their start tells."""
    if len(data) < 256:
        return False
    sample = data[:_SAMPLE]
    return len(data) <= _SAMPLE or len(pa.compress(sample, codec="lz4_raw", asbytes=True)) < _WORTH * len(
        sample
    )


def decoded(name: BlobName, data: bytes | None, store: RedisStore) -> bytes:
    """The blob that `encoded` was given; raises `CorruptCheckpointError`."""
    if data is None:
        raise _damaged(store, name, "it is missing: Redis has lost it, or someone has deleted it")
    if len(data) < _HEADER.size or data[:2] != _MAGIC:
        raise _damaged(store, name, "it is none of ours")
    _, version, codec, crc, size = _HEADER.unpack_from(data)
    if version > _FORMAT:
        raise _damaged(store, name, f"it has format {version}, and this Tidemill reads up to {_FORMAT}")
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body) != crc:
        raise _damaged(store, name, f"its checksum is {zlib.crc32(body):08x}, and it says {crc:08x}")
    if codec == _LZ4:
        return bytes(pa.decompress(body, decompressed_size=size, codec="lz4_raw", asbytes=True))
    return bytes(body)


def _damaged(store: RedisStore, name: BlobName, what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"checkpoint {store.client.address}: blob {name.path()} cannot be read: {what}; restore it from a copy of the "
        "checkpoint, or start the query with a new checkpoint location (it then begins at its starting offsets)"
    )
