"""The logical plan: frozen nodes whose scalar expressions are SQLGlot trees with resolved columns.

Every way to write a program (DataFrame calls, SQL text, manifests) builds these nodes through `tidemill.plan.analyze`.
A column of a node's output is an `Attribute` with an id that is unique in the process; an expression refers to it by
a `Ref`. Names matter only while resolving, so two columns of one name are no problem once resolved.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sqlglot import exp
from sqlglot.dialects.spark import Spark

from tidemill.types import DataType, StructField, StructType

if TYPE_CHECKING:
    import pyarrow as pa

JoinType = Literal["inner", "left", "right", "full", "semi", "anti", "cross"]
OutputMode = Literal["append", "update", "complete"]

_ids = itertools.count(1)


class Ref(exp.Expression):
    """A resolved column: ``this`` is the name it was written by, ``id`` the attribute it means."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "id": True}

    @property
    def attribute_id(self) -> int:
        return int(self.args["id"])


# Messages print trees in Spark's dialect; a resolved column prints as it was written.
Spark.Generator.TRANSFORMS[Ref] = lambda generator, ref: generator.sql(exp.to_identifier(ref.this))


@dataclass(frozen=True)
class Attribute:
    """One column of a node's output."""

    name: str
    type: DataType
    nullable: bool = True
    qualifier: tuple[str, ...] = ()
    """Aliases by which it can be addressed, as ``a`` in ``a.x``."""
    delay: int | None = None
    """Event time: its watermark delay in microseconds, also of a window struct made of it; None: no event time."""
    id: int = field(default_factory=lambda: next(_ids))
    twin: int | None = field(default=None, compare=False)
    """In the right side of a self-join: the left side's column that it was one with before the join."""

    def ref(self) -> Ref:
        return Ref(this=self.name, id=self.id)

    def renewed(self, **changes: Any) -> Attribute:
        """The same column under a new id, as the right side of a self-join needs."""
        return replace(self, **{"id": next(_ids), "twin": None, **changes})


@dataclass(frozen=True)
class Named:
    """An expression and the attribute that it produces."""

    attribute: Attribute
    expression: exp.Expression


@dataclass(frozen=True)
class Node:
    """Base of all plan nodes; ``output`` has one attribute for each column, in order."""

    @property
    def children(self) -> tuple[Node, ...]:
        return ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        raise NotImplementedError

    @property
    def streaming(self) -> bool:
        return any(c.streaming for c in self.children)

    @property
    def schema(self) -> StructType:
        return StructType(StructField(a.name, a.type, a.nullable) for a in self.output)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first, left to right."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Unary(Node):
    child: Node

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.child,)

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.child.output


# --- Leaves ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scan(Node):
    """Rows of a source: what ``readStream`` (streaming) or ``read`` (not) describes. Serialisable."""

    format: str
    options: tuple[tuple[str, str], ...]
    """Sorted; secrets are still references."""
    attributes: tuple[Attribute, ...]
    is_streaming: bool
    user_schema: StructType | None = None
    """The schema that the user gave; None: the format's own (Kafka, rate) or inferred (batch only)."""
    name: str = ""
    """The source's name in a manifest, or empty."""
    whole: StructType | None = None
    """All columns of the source, where ``attributes`` are only those that the plan reads."""
    refresh: float | None = None
    """Seconds after which a table that a stream joins is read again; None: never."""
    handle: Any = field(default=None, compare=False)
    """A live object for sources that exist in this process only (MemoryStream); None for the rest."""

    @property
    def options_given(self) -> dict[str, str]:
        return dict(self.options)

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes

    @property
    def streaming(self) -> bool:
        return self.is_streaming


@dataclass(frozen=True)
class LocalData(Node):
    """Rows that the program holds, as Arrow with one column per attribute, in order."""

    attributes: tuple[Attribute, ...]
    rows: pa.Table = field(compare=False)

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True)
class Range(Node):
    """``start`` up to and without ``end`` in steps, as one BIGINT column."""

    attribute: Attribute
    start: int
    end: int
    step: int

    @property
    def output(self) -> tuple[Attribute, ...]:
        return (self.attribute,)


# --- Stateless ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Project(Unary):
    """One output column per item. Items may hold OVER (window) expressions where the plan is not streaming."""

    items: tuple[Named, ...]

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(i.attribute for i in self.items)


@dataclass(frozen=True)
class Filter(Unary):
    condition: exp.Expression


