"""Functions that take functions: transform, filter, aggregate and their like."""

from __future__ import annotations

from tidemill.errors import AnalysisException
from tidemill.plan import coercion
from tidemill.plan.casts import cast, sql_name
from tidemill.plan.functions.collection import map_type, sorted_by_key
from tidemill.plan.functions.registry import Call, special
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, duck_type, failure
from tidemill.types import ArrayType, BooleanType, IntegerType, MapType, NullType, StructField, StructType

_INDEX = Typed("CAST({} - 1 AS INTEGER)", IntegerType(), False)
"""DuckDB counts a lambda's elements from 1, Spark from 0."""


def _elements(call: Call, index: int = 0) -> tuple[Typed, Typed]:
    """An array, and its element as a lambda's parameter."""
    value = call.arg(index)
    if not isinstance(value.type, ArrayType):
        raise call.mismatch("begin with an array")
    return value, Typed("{}", value.type.elementType, value.type.containsNull)


def _condition(call: Call, body: Typed) -> Typed:
    if not isinstance(body.type, (BooleanType, NullType)):
        raise AnalysisException(
            f"the lambda of {call.name}() must answer true or false, not {sql_name(body.type)}",
            "DATATYPE_MISMATCH.UNEXPECTED_RETURN_TYPE",
        )
    return cast(body, BooleanType(), call.settings)


@special("transform", least=2, most=2)
def _transform(call: Call) -> Typed:
    array, element = _elements(call)
    names, body = call.lambda_over(1, element, _INDEX)
    kind = ArrayType(body.type, body.nullable)
    return Typed(f"list_transform({array.sql}, lambda {', '.join(names)}: {body.sql})", kind, array.nullable)


@special("filter", least=2, most=2)
def _filter(call: Call) -> Typed:
    array, element = _elements(call)
    names, body = call.lambda_over(1, element, _INDEX)
    condition = _condition(call, body)
    return Typed(
        f"list_filter({array.sql}, lambda {', '.join(names)}: {condition.sql})", array.type, array.nullable
    )


@special("exists forall", least=2, most=2)
def _quantified(call: Call) -> Typed:
    """SQL's three values: a NULL among the answers leaves the whole unknown, unless one decides it."""
    array, element = _elements(call)
    names, body = call.lambda_over(1, element)
    condition = _condition(call, body)
    answers = f"list_transform({array.sql}, lambda {names[0]}: {condition.sql})"
    decides, otherwise = ("true", "false") if call.name == "exists" else ("false", "true")
    sql = (
        f"CASE WHEN r_ IS NULL THEN NULL WHEN list_contains(r_, {decides}) THEN {decides} "
        f"WHEN len(list_filter(r_, lambda n_: n_ IS NULL)) > 0 THEN NULL ELSE {otherwise} END"
    )
    return Typed(f"CAST(list_transform([{answers}], lambda r_: {sql})[1] AS BOOLEAN)", BooleanType(), True)


@special("aggregate reduce", least=3, most=4)
def _aggregate(call: Call) -> Typed:
    """A fold. DuckDB folds values of one type, so accumulator and element travel in one struct."""
    array, element = _elements(call)
    start = call.arg(1)
    state = StructType([StructField("s", start.type), StructField("e", element.type)])
    names, body = call.lambda_over(
        2, Typed("struct_extract({}, 's')", start.type), Typed("struct_extract({}, 'e')", element.type)
    )
    merged = cast(body, start.type, call.settings)
    if merged.sql != body.sql and type(body.type) is not type(start.type) and not _widens(body, start):
        raise AnalysisException(
            f"the lambda of {call.name}() answers {sql_name(body.type)}, but it starts from {sql_name(start.type)}; "
            "cast the start to the type of the answer",
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        )
    nothing = f"CAST(NULL AS {duck_type(element.type)})"
    items = f"list_transform({array.sql}, lambda i_: struct_pack(s := CAST(NULL AS {duck_type(start.type)}), e := i_))"
    first = f"CAST(struct_pack(s := {start.sql}, e := {nothing}) AS {duck_type(state)})"
    step = f"struct_pack(s := {merged.sql}, e := {nothing})"
    folded = f"struct_extract(list_reduce({items}, lambda {names[0]}, {names[1]}: {step}, {first}), 's')"
    result = Typed(f"CASE WHEN {array.sql} IS NOT NULL THEN {folded} END", start.type, True)
    if len(call) == 3:
        return result
    last, finish = call.lambda_over(3, Typed("{}", start.type))
    return Typed(f"list_transform([{result.sql}], lambda {last[0]}: {finish.sql})[1]", finish.type, True)


def _widens(a: Typed, b: Typed) -> bool:
    return coercion.tightest(a.type, b.type) == b.type


