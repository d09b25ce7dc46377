"""What an aggregate is made of: how to compute it at once, and how in parts that are merged later."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tidemill.types import DataType

FILTER, AND, OVER = "/*filter*/", "/*and*/", "/*over*/"
"""Places in an aggregate's SQL where FILTER (WHERE ...), a further condition of one, and OVER (...) go."""


@dataclass(frozen=True)
class Partial:
    """One column of an aggregate's state.

    ``init`` is a DuckDB aggregate over the input columns, ``merge`` one over state columns: ``{0}`` is the first of the
    same aggregate, and so on; ``type`` the column's type.
    """

    init: str
    merge: str
    type: DataType


@dataclass(frozen=True)
class AggregateSpec:
    """An aggregate call: ``batch`` computes it at once; ``finish`` from its state columns ``{0}``, ``{1}``, ..."""

    type: DataType
    nullable: bool
    batch: str
    partial: tuple[Partial, ...] = ()
    finish: str = "{0}"
    streaming: bool = True
    reason: str = ""
    """Why it cannot be computed in a streaming query, where ``streaming`` is false."""

    def mapped(self, change: dict[str, str]) -> AggregateSpec:
        """The same with places filled."""

        def filled(sql: str) -> str:
            for place, text in change.items():
                sql = sql.replace(place, text)
            return sql

        return replace(
            self,
            batch=filled(self.batch),
            partial=tuple(replace(p, init=filled(p.init)) for p in self.partial),
        )

    def filtered(self, condition: str) -> AggregateSpec:
        """The same over the rows for which ``condition`` is true."""
        return self.mapped({FILTER: f" FILTER (WHERE {condition})", AND: f" AND ({condition})"})

    def finished(self) -> AggregateSpec:
        """The same without the marks of places."""
        return self.mapped({FILTER: "", AND: "", OVER: ""})


def over_rows(call: str, where: str = "") -> str:
    """An aggregate call with the places for a filter and a window; ``where`` is a condition of its own."""
    if where:
        return f"{call} FILTER (WHERE {where}{AND}){OVER}"
    return f"{call}{FILTER}{OVER}"


def whole(kind: DataType, nullable: bool, *partials: Partial, finish: str = "{0}") -> AggregateSpec:
    """A specification whose batch form is its finish over its parts."""
    batch = finish.format(*(p.init for p in partials))
    return AggregateSpec(kind, nullable, batch, partials, finish)
