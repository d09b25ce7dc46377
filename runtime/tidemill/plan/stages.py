"""Stages: what executors run. Plain data, so that a remote executor can run exactly what a local one does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from tidemill.kernel.mapping import MapFunction

if TYPE_CHECKING:  # executors load no planner
    from tidemill.kernel.udf import UserFunction
    from tidemill.plan.nodes import JoinType, OutputMode


@dataclass(frozen=True)
class Input:
    """A relation that a fragment reads: a source, a static table, or the output of an earlier stage.

    Its columns are renamed to ``columns`` by position before the query runs.
    """

    relation: str
    kind: Literal["source", "static", "stage"]
    index: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Fragment:
    """A stateless query over its inputs; its result is cast to ``schema``."""

    sql: str
    inputs: tuple[Input, ...]
    schema: pa.Schema
    functions: tuple[UserFunction, ...] = ()
    plain: bool = False
    """Whether it only picks columns of its one input, for which no query is needed."""


@dataclass(frozen=True)
class Times:
    """Event time of an operator's input: which column tells how long a row is of use (in microseconds, BIGINT)."""

    late: str | None = None
    """Rows whose value is at or before the lateness watermark are dropped; None: none are."""
    expiry: str | None = None
    """State is evicted once the eviction watermark reaches this value; None: never."""


@dataclass(frozen=True)
class Operator:
    """Base of what a stage does after its fragments."""


@dataclass(frozen=True)
class Pass(Operator):
    """Nothing: the fragment's rows are the output."""


@dataclass(frozen=True)
class Observe(Operator):
    """Passes rows on and notes the event times of ``column``, for watermark number ``watermark``."""

    column: str
    watermark: int
    delay: int
    """Microseconds."""


@dataclass(frozen=True)
class Mapped(Operator):
    """Gives the rows, under the user's ``names``, to a function of record batches."""

    function: MapFunction
    names: tuple[str, ...]
    made: tuple[str, ...]
    """Names of the columns that come back."""


@dataclass(frozen=True)
class Measured(Operator):
    """Passes rows on and reports figures of them: the one row that ``query`` makes of the relation ``rows``."""

    name: str
    query: Fragment
    columns: tuple[str, ...]
    """The figures' names."""

    @property
    def functions(self) -> tuple[UserFunction, ...]:
        return self.query.functions


@dataclass(frozen=True)
class Stateful(Operator):
    """Base of operators with state; ``id`` names their state for ever: ``op0`` is the first one upstream."""

    id: str
    what: tuple[str, ...]
    """In words what the state is by and of: a query may continue from a checkpoint only if this is the same."""


@dataclass(frozen=True)
class GroupBy(Stateful):
    """Aggregation. Its fragment yields keys, partial columns, ``_hash``, ``_rows`` and the time columns."""

    mode: OutputMode
    keys: tuple[str, ...]
    partials: tuple[str, ...]
    merges: tuple[str, ...]
    """DuckDB aggregates over the partial columns, each giving the partial of its name."""
    finish: Fragment
    """From keys and merged partials (relation ``state``) to the operator's output."""
    times: Times


@dataclass(frozen=True)
class SessionBy(Stateful):
    """Session-window aggregation; partial rows also have ``s_start`` and ``s_end``."""

    mode: OutputMode
    keys: tuple[str, ...]
    partials: tuple[str, ...]
    merges: tuple[str, ...]
    finish: Fragment
    times: Times


@dataclass(frozen=True)
class Distinct(Stateful):
    """Deduplication by ``keys``; the fragment's other columns pass through. State has keys only."""

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    times: Times


@dataclass(frozen=True)
class Side:
    """One side of a join: its columns, those of the equality keys, and its times."""

    columns: tuple[str, ...]
    times: Times
    filtered: bool
    """Its fragment has a column ``_keep``: false for rows that can match nothing, whatever comes."""


@dataclass(frozen=True)
class JoinBy(Stateful):
    """Stream-stream join. ``on`` is over relations l and r; both sides' fragments have ``_hash`` of the keys."""

    how: JoinType
    left: Side
    right: Side
    on: str
    functions: tuple[UserFunction, ...]
    output: pa.Schema


@dataclass(frozen=True)
class Take(Stateful):
    """The first ``count`` rows of the whole stream."""

    count: int
    offset: int = 0


@dataclass(frozen=True)
class WatermarkOf:
    """How an operator's own watermark follows from the query's: the global one plus ``shift`` microseconds at most
    (a join's output may be older than its input). None in ``Stage.watermark``: no event time upstream."""

    shift: int = 0


@dataclass(frozen=True)
class Stage:
    id: int
    fragments: tuple[Fragment, ...]
    """One, or two for a join's sides."""
    operator: Operator
    watermark: WatermarkOf | None
    schema: pa.Schema
    """Of its output."""
    no_data: bool = False
    """Whether a moved watermark alone may change its output or state."""
    whole: bool = False
    """Whether one executor must see all of its inputs' rows, which it sorts or limits."""

    @property
    def together(self) -> bool:
        """Whether one executor must see all that its fragments give: a user's function may look at any of a batch's
        rows, and figures of a batch are of all of them."""
        return isinstance(self.operator, Mapped | Measured)


@dataclass(frozen=True)
class QueryPlan:
    """A streaming query, ready to run: its stages in order; the last one's output is what the sink gets."""

    stages: tuple[Stage, ...]
    names: tuple[str, ...]
    """The output's column names as the user knows them."""
    sources: int
    statics: int
    watermarks: tuple[tuple[int, str], ...]
    """Delay in microseconds and text of each ``withWatermark``."""
    mode: OutputMode
    deterministic: bool
