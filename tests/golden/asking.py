"""Expressions asked of Tidemill, over the same rows as of Spark."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp

from tests.golden import canonical, cases, inputs, planned
from tidemill.errors import PySparkException
from tidemill.kernel.duck import Kernel, conform
from tidemill.plan.dialect import parse_expression
from tidemill.plan.expressions import (
    AggregateSpec,
    Settings,
    Typed,
    compile_aggregate,
    compile_expression,
    duck_type,
    is_aggregate,
)
from tidemill.plan.nodes import Ref
from tidemill.types import DataType, IntegerType, parse_type, to_arrow

HALVES = ("k < 6", "k >= 6")


@dataclass
class Outcome:
    """The answer by each way of computing it, or the condition of the error."""

    type: str = ""
    values: dict[str, list[Any]] = field(default_factory=dict)
    error: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.error}: {self.message[:300]}" if self.error else f"{self.type} {self.values}"


def resolved(tree: exp.Expression, ids: dict[str, int]) -> exp.Expression:
    """The tree with its columns as Refs, as the analysis leaves it."""

    def bind(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            return node
        parts = [
            p for p in (node.args.get("catalog"), node.args.get("db"), node.args.get("table"), node.this) if p
        ]
        if parts[0].name.lower() not in ids:
            return node
        made: exp.Expression = Ref(this=parts[0].name, id=ids[parts[0].name.lower()])
        for part in parts[1:]:
            made = exp.Dot(this=made, expression=exp.to_identifier(part.name))
        return made

    return tree.transform(bind)


class Asker:
    """A session of ours over the golden rows."""

    def __init__(self) -> None:
        self.kernel = Kernel(threads=1)
        self.session = self.kernel.session()
        self.types: dict[str, DataType] = {"k": IntegerType()}
        self.types.update({name: parse_type(kind) for name, (kind, _) in inputs.COLUMNS.items()})
        self.ids = {name: n for n, name in enumerate(self.types)}
        self.rows = self._table()

    def close(self) -> None:
        self.session.close()
        self.kernel.close()

    def _table(self) -> pa.Table:
        arrays: dict[str, Any] = {"k": pa.array(range(inputs.ROWS), pa.int32())}
        settings = Settings()
        for name in inputs.COLUMNS:
            made = [compile_expression(parse_expression(v), {}, settings).sql for v in inputs.values(name)]
            sql = " UNION ALL ".join(f"SELECT {n} AS k, {v} AS v" for n, v in enumerate(made))
            column = self.session.run(f"SELECT v FROM ({sql}) ORDER BY k").column(0)
            arrays[name] = column.cast(to_arrow(self.types[name]))
        return pa.table(arrays)

    def ask(self, case: cases.Case) -> Outcome:
        settings = Settings(time_zone=case.zone, ansi=case.ansi)
        columns = {n: Typed(f'"{name}"', self.types[name]) for name, n in self.ids.items()}
        try:
            if case.shape in planned.SHAPES:
                kind, values = planned.ask(case, self.rows, self.types)
                return Outcome(kind, {"": values})
            tree = resolved(parse_expression(case.sql), self.ids)
            if is_aggregate(tree):
                spec = compile_aggregate(tree, columns, settings)
                return Outcome(spec.type.simpleString(), self._aggregate(spec))
            made = compile_expression(tree, columns, settings)
            rows = "(SELECT * FROM t LIMIT 1)" if case.shape == "one" else "t"
            found = self._run(f"SELECT {made.sql} AS v, typeof({made.sql}) AS p FROM {rows} ORDER BY k")
            self._check_physical(found.column("p")[0].as_py(), made.type)
            return Outcome(made.type.simpleString(), {"": self._values(found, made.type)})
        except PySparkException as error:
            return Outcome(error=error.condition or type(error).__name__, message=str(error))
        except Exception as error:
            return Outcome(error=f"!{type(error).__name__}", message=str(error))

    def _run(self, sql: str, **more: pa.Table) -> pa.Table:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return self.session.run(sql, {"t": self.rows, **more}, now_us=1_700_000_000_000_000)

    def _check_physical(self, found: str, kind: DataType) -> None:
        """The SQL has exactly the physical type that its Spark type says."""
        wanted = self._run(f"SELECT typeof(CAST(NULL AS {duck_type(kind)})) AS p").column("p")[0].as_py()
        assert found in (wanted, '"NULL"'), f"physical type {found}, not {wanted}"

    def _aggregate(self, spec: AggregateSpec) -> dict[str, list[Any]]:
        order = "GROUP BY g ORDER BY g NULLS FIRST"
        at_once = self._run(f"SELECT g, {spec.batch} AS v FROM (FROM t ORDER BY k) {order}")
        found = {"batch": self._values(at_once, spec.type)}
        if spec.partial:
            found["merged"] = self._merged(spec)
        return found

    def _merged(self, spec: AggregateSpec) -> list[Any]:
        """By parts: each group's first rows and last rows, merged, and merged once more."""
        names = [f"p{n}" for n in range(len(spec.partial))]
        init = ", ".join(f"{p.init} AS {n}" for p, n in zip(spec.partial, names, strict=True))
        parts = [f"SELECT g, {init} FROM (FROM t WHERE {w} ORDER BY k) GROUP BY g" for w in HALVES]
        state = self._run(" UNION ALL ".join(parts))
        for n, p in zip(names, spec.partial, strict=True):
            to_arrow(p.type)
            self._check_physical(
                self._run(f"SELECT typeof({n}) AS p FROM s", s=state).column("p")[0].as_py(), p.type
            )
        merge = ", ".join(
            f"{p.merge.format(*names)} AS {n}" for p, n in zip(spec.partial, names, strict=True)
        )
        for _ in range(2):
            state = self._run(f"SELECT g, {merge} FROM s GROUP BY g", s=state)
        done = self._run(
            f"SELECT g, {spec.finish.format(*names)} AS v FROM s ORDER BY g NULLS FIRST", s=state
        )
        return self._values(done, spec.type)

    def _values(self, table: pa.Table, kind: DataType) -> list[Any]:
        schema = pa.schema([pa.field("v", to_arrow(kind))])
        return canonical.column(conform(table.select(["v"]), schema).column("v"))
