"""The engine seam: where stages run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import pyarrow as pa

from tidemill.executor.work import Attempt, Chains, StageResult, Work
from tidemill.figures import ExecutorFigures
from tidemill.sources.base import Partition


class Engine(ABC):
    """Runs batches for the driver, one attempt of a query at a time.

    A batch is ``run``, then ``accept`` once the ``prepared`` entry is durable, or ``rollback``.
    """

    remote: bool = False
    """Whether executors are other processes, so that `Work.recipe` is needed and state must be stored outside."""

    def check(self, work: Work) -> None:
        """Raise `AnalysisException` if the query cannot run here; before it starts, and without a trace."""

    @abstractmethod
    def load(self, work: Work) -> None:
        """Take in a query, with empty state."""

    @abstractmethod
    def restore(self, query: str, chains: Chains) -> None:
        """Bring a loaded query's state to where the checkpoint has it."""

    @abstractmethod
    def run(
        self, attempt: Attempt, partitions: Mapping[int, Sequence[Partition]], chains: Chains
    ) -> list[StageResult]:
        """Run all stages over what the sources have for the batch; what each executor reports of each stage, in the
        order of the stages.

        ``chains``: the state as of the batch before, for executors that take over shards. Raises what a stage raised,
        `ExecutorLostError` if an executor was lost on the way: then another attempt may do.
        """

    @abstractmethod
    def accept(self, attempt: Attempt) -> None:
        """The attempt has won: its state is the query's."""

    @abstractmethod
    def rollback(self, attempt: Attempt) -> None:
        """The attempt is lost: state is as before ``run``. No error if it never began."""

    @abstractmethod
    def forget(self, query: str) -> None:
        """Drop a query and its state from memory."""

    @abstractmethod
    def refresh(self, query: str, index: int, rows: pa.Table) -> None:
        """Replace a static table; takes effect with the next batch."""

    def members(self) -> list[str]:
        """Names of the executors."""
        return ["local"]

    def executors(self) -> list[ExecutorFigures]:
        """The executors that are there now, and how they do; callable from any thread."""
        return []

    @property
    def expects(self) -> int:
        """How many executors there should be."""
        return 1

    def moved(self, query: str) -> int:
        """Shards of a query that had to move from one executor to another."""
        return 0

    def trouble(self) -> str:
        """Why the engine will not recover by itself, or nothing."""
        return ""

    def no_more_waiting(self) -> None:
        """The process is told to end: a batch that waits for an executor to come fails now."""

    def retire(self, member: str) -> None:
        """Let an executor go, its shards to the others, with the next batch."""
        raise NotImplementedError(f"{type(self).__name__} has no executor to retire")

    def close(self) -> None:
        """Let go of threads and connections. May be called twice."""
