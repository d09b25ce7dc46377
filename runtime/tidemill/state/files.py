"""Blobs in a directory: ``<path>/<query>/state/<n>.pack``, one pack for each ``put``."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import zlib
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from tidemill import durable
from tidemill.checkpoint.entry import unwritten
from tidemill.checkpoint.files import directory_name
from tidemill.errors import CheckpointError, CorruptCheckpointError
from tidemill.state.base import BlobName, StateStore
from tidemill.state.pack import Slice, lay_out, read_index


class DirectoryStore(StateStore):
    """See `StateStore`. Several processes may put into one directory; each sees the others' packs when it looks."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._packs = _Packs(self.path)
        self._unsynced: list[int] = []
        self._directories: set[str] = set()
        self._lock = threading.Lock()

    def put(self, blobs: Mapping[BlobName, bytes]) -> None:
        for query, names in groupby(sorted(blobs), key=lambda name: name.query):
            self._put(query, {name: blobs[name] for name in names})

    def _put(self, query: str, blobs: dict[BlobName, bytes]) -> None:
        index = self._packs.of(query)
        with self._lock:
            new = {name: data for name, data in blobs.items() if not self._is_there(index, name, data)}
        if not new:
            return
        first = next(iter(new))
        pack = f"{first.version:012d}-{first.generation}-{first.attempt}-{secrets.token_hex(4)}.pack"
        pieces, slices = lay_out(pack, new)
        try:
            descriptor = self._create(f"{index.directory}/{pack}", pieces)
        except OSError as error:
            raise unwritten(f"{index.directory}/{pack}", error) from error
        with self._lock:
            index.add(pack, slices)
            self._unsynced.append(descriptor)
            self._directories.add(index.directory)

    def _is_there(self, index: _Index, name: BlobName, data: bytes) -> bool:
        found = index.slices.get(name)
        if found and (found.length, found.crc32) != (len(data), zlib.crc32(data)):
            raise CheckpointError(
                f"blob {name.path()} exists with other content, and blobs never change; two queries with one id seem "
                "to share this checkpoint: give each a checkpoint location of its own"
            )
        return found is not None

    def _create(self, path: str, pieces: list[bytes]) -> int:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with self._lock:
                self._directories |= {os.path.dirname(os.path.dirname(path)), os.fspath(self.path)}
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            durable.write_all(descriptor, pieces)
        except BaseException:
            os.close(descriptor)
            _unlink(path)  # it would lie there for ever, and on a full disk at that
            raise
        return descriptor

    def get(self, names: Iterable[BlobName]) -> dict[BlobName, bytes]:
        found: dict[BlobName, bytes] = {}
        for query, wanted in groupby(sorted(names), key=lambda name: name.query):
            found |= self._get(query, list(wanted))
        return found

    def _get(self, query: str, names: list[BlobName]) -> dict[BlobName, bytes]:
        index = self._packs.of(query)
        with self._lock:
            if any(name not in index.slices for name in names):
                index.look()
            slices = {name: index.slices.get(name) for name in names}
        found: dict[BlobName, bytes] = {}
        open_packs: dict[str, int] = {}
        try:
            for name, where in slices.items():
                found[name] = _read_blob(index, name, where, open_packs)
        finally:
            for descriptor in open_packs.values():
                os.close(descriptor)
        return found

    def names(self, query: str) -> list[BlobName]:
        index = self._packs.of(query)
        with self._lock:
            index.look()
            return sorted(index.slices)

    def sizes(self, names: Iterable[BlobName]) -> dict[BlobName, int]:
        found: dict[BlobName, int] = {}
        for query, wanted in groupby(sorted(names), key=lambda name: name.query):
            index = self._packs.of(query)
            with self._lock:
                found |= {name: index.slices[name].length for name in wanted if name in index.slices}
        return found

    def purge(self, names: Iterable[BlobName]) -> None:
        for query, gone in groupby(sorted(names), key=lambda name: name.query):
            index = self._packs.of(query)
            with self._lock:
                wanted = list(gone)
                if any(name not in index.slices for name in wanted):
                    index.look()
                index.remove(wanted)

    def sync(self) -> None:
        with self._lock:
            descriptors, self._unsynced = self._unsynced, []
            directories, self._directories = self._directories, set()
        try:
            durable.sync(descriptors, directories)
        except OSError as error:
            raise unwritten(os.fspath(self.path), error) from error

    def close(self) -> None:
        with self._lock:
            descriptors, self._unsynced = self._unsynced, []
        for descriptor in descriptors:
            os.close(descriptor)


class _Index:
    """The blobs of one query and the packs that hold them, as far as this process has seen them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.slices: dict[BlobName, Slice] = {}
        self._seen: set[str] = set()
        self._live: dict[str, set[BlobName]] = {}

    def look(self) -> None:
        """Read the index of each pack that is new to us."""
        try:
            packs = [name for name in os.listdir(self.directory) if name.endswith(".pack")]
        except FileNotFoundError:
            return
        for pack in sorted(set(packs) - self._seen):
            try:
                descriptor = os.open(f"{self.directory}/{pack}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                slices = read_index(descriptor, pack)
            finally:
                os.close(descriptor)
            if slices is not None:
                self.add(pack, slices)

    def add(self, pack: str, slices: Mapping[BlobName, Slice]) -> None:
        self._seen.add(pack)
        self.slices.update(slices)
        self._live[pack] = set(slices)

    def remove(self, names: Iterable[BlobName]) -> None:
        """Forget blobs, and delete the packs that hold no other."""
        for name in names:
            found = self.slices.pop(name, None)
            if found is None:
                continue
            live = self._live[found.pack]
            live.discard(name)
            if not live:
                del self._live[found.pack]
                self._seen.discard(found.pack)
                _unlink(f"{self.directory}/{found.pack}")


class _Packs:
    """The index of each query, read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_query: dict[str, _Index] = {}
        self._lock = threading.Lock()

    def of(self, query: str) -> _Index:
        with self._lock:
            index = self._by_query.get(query)
            if index is None:
                index = self._by_query[query] = _Index(f"{self._path}/{directory_name(query)}/state")
                index.look()
            return index


def _read_blob(index: _Index, name: BlobName, where: Slice | None, open_packs: dict[str, int]) -> bytes:
    if where is None:
        raise _damaged(index.directory, name, "it is missing")
    path = f"{index.directory}/{where.pack}"
    try:
        if where.pack not in open_packs:
            open_packs[where.pack] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _damaged(path, name, "the file is gone") from None
    data = os.pread(open_packs[where.pack], where.length, where.offset)
    if zlib.crc32(data) != where.crc32:
        raise _damaged(
            path, name, f"its checksum is {zlib.crc32(data):08x}, and the index says {where.crc32:08x}"
        )
    return data


def _damaged(path: str, name: BlobName, what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"checkpoint file {path}: blob {name.path()} cannot be read: {what}; restore it from a copy of the checkpoint, "
        "or start the query with a new checkpoint location (it then begins at its starting offsets)"
    )


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