@special("zip_with", least=3, most=3)
def _zip_with(call: Call) -> Typed:
    (a, x), (b, y) = _elements(call, 0), _elements(call, 1)
    pair = StructType([StructField("a", x.type), StructField("b", y.type)])
    names, body = call.lambda_over(
        2, Typed("struct_extract({}, 'a')", x.type), Typed("struct_extract({}, 'b')", y.type)
    )
    longest = f"greatest(len({a.sql}), len({b.sql}))"
    pairs = f"list_transform(range({longest}), lambda z_: struct_pack(a := list_extract({a.sql}, z_ + 1), b := list_extract({b.sql}, z_ + 1)))"
    text = body.sql.replace(names[1], names[0])
    sql = f"CASE WHEN {a.sql} IS NOT NULL AND {b.sql} IS NOT NULL THEN list_transform(CAST({pairs} AS {duck_type(ArrayType(pair))}), lambda {names[0]}: {text}) END"
    return Typed(sql, ArrayType(body.type, True), a.nullable or b.nullable)


@special("array_sort", least=1, most=2)
def _array_sort(call: Call) -> Typed:
    array, element = _elements(call)
    if len(call) == 1 and isinstance(element.type, (ArrayType, StructType)):
        return Typed(
            sorted_by_key(array.sql, element.type, "'ASC', 'NULLS LAST'"), array.type, array.nullable
        )
    if len(call) == 1:
        return Typed(f"list_sort({array.sql}, 'ASC', 'NULLS LAST')", array.type, array.nullable)
    names, body = call.lambda_over(1, element, element)
    order = cast(body, IntegerType(), call.settings)
    left, right = names
    nothing = failure(
        "COMPARATOR_RETURNS_NULL", "The comparator of array_sort() has answered NULL; answer 0 for equal."
    )
    order_sql = f"coalesce({order.sql}, {nothing})"

    # Each element's place is the number of those before it, by comparison or, where equal, by position.
    def ranked(a: str) -> str:
        before = (
            f"list_filter({a}, lambda {left}, at_: {order_sql} < 0 OR ({order_sql} = 0 AND at_ < place_))"
        )
        pairs = f"list_transform({a}, lambda {right}, place_: struct_pack(r := len({before}), v := {right}))"
        return f"list_transform(list_sort({pairs}), lambda p_: p_.v)"

    return Typed(let(array.sql, ranked), array.type, array.nullable)


# --- maps -----------------------------------------------------------------------------------------------------------


def _entry(call: Call, index: int = 0) -> tuple[Typed, MapType, Typed, Typed]:
    value, kind = map_type(call, index)
    key = Typed("struct_extract({}, 'key')", kind.keyType, False)
    return value, kind, key, Typed("struct_extract({}, 'value')", kind.valueType, kind.valueContainsNull)


def _one_variable(names: list[str], sql: str) -> tuple[str, str]:
    """A lambda over key and value as one over the entry."""
    return names[0], sql.replace(names[1], names[0])


@special("map_filter", least=2, most=2)
def _map_filter(call: Call) -> Typed:
    value, kind, key, item = _entry(call)
    names, body = call.lambda_over(1, key, item)
    name, sql = _one_variable(names, _condition(call, body).sql)
    found = f"map_from_entries(list_filter(map_entries({value.sql}), lambda {name}: {sql}))"
    return Typed(f"CAST({found} AS {duck_type(kind)})", kind, value.nullable)


@special("transform_values transform_keys", least=2, most=2)
def _transform_entries(call: Call) -> Typed:
    value, kind, key, item = _entry(call)
    names, body = call.lambda_over(1, key, item)
    name, sql = _one_variable(names, body.sql)
    if call.name == "transform_values":
        made = MapType(kind.keyType, body.type, body.nullable)
        pair = f"{{'key': struct_extract({name}, 'key'), 'value': {sql}}}"
    else:
        made = MapType(body.type, kind.valueType, kind.valueContainsNull)
        pair = f"{{'key': {sql}, 'value': struct_extract({name}, 'value')}}"
    found = f"map_from_entries(list_transform(map_entries({value.sql}), lambda {name}: {pair}))"
    return Typed(f"CAST({found} AS {duck_type(made)})", made, value.nullable)


@special("map_zip_with", least=3, most=3)
def _map_zip_with(call: Call) -> Typed:
    (a, first), (b, second) = map_type(call, 0), map_type(call, 1)
    key = coercion.tightest(first.keyType, second.keyType)
    if key is None:
        raise call.mismatch("be two maps with one type of keys")
    x, y = (
        cast(m, MapType(key, k.valueType, k.valueContainsNull), call.settings).sql
        for m, k in ((a, first), (b, second))
    )
    names, body = call.lambda_over(
        2,
        Typed("{}", key, False),
        Typed(f"map_extract_value({x}, {{}})", first.valueType),
        Typed(f"map_extract_value({y}, {{}})", second.valueType),
    )
    sql = body.sql.replace(names[1], names[0]).replace(names[2], names[0])
    made = MapType(key, body.type, body.nullable)
    more = f"list_filter(map_keys({y}), lambda o_: NOT list_contains(map_keys({x}), o_))"
    keys = f"list_concat(map_keys({x}), {more})"
    pairs = f"list_transform({keys}, lambda {names[0]}: {{'key': {names[0]}, 'value': {sql}}})"
    found = f"CASE WHEN {x} IS NOT NULL AND {y} IS NOT NULL THEN map_from_entries({pairs}) END"
    return Typed(f"CAST({found} AS {duck_type(made)})", made, a.nullable or b.nullable)
