"""Functions that need OVER (they render with the place where it goes)."""

from __future__ import annotations

from tidemill.errors import AnalysisException
from tidemill.plan.aggregates import OVER
from tidemill.plan.casts import cast
from tidemill.plan.functions.registry import Call, special
from tidemill.plan.typed import Typed
from tidemill.types import DoubleType, IntegerType


@special("row_number rank dense_rank", most=0, kind="window")
def _rank(call: Call) -> Typed:
    return Typed(f"CAST({call.name}(){OVER} AS INTEGER)", IntegerType(), False)


@special("percent_rank cume_dist", most=0, kind="window")
def _share(call: Call) -> Typed:
    return Typed(f"{call.name}(){OVER}", DoubleType(), False)


def _at_least_one(call: Call, index: int, default: int | None = None) -> None:
    given = call.literal(index, default)
    if isinstance(given, int) and given < 1:
        raise AnalysisException(
            f"argument {index + 1} of {call.name}() must be at least 1, not {given}; rows count from 1",
            "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
        )


@special("ntile", most=1, kind="window")
def _ntile(call: Call) -> Typed:
    _at_least_one(call, 0, 1)
    return Typed(f"CAST(ntile({call.literal(0, 1)}){OVER} AS INTEGER)", IntegerType(), False)


@special("lag lead", least=1, most=3, kind="window")
def _neighbour(call: Call) -> Typed:
    value = call.arg(0)
    offset = call.coerced(1, IntegerType()).sql if len(call) > 1 else "1"
    default = f", {cast(call.arg(2), value.type, call.settings).sql}" if len(call) > 2 else ""
    return Typed(f"{call.name}({value.sql}, {offset}{default}){OVER}", value.type, True)


@special("nth_value", least=2, most=3, kind="window")
def _nth_value(call: Call) -> Typed:
    value = call.arg(0)
    _at_least_one(call, 1)
    nulls = " IGNORE NULLS" if call.literal(2, False) else ""
    return Typed(
        f"nth_value({value.sql}, {call.coerced(1, IntegerType()).sql}{nulls}){OVER}", value.type, True
    )
