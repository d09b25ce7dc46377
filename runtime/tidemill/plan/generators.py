"""Functions that make rows: explode, posexplode, inline, stack and json_tuple, with their outer forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan.expressions import Settings, Typed, compile_expression
from tidemill.plan.functions.json import field_text
from tidemill.plan.nodes import Generate
from tidemill.types import ArrayType, DataType, IntegerType, MapType, StringType, StructType

GENERATORS = ("explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer", "stack",
              "json_tuple")  # fmt: skip


def generator_outputs(
    call: exp.Anonymous, columns: Mapping[int, Typed], settings: Settings
) -> list[tuple[str, DataType]]:
    """The default names and the types of the columns that a generator's call makes."""
    name = str(call.this).lower().removesuffix("_outer")
    if name == "stack":
        return _stack_outputs(call, columns, settings)
    if name == "json_tuple":
        return [(f"c{i}", StringType()) for i in range(len(call.expressions) - 1)]
    kind = compile_expression(call.expressions[0], columns, settings).type
    if name == "inline" and isinstance(kind, ArrayType) and isinstance(kind.elementType, StructType):
        return [(f.name, f.dataType) for f in kind.elementType.fields]
    position: list[tuple[str, DataType]] = [("pos", IntegerType())] if name == "posexplode" else []
    if name in ("explode", "posexplode") and isinstance(kind, ArrayType):
        return [*position, ("col", kind.elementType)]
    if name in ("explode", "posexplode") and isinstance(kind, MapType):
        return [*position, ("key", kind.keyType), ("value", kind.valueType)]
    wanted = "an array of structs" if name == "inline" else "an array or a map"
    raise AnalysisException(
        f"{call.this} takes {wanted}, not {kind.simpleString()}", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE"
    )


def _stack_outputs(
    call: exp.Anonymous, columns: Mapping[int, Typed], settings: Settings
) -> list[tuple[str, DataType]]:
    rows = _stack_rows(call)
    width = -(-(len(call.expressions) - 1) // rows)
    typed = [compile_expression(e, columns, settings) for e in call.expressions[1 : 1 + width]]
    return [(f"col{i}", t.type) for i, t in enumerate(typed)]


def _stack_rows(call: exp.Anonymous) -> int:
    count = call.expressions[0] if call.expressions else None
    if not isinstance(count, exp.Literal) or count.is_string or int(count.this) < 1:
        raise AnalysisException("stack takes a positive number of rows first, as in stack(2, a, b)")
    return int(count.this)


def compile_generator(
    node: Generate, child: str, columns: Mapping[int, Typed], made: Sequence[str], settings: Settings
) -> str:
    """A SELECT of ``child``'s columns and the made ones."""
    call = node.expression
    assert isinstance(call, exp.Anonymous)
    name = str(call.this).lower()
    outer = node.outer or name.endswith("_outer")
    name = name.removesuffix("_outer")
    if name == "stack":
        lists = _stack_lists(call, columns, len(made), settings)
    elif name == "json_tuple":
        text, *keys = (compile_expression(e, columns, settings) for e in call.expressions)
        lists = [f"[{field_text(text, key)}]" for key in keys]
    else:
        argument = compile_expression(call.expressions[0], columns, settings)
        lists = _lists(name, argument)
    size = f"len({lists[0]})"
    if outer:
        lists = [f"CASE WHEN {size} > 0 THEN {each} ELSE [NULL] END" for each in lists]
    unnested = ", ".join(f"unnest({each}) AS {to}" for each, to in zip(lists, made, strict=True))
    return f"SELECT *, {unnested} FROM ({child})"


def _lists(name: str, argument: Typed) -> list[str]:
    """One DuckDB list per made column, all of one length."""
    a = f"({argument.sql})"
    if isinstance(argument.type, MapType):
        values = [f"map_keys{a}", f"map_values{a}"]
    elif name == "inline":
        assert isinstance(argument.type, ArrayType) and isinstance(argument.type.elementType, StructType)
        return [f"list_transform({a}, lambda s: struct_extract(s, {_text(f.name)}))"
                for f in argument.type.elementType.fields]  # fmt: skip
    else:
        values = [a]
    if name == "posexplode":
        values.insert(0, f"range(len({values[0]}))::INTEGER[]")
    return values


def _stack_lists(
    call: exp.Anonymous, columns: Mapping[int, Typed], width: int, settings: Settings
) -> list[str]:
    rows = _stack_rows(call)
    values = [compile_expression(e, columns, settings).sql for e in call.expressions[1:]]
    values += ["NULL"] * (rows * width - len(values))
    return [f"[{', '.join(values[i::width])}]" for i in range(width)]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
