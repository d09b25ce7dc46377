"""Words that the plan's tests share: tables, expressions from text, and what a plan gives."""

from __future__ import annotations

from sqlglot import exp

from tidemill.plan import analyze
from tidemill.plan.dialect import parse_expression
from tidemill.plan.expressions import Settings
from tidemill.plan.nodes import Node
from tidemill.plan.sqltext import query_to_plan
from tidemill.types import parse_ddl

SETTINGS = Settings()

T1 = (
    "a int, b bigint, s string, t timestamp, d double, m map<string,int>, l array<int>, st struct<x:int,y:string>, "
    "ls array<struct<p:int,q:string>>, dec decimal(10,2), bo boolean, dt date, `we ird` int"
)
T2 = "a int, c string, b int"


def table(ddl: str = T1, name: str = "", streaming: bool = False) -> Node:
    """Rows of some source; aliased where it has a name."""
    node = analyze.scan("memory", {}, parse_ddl(ddl), streaming)
    return analyze.alias(node, name) if name else node


def stream(ddl: str = "t timestamp, v bigint", delay: str | None = None, column: str = "t") -> Node:
    """A stream, with a watermark if there is a delay."""
    node = table(ddl, streaming=True)
    return node if delay is None else analyze.with_watermark(node, column, delay, SETTINGS)


def e(text: str) -> exp.Expression:
    return parse_expression(text)


def select(node: Node, *items: str) -> Node:
    return analyze.project(node, [e(i) for i in items], SETTINGS)


def where(node: Node, condition: str) -> Node:
    return analyze.filter_rows(node, e(condition), SETTINGS)


def group(node: Node, *keys: str, agg: tuple[str, ...] = ("count(*) AS n",)) -> Node:
    """groupBy(keys).agg(agg)."""
    parsed = [e(k) for k in keys]
    return analyze.aggregate(node, parsed, [*parsed, *(e(a) for a in agg)], SETTINGS)


def joined(left: Node, right: Node, on: str | list[str] | None = None, how: str = "inner") -> Node:
    return analyze.join(left, right, e(on) if isinstance(on, str) else on, how, SETTINGS)


def dedup(node: Node, *names: str, within: bool = False) -> Node:
    return analyze.deduplicate(node, list(names) or None, SETTINGS, within)


def schema(node: Node) -> str:
    return node.schema.simpleString().replace("`", "")


def nullability(node: Node) -> str:
    return "".join("n" if a.nullable else "-" for a in node.output)


def delays(node: Node) -> dict[str, int]:
    """Event-time columns and their delays in milliseconds, as Spark's metadata has them."""
    return {a.name: a.delay // 1000 for a in node.output if a.delay is not None}


def sql(text: str, **tables: Node) -> Node:
    return query_to_plan(text, {k.lower(): v for k, v in tables.items()}.get, SETTINGS)
