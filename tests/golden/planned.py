"""Expressions asked through a whole plan: generators, which give many rows, and aggregates over no rows at all."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from sqlglot import exp

from tests.golden import canonical, cases
from tidemill import launch
from tidemill.plan import analyze
from tidemill.plan.dialect import parse_expression
from tidemill.plan.expressions import Settings
from tidemill.plan.nodes import Node
from tidemill.types import DataType, StructField, StructType

SHAPES = ("generator", "empty")


def ask(case: cases.Case, rows: pa.Table, types: dict[str, DataType]) -> tuple[str, list[Any]]:
    """The type and the values of an expression in a plan over ``rows``.

    A generator's type is a struct of the columns that it makes, and its values are lists: ``k`` and those columns.
    """
    settings = Settings(time_zone=case.zone, ansi=case.ansi)
    source = analyze.local(rows, StructType([StructField(n, t) for n, t in types.items()]))
    item = parse_expression(case.sql)
    if case.shape == "empty":
        nothing = analyze.filter_rows(source, exp.false(), settings)
        named = exp.alias_(item, "v", quoted=True)
        plan: Node = analyze.aggregate(nothing, [], [named], settings)
        return plan.schema.fields[0].dataType.simpleString(), _columns(plan, settings)[0]
    plan = analyze.project(source, [exp.column("k"), item], settings)
    made = StructType(plan.schema.fields[1:])
    return made.simpleString(), [list(row) for row in zip(*_columns(plan, settings), strict=True)]


def _columns(plan: Node, settings: Settings) -> list[list[Any]]:
    context = launch.Context(settings, threads=1)
    found = launch.collect(plan, context, now_us=1_700_000_000_000_000)
    return [canonical.column(c) for c in found.columns]
