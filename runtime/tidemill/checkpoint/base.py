"""The checkpoint seam: the durable log of a job's queries, and the lease that fences old drivers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from tidemill.sinks.base import Generation

if TYPE_CHECKING:
    from tidemill.sources.base import SourceLog

Kind = Literal["query", "plan", "prepared", "commit"]
"""``query``: one entry (n = 0) with the query's id, plan description and policy, and the uid of the job that began it, if
it has one; the rest: one entry per batch."""


class CheckpointLog(ABC):
    """Entries are JSON objects, created once and never changed. Every write checks the whole generation."""

    @abstractmethod
    def acquire(self, owner: str, above: int = 0) -> Generation:
        """Take the lease and begin a new generation; raises `CheckpointLockedError` naming the holder if it is held.

        Its number is above all that this checkpoint has had, and above ``above``: a copy goes on counting where its
        original was.
        """

    @abstractmethod
    def held_by(self) -> str | None:
        """Who else holds the lease now, in words; None: it can be taken. Changes nothing."""

    @abstractmethod
    def release(self, generation: Generation) -> None:
        """Give the lease back; no error if it is lost already."""

    @abstractmethod
    def check(self, generation: Generation) -> None:
        """Raise `FencedError` if ``generation`` is not the newest, or was given back."""

    @abstractmethod
    def put_new(self, query: str, kind: Kind, n: int, entry: dict[str, Any], generation: Generation) -> None:
        """Create an entry. Raises `FencedError` if ``generation`` is not the newest, `CheckpointError` if it exists.

        ``prepared`` entries are durable on return, and so is all that was written before them; the others may be lost
        by a power failure, never by a crash of the process.
        """

    @abstractmethod
    def get(self, query: str, kind: Kind, n: int) -> dict[str, Any] | None:
        """An entry, or None; `CorruptCheckpointError` if it is damaged."""

    @abstractmethod
    def latest(self, query: str, kind: Kind) -> int | None:
        """The highest n with an entry of this kind."""

    @abstractmethod
    def numbers(self, query: str, kind: Kind) -> list[int]:
        """All n with an entry of this kind, ascending."""

    def harden(self, query: str) -> None:
        """Return once the entries that are here survive a power failure, those too that a dead process left."""

    @abstractmethod
    def purge(self, query: str, below: int) -> None:
        """Delete plan, prepared and commit entries with n below ``below``."""

    @abstractmethod
    def source_log(self, index: int) -> SourceLog:
        """Where the query's source ``index`` remembers what its offsets do not say."""

    def close(self) -> None:
        """Let go of connections. May be called twice."""
