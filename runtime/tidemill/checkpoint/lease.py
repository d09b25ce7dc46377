"""The lease of a checkpoint directory: a lock that dies with its process, and a generation that only grows."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import weakref
from pathlib import Path
from typing import Any

from tidemill import durable
from tidemill.checkpoint.entry import damaged, unreadable, unwritten
from tidemill.errors import CheckpointLockedError, FencedError
from tidemill.sinks.base import Generation

_held: weakref.WeakSet[DirectoryLease] = weakref.WeakSet()


class DirectoryLease:
    """``<path>/lock`` is locked with flock while held; ``<path>/lease`` tells who holds it, and is replaced whole.

    They are two files because a lock belongs to an inode and a replaced file has a new one. A process that dies,
    however it dies, lets go of the lock at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation: Generation | None = None
        self._lock: int | None = None
        self._file = os.fspath(path / "lease")
        self._text = b""

    def acquire(self, owner: str, above: int = 0) -> Generation:
        self.hold()
        number = max(int(self._read().get("number", 0)), above) + 1
        generation = Generation(number, secrets.token_hex(8))
        holder = {"owner": owner, "pid": os.getpid(), "host": socket.gethostname()}
        self._text = json.dumps({"number": number, "token": generation.token, **holder}).encode()
        replace_durably(self._file, self._text)
        self.generation = generation
        _held.add(self)
        return generation

    def hold(self) -> None:
        """Keep others out, without a generation to write under; raises `CheckpointLockedError` naming who has it."""
        if self._lock is None:
            self._lock = self._locked()

    def check(self, generation: Generation) -> None:
        """Raise `FencedError` unless ``generation`` is ours and still the newest on disk."""
        if self._lock is not None and generation == self.generation and self._bytes() == self._text:
            return
        now = self._read()
        raise FencedError(
            f"generation {generation.number} no longer holds the checkpoint {self.path}: its lease says generation "
            f"{now.get('number')} of {now.get('owner')} (pid {now.get('pid')} on {now.get('host')}); "
            "this query has to stop, and may be started again once the other one has stopped"
        )

    def release(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self.let_go()

    def let_go(self) -> None:
        """Close our end of the lock; it is given back when nobody has it open."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        _held.discard(self)

    def _locked(self) -> int:
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unreadable(f"{self.path}/lock", error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise CheckpointLockedError(
                f"checkpoint {self.path} is in use by {self._holder()}; stop it first, "
                "or give this query a checkpoint location of its own"
            ) from None
        return lock

    def held_by(self) -> str | None:
        if self._lock is not None:
            return None
        try:
            os.close(self._locked())
        except CheckpointLockedError:
            return self._holder()
        return None

    def _holder(self) -> str:
        holder = self._read()
        return f"{holder.get('owner', 'another query')} (pid {holder.get('pid')} on {holder.get('host')})"

    def _bytes(self) -> bytes:
        try:
            with open(self._file, "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise unreadable(self._file, error) from error

    def _read(self) -> dict[str, Any]:
        data = self._bytes()
        try:
            return dict(json.loads(data)) if data else {}
        except ValueError as error:
            raise damaged(self._file, f"it is no JSON ({error})") from error


def _let_go_after_fork() -> None:
    # A lock is shared with forked children; one that outlives us would hold the checkpoint in our name.
    for lease in list(_held):
        lease.let_go()


os.register_at_fork(after_in_child=_let_go_after_fork)


def replace_durably(path: str, data: bytes) -> None:
    """See `durable.replace`; the error says what a user can do."""
    try:
        durable.replace(path, data)
    except OSError as error:
        raise unwritten(path, error) from error
