"""The engine seam: where stages run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pyarrow as pa

from tidemill.executor.work import Attempt, Chains, Task, TaskResult, Work


class Engine(ABC):
    """Runs stages for the driver, one batch attempt of a query at a time.

    A batch is ``begin``, ``run`` for each stage in order, then ``accept`` once the ``prepared`` entry is durable, or
    ``rollback``. ``run`` raises what the stage raised.
    """

    @abstractmethod
    def load(self, work: Work) -> None:
        """Take in a query, with empty state."""

    @abstractmethod
    def restore(self, query: str, chains: Chains) -> None:
        """Bring a loaded query's state to where the checkpoint has it."""

    @abstractmethod
    def begin(self, attempt: Attempt) -> None:
        """The stages to come belong to this attempt."""

    @abstractmethod
    def run(self, attempt: Attempt, stage: int, tasks: Sequence[Task]) -> list[TaskResult]:
        """Run a stage; its output stays in the engine as input of later stages."""

    @abstractmethod
    def accept(self, attempt: Attempt) -> None:
        """The attempt has won: its state is the query's."""

    @abstractmethod
    def rollback(self, attempt: Attempt) -> None:
        """The attempt is lost: state is as before ``begin``. No error if it never began."""

    @abstractmethod
    def forget(self, query: str) -> None:
        """Drop a query and its state from memory."""

    def refresh(self, query: str, index: int, rows: pa.Table) -> None:
        """Replace a static table; takes effect with the next batch."""
        raise NotImplementedError

    def members(self) -> list[str]:
        """Names of the executors."""
        return ["local"]

    def retire(self, member: str) -> None:
        """Let an executor go, its shards to the others."""
        raise NotImplementedError(f"{type(self).__name__} has no executor to retire")