@dataclass(frozen=True)
class Generate(Unary):
    """The child's columns and those that ``generator`` (explode, posexplode, inline, stack, ...) makes of each row.

    ``expression`` is the generator's call, an ``exp.Anonymous`` with resolved arguments. ``outer`` keeps rows for
    which it makes nothing, with nulls.
    """

    expression: exp.Expression
    made: tuple[Attribute, ...]
    outer: bool = False

    @property
    def output(self) -> tuple[Attribute, ...]:
        return (*self.child.output, *self.made)


@dataclass(frozen=True)
class TimeWindows(Unary):
    """The child's columns and ``made``, the struct<start,end> of every window that ``time`` falls into.

    Tumbling and sliding windows, in microseconds; a row in k windows becomes k rows, one with a null time none.
    """

    time: exp.Expression
    made: Attribute
    length: int
    slide: int
    offset: int = 0

    @property
    def output(self) -> tuple[Attribute, ...]:
        return (*self.child.output, self.made)


@dataclass(frozen=True)
class EventTime(Unary):
    """``withWatermark``: the child's attribute of id ``column`` is event time, late by ``delay`` at most."""

    column: int
    delay: int
    """Microseconds."""
    text: str = ""
    """The delay as the user wrote it."""

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(replace(a, delay=self.delay) if a.id == self.column else a for a in self.child.output)


@dataclass(frozen=True)
class Alias(Unary):
    """The child under a name, as ``FROM t AS a`` and ``df.alias('a')`` give it."""

    name: str

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(replace(a, qualifier=(self.name,)) for a in self.child.output)


@dataclass(frozen=True)
class MapBatches(Unary):
    """``mapInPandas`` / ``mapInArrow``: a user's function, adapted to take and give an iterator of Arrow batches."""

    function: Any = field(compare=False)
    kind: Literal["pandas", "arrow"]
    made: tuple[Attribute, ...]

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.made


@dataclass(frozen=True)
class Metrics(Unary):
    """``observe``: rows go on as they are; ``figures``, a plan of one row over a `LocalData` with the child's columns,
    tells of each batch under ``name``."""

    name: str
    figures: Node = field(compare=False)

    @property
    def rows(self) -> LocalData:
        """What stands for the child's rows in ``figures``."""
        return next(n for n in self.figures.walk() if isinstance(n, LocalData))


# --- Stateful when streaming ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """How a session-window key is made: rows of one group nearer than their gap fall into one session."""

    attribute: Attribute
    """The struct<start,end> key, one of the aggregate's keys."""
    time: exp.Expression
    gap: exp.Expression
    """An interval expression, constant or per row. Rows with a gap of zero or less are filtered out."""


@dataclass(frozen=True)
class Aggregate(Unary):
    """Keys first, then aggregates. Each aggregate item is exactly one aggregate call with resolved arguments
    (``exp.Anonymous``, or ``exp.Filter`` around one); what the user computes from them stands in a Project above.
    The session key, if there is one, is among ``keys`` with its expression a Null placeholder."""

    keys: tuple[Named, ...]
    aggregates: tuple[Named, ...]
    session: Session | None = None

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(i.attribute for i in (*self.keys, *self.aggregates))


@dataclass(frozen=True)
class Deduplicate(Unary):
    """The first row for each distinct value of ``keys`` (attribute ids; all columns for ``distinct``)."""

    keys: tuple[int, ...]
    within_watermark: bool = False


@dataclass(frozen=True)
class Join(Node):
    """``condition`` is over the outputs of both sides; None for a cross join. A USING join is an inner Join under a
    Project that coalesces the keys."""

    left: Node
    right: Node
    how: JoinType
    condition: exp.Expression | None

    @property
    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    @property
    def output(self) -> tuple[Attribute, ...]:
        left = tuple(
            replace(a, nullable=True) if self.how in ("right", "full") else a for a in self.left.output
        )
        right = tuple(
            replace(a, nullable=True) if self.how in ("left", "full") else a for a in self.right.output
        )
        return left if self.how in ("semi", "anti") else (*left, *right)


@dataclass(frozen=True)
class Union(Node):
    """UNION ALL: the columns of each input by position, each of the type of ``attributes`` already."""

    inputs: tuple[Node, ...]
    attributes: tuple[Attribute, ...]

    @property
    def children(self) -> tuple[Node, ...]:
        return self.inputs

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True)
class Order:
    expression: exp.Expression
    descending: bool = False
    nulls_first: bool = True


@dataclass(frozen=True)
class Sort(Unary):
    orders: tuple[Order, ...]


@dataclass(frozen=True)
class Limit(Unary):
    count: int
    offset: int = 0
