"""Structs with a field added, replaced or dropped: what ``Column.withField`` and ``dropFields`` call."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.errors import AnalysisException
from tidemill.plan.casts import sql_name
from tidemill.plan.functions.registry import Call, special
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, duck_type, quote_name
from tidemill.types import StructField, StructType


@special("update_field", least=3, most=3)
def _update_field(call: Call) -> Typed:
    """``update_field(struct, 'name', value)``; null for a null struct."""
    base, kind, name = _struct(call)
    value = call.arg(2)
    taken = [n for n, f in enumerate(kind.fields) if _same(call, f.name, name)]
    made: list[tuple[StructField, str | None]] = [
        (StructField(f.name, value.type, value.nullable), value.sql) if n in taken else (f, None)
        for n, f in enumerate(kind.fields)
    ]
    if not taken:
        made.append((StructField(name, value.type, value.nullable), value.sql))
    places = [*range(len(kind.fields)), -1]
    return _rebuilt(base, [(f, sql or places[n]) for n, (f, sql) in enumerate(made)])


@special("drop_field", least=2, most=2)
def _drop_field(call: Call) -> Typed:
    """``drop_field(struct, 'name')``; a field that is not there is no mistake."""
    base, kind, name = _struct(call)
    kept = [(f, n) for n, f in enumerate(kind.fields) if not _same(call, f.name, name)]
    if not kept:
        raise AnalysisException(
            f"cannot drop {name!r}, the only field of {sql_name(kind)}; drop the column instead",
            "DATATYPE_MISMATCH.CANNOT_DROP_ALL_FIELDS",
        )
    return _rebuilt(base, kept)


def _struct(call: Call) -> tuple[Typed, StructType, str]:
    base = call.arg(0)
    if not isinstance(base.type, StructType):
        raise call.mismatch("begin with a struct")
    return base, base.type, str(call.literal(1))


def _same(call: Call, one: str, other: str) -> bool:
    return one == other or (not call.settings.case_sensitive and one.lower() == other.lower())


def _rebuilt(base: Typed, fields: Sequence[tuple[StructField, str | int]]) -> Typed:
    """A struct of fields that are SQL, or the position of a field of ``base``."""
    kind = StructType(f for f, _ in fields)

    def pack(x: str) -> str:
        parts = (
            f"{quote_name(f.name)} := {source if isinstance(source, str) else f'struct_extract_at({x}, {source + 1})'}"
            for f, source in fields
        )
        return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"

    return Typed(f"CAST({let(base.sql, pack)} AS {duck_type(kind)})", kind, base.nullable)
