"""A checkpoint in a directory: one small JSON file for each entry.

<path>/tidemill.json                 the format's version
<path>/lock, <path>/lease            who may write (see `tidemill.checkpoint.lease`)
<path>/<query>/<kind>/<n>.json       the entries: query, plan, prepared, commit
<path>/<query>/state/                blobs (see `tidemill.state.files`)
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tidemill import durable
from tidemill.checkpoint.base import CheckpointLog, Kind
from tidemill.checkpoint.entry import FORMAT, decode, encode, newer, unreadable, unwritten
from tidemill.checkpoint.lease import DirectoryLease, replace_durably
from tidemill.errors import CheckpointError, CorruptCheckpointError, FencedError
from tidemill.sinks.base import Generation

if TYPE_CHECKING:
    from tidemill.sources.base import SourceLog

_BATCH_KINDS = ("plan", "prepared", "commit")


class DirectoryLog(CheckpointLog):
    """See `CheckpointLog`. ``path`` is made if it is missing; reading needs no lease."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        prepare_directory(self.path)
        self._lease = DirectoryLease(self.path)
        self._unsynced: dict[str, int] = {}
        self._directories: set[str] = set()
        self._known: dict[tuple[str, str], set[int]] = {}  # what `purge` listed once, kept up to date since
        self._lock = threading.RLock()

    def acquire(self, owner: str, above: int = 0) -> Generation:
        return self._lease.acquire(owner, above)

    def held_by(self) -> str | None:
        return self._lease.held_by()

    def release(self, generation: Generation) -> None:
        if generation == self._lease.generation:
            self._lease.release()

    def check(self, generation: Generation) -> None:
        self._lease.check(generation)

    def put_new(self, query: str, kind: Kind, n: int, entry: dict[str, Any], generation: Generation) -> None:
        with self._lock:
            self._lease.check(generation)
            if kind == "prepared":
                # What the entry builds on must not be the part that a power failure takes.
                self._sync()
            path = self._file(query, kind, n)
            self._create(path, encode(entry))
            if kind == "prepared":
                self._sync()
            if (query, kind) in self._known:
                self._known[query, kind].add(n)

    def get(self, query: str, kind: Kind, n: int) -> dict[str, Any] | None:
        path = self._file(query, kind, n)
        data = _read(path)
        return None if data is None else decode(data, path)

    def latest(self, query: str, kind: Kind) -> int | None:
        found = self.numbers(query, kind)
        return found[-1] if found else None

    def numbers(self, query: str, kind: Kind) -> list[int]:
        directory = self._directory(query, kind)
        try:
            found = sorted(int(name[:-5]) for name in os.listdir(directory) if name[:-5].isdigit())
        except FileNotFoundError:
            return []
        # Only entries at the end can be lost to a power failure: each `prepared` made the earlier ones durable.
        while found and _read(self._file(query, kind, found[-1])) is None:
            found.pop()
        return found

    def purge(self, query: str, below: int) -> None:
        with self._lock:
            for kind in _BATCH_KINDS:
                if (query, kind) not in self._known:
                    self._known[query, kind] = set(self.numbers(query, kind))  # type: ignore[arg-type]
                gone = {n for n in self._known[query, kind] if n < below}
                for n in gone:
                    self._unlink(self._file(query, kind, n))
                self._known[query, kind] -= gone

    def source_log(self, index: int) -> SourceLog:
        from tidemill.sources.log import DirectorySourceLog

        return DirectorySourceLog(self.path / "sources" / str(index))

    def harden(self, query: str) -> None:
        with self._lock:
            for kind in ("query", *_BATCH_KINDS):
                # Of the batches before, a later `prepared` has made the entries durable.
                for n in self.numbers(query, kind)[-2:]:  # type: ignore[arg-type]
                    path = self._file(query, kind, n)
                    if path not in self._unsynced:
                        self._unsynced[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if self._unsynced:
                self._directories |= {f"{self.path}/{directory_name(query)}", os.fspath(self.path)}
            self._sync()

    def close(self) -> None:
        with self._lock:
            while self._unsynced:
                os.close(self._unsynced.popitem()[1])
            self._lease.release()

    def _directory(self, query: str, kind: str) -> str:
        return f"{self.path}/{directory_name(query)}/{kind}"

    def _file(self, query: str, kind: str, n: int) -> str:
        return f"{self._directory(query, kind)}/{n}.json"

    def _create(self, path: str, data: bytes) -> None:
        """Make a whole file appear, or raise. Its descriptor stays open until it is synced: no second open."""
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            descriptor = self._open(temporary)
            try:
                durable.write_all(descriptor, [data])
                self._link(temporary, path)
            except BaseException:
                os.close(descriptor)
                raise
            finally:
                self._unlink(temporary)
        except OSError as error:
            raise unwritten(path, error) from error
        self._unsynced[path] = descriptor

    def _open(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            if not self.path.exists():
                raise FencedError(
                    f"checkpoint {self.path} has been deleted while in use; this query has to stop"
                ) from None
            directory = os.path.dirname(path)
            os.makedirs(directory, exist_ok=True)
            self._directories |= {os.path.dirname(directory), os.fspath(self.path)}
            return os.open(path, flags, 0o666)

    def _link(self, temporary: str, path: str) -> None:
        for _ in range(2):
            try:
                return os.link(temporary, path)
            except FileExistsError:
                if _read(path) is not None:
                    break
                self._unlink(path)
        raise CheckpointError(
            f"checkpoint file {path} exists already, and entries never change; two queries with one id seem to share "
            "this checkpoint: give each a checkpoint location of its own"
        )

    def _sync(self) -> None:
        """Make durable what was written; after an error nobody knows what of it is, and the log is of no more use."""
        unsynced, self._unsynced = self._unsynced, {}
        directories = self._directories | {os.path.dirname(path) for path in unsynced}
        self._directories = set()
        try:
            durable.sync(unsynced.values(), directories)
        except OSError as error:
            raise unwritten(os.fspath(self.path), error) from error

    def _unlink(self, path: str) -> None:
        descriptor = self._unsynced.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def directory_name(query: str) -> str:
    """The directory of a query: its id, with what a file system or our own file names could take amiss escaped.

    >>> directory_name("hits"), directory_name("a/b"), directory_name("lease")
    ('hits', 'a%2Fb', '%6Cease')
    """
    name = quote(query, safe="")
    if name.startswith(".") or name in ("lock", "lease", "tidemill.json", "sources"):
        return f"%{ord(name[0]):02X}{name[1:]}"
    return name


def prepare_directory(path: Path) -> None:
    """Make ``path`` a checkpoint directory, or say why it cannot be one; nothing has run by then."""
    try:
        durable.make_directory(path)
    except FileExistsError:
        raise CheckpointError(f"checkpoint location {path} is a file; give a directory") from None
    except OSError as error:
        raise CheckpointError(
            f"checkpoint location {path} cannot be made: {error.strerror}; give a directory that this user may write"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK | os.R_OK):
        raise CheckpointError(
            f"checkpoint location {path} cannot be written by this user; change its permissions "
            "(it needs read, write and search), or give another directory"
        )
    if (path / "offsets").is_dir() and (path / "metadata").is_file():
        raise CheckpointError(
            f"checkpoint location {path} holds a checkpoint of Apache Spark, which Tidemill cannot go on from; "
            "give a new directory and start at the offsets that you want"
        )
    check_version(path / "tidemill.json")


def check_version(file: Path) -> None:
    """Raise `CheckpointError` if a newer Tidemill wrote the checkpoint; write the version where there is none."""
    data = _read(os.fspath(file))
    if data is None:
        replace_durably(os.fspath(file), b'{"format": %d}\n' % FORMAT)
        return
    try:
        version = int(json.loads(data)["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpointError(
            f"checkpoint file {file} is damaged ({error}); if the rest of the checkpoint is whole, "
            f'write {{"format": {FORMAT}}} into it'
        ) from error
    if version > FORMAT:
        raise newer(os.fspath(file.parent), version)


def _read(path: str) -> bytes | None:
    """A file's content; None if it is not there, or has none: all that a power failure leaves of a file that was
    made but not yet synced are zero bytes, or none."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    return data if data.strip(b"\0") else None
