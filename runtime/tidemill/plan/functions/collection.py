"""Arrays, maps and structs."""

from __future__ import annotations

from sqlglot import exp

from tidemill.errors import AnalysisException
from tidemill.plan import coercion
from tidemill.plan.casts import cast
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.literals import MICROS, IntervalValue
from tidemill.plan.nodes import Ref
from tidemill.plan.operators import element_of
from tidemill.plan.rendering import from_local, let, order_key, to_local
from tidemill.plan.typed import Typed, cast_sql, duck_type, failure, null_of, quote_name
from tidemill.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampType,
    YearMonthIntervalType,
)

# --- making ---------------------------------------------------------------------------------------------------------


@special("array")
def _array(call: Call) -> Typed:
    if not len(call):
        kind: DataType = ArrayType(NullType(), False)
        return Typed(f"CAST([] AS {duck_type(kind)})", kind, False)
    items = call.same_type()
    kind = ArrayType(items[0].type, any(i.nullable for i in items))
    return Typed(f"CAST([{', '.join(i.sql for i in items)}] AS {duck_type(kind)})", kind, False)


@special("map create_map")
def _map(call: Call) -> Typed:
    if len(call) % 2:
        raise AnalysisException(
            f"map() takes keys and values in turn, so an even number of arguments, not {len(call)}",
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        )
    if not len(call):
        kind = MapType(NullType(), NullType(), False)
        return Typed(f"CAST(map() AS {duck_type(kind)})", kind, False)
    keys = call.same_type(range(0, len(call), 2))
    values = call.same_type(range(1, len(call), 2))
    kind = MapType(keys[0].type, values[0].type, any(v.nullable for v in values))
    sql = f"map([{', '.join(k.sql for k in keys)}], [{', '.join(v.sql for v in values)}])"
    return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, False)


@special("named_struct", least=2)
def _named_struct(call: Call) -> Typed:
    if len(call) % 2:
        raise AnalysisException(
            f"named_struct() takes names and values in turn, not {len(call)} arguments",
            "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        )
    names = [str(call.literal(n)) for n in range(0, len(call), 2)]
    return packed(names, [call.arg(n) for n in range(1, len(call), 2)])


@special("struct")
def _struct(call: Call) -> Typed:
    return packed([_field_name(node, n) for n, node in enumerate(call.nodes)], call.args)


def _field_name(node: exp.Expression, position: int) -> str:
    """A struct's field is named by its column or alias, else ``col1``, ``col2``, ..."""
    if isinstance(node, exp.Alias):
        return str(node.alias)
    if isinstance(node, Ref):
        return str(node.this)
    if isinstance(node, exp.Dot):
        return str(node.expression.name)
    if isinstance(node, (exp.Column, exp.Identifier)):
        return str(node.name)
    return f"col{position + 1}"


def packed(names: list[str], values: list[Typed]) -> Typed:
    """A struct of named values."""
    if len({n.lower() for n in names}) < len(names):
        raise AnalysisException(
            f"a struct cannot have two fields of one name here ({', '.join(names)}); name them apart with AS",
            "COLUMN_ALREADY_EXISTS",
        )
    kind = StructType(StructField(n, v.type, v.nullable) for n, v in zip(names, values, strict=True))
    fields = ", ".join(f"{quote_name(n)} := {v.sql}" for n, v in zip(names, values, strict=True))
    return Typed(f"CAST(struct_pack({fields}) AS {duck_type(kind)})", kind, False)


@special("array_repeat", least=2, most=2)
def _array_repeat(call: Call) -> Typed:
    value, count = call.arg(0), call.coerced(1, IntegerType())
    kind = ArrayType(value.type, value.nullable)
    sql = f"CASE WHEN {count.sql} IS NOT NULL THEN list_transform(range(greatest({count.sql}, 0)), lambda r_: {value.sql}) END"
    return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, count.nullable)


@special("sequence", least=2, most=3)
def _sequence(call: Call) -> Typed:
    start, stop = call.same_type([0, 1])
    if isinstance(start.type, IntegralType):
        return _integers(call, start, stop)
    return _moments(call, start, stop)


_BOUNDARIES = "the step must lead from the start to the end: it must not be 0, nor point away"


def _integers(call: Call, start: Typed, stop: Typed) -> Typed:
    kind = ArrayType(start.type, False)
    wide = [f"CAST({x.sql} AS BIGINT)" for x in (start, stop)]
    nullable = start.nullable or stop.nullable
    if len(call) == 2:
        a, b = wide
        sql = f"CASE WHEN {a} <= {b} THEN generate_series({a}, {b}) WHEN {a} > {b} THEN generate_series({a}, {b}, -1) END"
        return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, nullable)
    step = cast(call.arg(2), LongType(), call.settings)
    a, b, s = (*wide, step.sql)
    error = failure(
        "ILLEGAL_SEQUENCE_BOUNDARIES",
        f"Illegal sequence boundaries: {{}} to {{}} by {{}}; {_BOUNDARIES}",
        a,
        b,
        s,
    )
    sql = (
        f"CASE WHEN ({s} > 0 AND {a} <= {b}) OR ({s} < 0 AND {a} >= {b}) THEN generate_series({a}, {b}, {s}) "
        f"WHEN {s} = 0 AND {a} = {b} THEN [{a}] WHEN {a} IS NOT NULL AND {b} IS NOT NULL AND {s} IS NOT NULL THEN {error} END"
    )
    return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, nullable or step.nullable)


def _moments(call: Call, start: Typed, stop: Typed) -> Typed:
    if not isinstance(start.type, (DateType, TimestampType)):
        raise call.mismatch("be whole numbers, dates or timestamps")
    step = call.arg(2) if len(call) == 3 else None
    if step is not None and not isinstance(step.value, IntervalValue):
        raise AnalysisException(
            "the step of sequence() over dates must be a literal interval like INTERVAL 1 DAY",
            "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
        )
    interval = step.sql if step else "to_days(1)"
    back = f"(-{step.sql})" if step else "to_days(-1)"
    by_clock = step is None or step.value.months or step.value.duration % MICROS["DAY"] == 0
    local = isinstance(start.type, TimestampType) and by_clock
    a, b = (to_local(x.sql, call.settings) if local else f"CAST({x.sql} AS TIMESTAMP)" for x in (start, stop))
    first = interval
    if step is None:
        sql = f"CASE WHEN {a} <= {b} THEN generate_series({a}, {b}, {first}) ELSE generate_series({a}, {b}, {back}) END"
    else:
        sql = f"generate_series({a}, {b}, {interval})"
        if isinstance(step.type, YearMonthIntervalType) or step.value.months:
            # Each by its own multiple: the 31st stays the 31st where the month has one.
            sql = f"list_filter(list_transform(range(0, 12000), lambda q_: {a} + {interval} * CAST(q_ AS INTEGER)), lambda q_: q_ {'<=' if step.value.months > 0 else '>='} {b})"
    if local:
        sql = f"list_transform({sql}, lambda q_: {from_local('q_', call.settings)})"
    kind = ArrayType(start.type, False)
    known = f"CASE WHEN {start.sql} IS NOT NULL AND {stop.sql} IS NOT NULL THEN {sql} END"
    return Typed(f"CAST({known} AS {duck_type(kind)})", kind, start.nullable or stop.nullable)


# --- asking ---------------------------------------------------------------------------------------------------------


@special("size cardinality", least=1, most=1)
def _size(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, NullType):
        return Typed("CAST(NULL AS INTEGER)" if call.settings.ansi else "-1", IntegerType(), True)
    if not isinstance(value.type, (ArrayType, MapType)):
        raise call.mismatch("be an array or a map")
    count = f"len({value.sql})" if isinstance(value.type, ArrayType) else f"cardinality({value.sql})"
    if not call.settings.ansi:  # spark.sql.legacy.sizeOfNull
        return Typed(f"CAST(coalesce({count}, -1) AS INTEGER)", IntegerType(), False)
    return Typed(f"CAST({count} AS INTEGER)", IntegerType(), value.nullable)


define("array_size", "array -> int", "CAST(len({0}) AS INTEGER)")


def _with_element(call: Call, array: int = 0, element: int = 1) -> tuple[Typed, Typed, ArrayType]:
    """An array and a value in the array's type, or both in the wider one."""
    found, value = call.arg(array), call.arg(element)
    if not isinstance(found.type, ArrayType):
        raise call.mismatch("begin with an array")
    if isinstance(value.type, NullType) and call.name == "array_contains":
        raise AnalysisException(
            f"{call.name}() cannot look for NULL; use exists(x, v -> v IS NULL)",
            "DATATYPE_MISMATCH.NULL_TYPE",
        )
    kind = coercion.tightest(found.type.elementType, value.type)
    exact = [isinstance(k, DecimalType) for k in (found.type.elementType, value.type)]
    grows = call.name in ("array_append", "array_prepend", "array_insert")
    if kind is None or (grows and exact[0] != exact[1] and not isinstance(value.type, NullType)):
        raise AnalysisException(
            f"{call.name}() takes an array and a value of its type, not {found.type.simpleString()} and "
            f"{value.type.simpleString()}; cast the value",
            "DATATYPE_MISMATCH.ARRAY_FUNCTION_DIFF_TYPES",
        )
    wide = ArrayType(kind, found.type.containsNull)
    return cast(found, wide, call.settings), cast(value, kind, call.settings), wide


_HAS_NULL = "len(list_filter({0}, lambda n_: n_ IS NULL)) > 0"


@special("array_contains", least=2, most=2)
def _array_contains(call: Call) -> Typed:
    array, value, kind = _with_element(call)
    sql = let(
        array.sql,
        lambda a: (
            f"CASE WHEN {a} IS NULL OR {value.sql} IS NULL THEN NULL WHEN list_contains({a}, {value.sql}) THEN true "
            + (f"WHEN {_HAS_NULL.format(a)} THEN NULL " if kind.containsNull else "")
            + "ELSE false END"
        ),
    )
    return Typed(
        f"CAST({sql} AS BOOLEAN)", BooleanType(), array.nullable or value.nullable or kind.containsNull
    )


@special("array_position", least=2, most=2)
def _array_position(call: Call) -> Typed:
    array, value, _ = _with_element(call)
    sql = f"CASE WHEN {array.sql} IS NOT NULL AND {value.sql} IS NOT NULL THEN coalesce(list_position({array.sql}, {value.sql}), 0) END"
    return Typed(f"CAST({sql} AS BIGINT)", LongType(), array.nullable or value.nullable)


def _element_type(call: Call, index: int = 0) -> tuple[Typed, ArrayType]:
    value = call.arg(index)
    if isinstance(value.type, NullType):
        value = null_of(ArrayType(NullType()))
    if not isinstance(value.type, ArrayType):
        raise call.mismatch("begin with an array")
    return value, value.type


@special("array_max array_min", least=1, most=1)
def _array_extreme(call: Call) -> Typed:
    value, kind = _element_type(call)
    if isinstance(kind.elementType, (ArrayType, StructType)):
        order = "'DESC', 'NULLS LAST'" if call.name == "array_max" else "'ASC', 'NULLS LAST'"
        return Typed(f"{sorted_by_key(value.sql, kind.elementType, order)}[1]", kind.elementType, True)
    return Typed(f"list_aggregate({value.sql}, '{call.name[6:]}')", kind.elementType, True)


def sorted_by_key(sql: str, element: DataType, order: str) -> str:
    """An array of structs or arrays sorted as Spark orders them: a NULL inside comes first."""
    key = order_key("s_", element)
    # A NULL element has a NULL for its pair too, and so goes where `order` puts NULLs.
    pair = f"CASE WHEN s_ IS NOT NULL THEN struct_pack(k := {key}, v := s_) END"
    return f"list_transform(list_sort(list_transform({sql}, lambda s_: {pair}), {order}), lambda s_: s_.v)"


@special("element_at try_element_at", least=2, most=2)
def _element_at(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, NullType):
        raise call.mismatch("begin with an array or a map")
    if isinstance(value.type, MapType):
        return element_of(call.compiler, value, call.arg(1))
    _, kind = _element_type(call)
    index = call.coerced(1, IntegerType())

    def picked(a: str, i: str) -> str:
        zero = failure(
            "INVALID_INDEX_OF_ZERO",
            "The index 0 is invalid; an index counts from 1 or, negative, from the end.",
        )
        far = failure(
            "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
            "The index {} is out of bounds; the array has {} elements. Use `try_element_at` for NULL instead.", i, f"len({a})",
        )  # fmt: skip
        outside = (
            f"WHEN abs({i}) > len({a}) THEN {far} "
            if call.settings.ansi and call.name == "element_at"
            else ""
        )
        return f"CASE WHEN {i} = 0 AND {a} IS NOT NULL THEN {zero} {outside}ELSE list_extract({a}, {i}) END"

    sql = let(value.sql, lambda a: let(index.sql, lambda i: picked(a, i)))
    return Typed(sql, kind.elementType, True)


@special("get", least=2, most=2)
def _get(call: Call) -> Typed:
    value, kind = _element_type(call)
    index = call.coerced(1, IntegerType())
    sql = let(index.sql, lambda i: f"CASE WHEN {i} >= 0 THEN list_extract({value.sql}, {i} + 1) END")
    return Typed(sql, kind.elementType, True)


@special("arrays_overlap", least=2, most=2)
def _arrays_overlap(call: Call) -> Typed:
    a, b = call.same_type()
    sql = let(
        a.sql,
        lambda x: let(
            b.sql,
            lambda y: (
                f"CASE WHEN {x} IS NULL OR {y} IS NULL THEN NULL "
                f"WHEN list_has_any(list_filter({x}, lambda n_: n_ IS NOT NULL), {y}) THEN true "
                f"WHEN len({x}) > 0 AND len({y}) > 0 AND ({_HAS_NULL.format(x)} OR {_HAS_NULL.format(y)}) THEN NULL ELSE false END"
            ),
        ),
    )
    return Typed(f"CAST({sql} AS BOOLEAN)", BooleanType(), True)


# --- changing -------------------------------------------------------------------------------------------------------


def _distinct(x: str) -> str:
    """The first of each value, in order, NULL among them."""
    return f"list_filter({x}, lambda u_, n_: coalesce(list_position({x}, u_), list_position(list_transform({x}, lambda w_: w_ IS NULL), true)) = n_)"


@special("array_distinct", least=1, most=1)
def _array_distinct(call: Call) -> Typed:
    value, kind = _element_type(call)
    sql = value.sql
    if isinstance(
        kind.elementType, (FloatType, DoubleType)
    ):  # -0.0 and 0.0 are one value, and written as the latter
        sql = f"list_transform({sql}, lambda f_: CASE WHEN f_ = 0 THEN {cast_sql('0', kind.elementType)} ELSE f_ END)"
    return Typed(let(sql, _distinct), kind, value.nullable)


def _two_arrays(call: Call) -> list[Typed]:
    if not all(isinstance(a.type, ArrayType) for a in call.args):
        raise AnalysisException(
            f"{call.name}() takes two arrays", "DATATYPE_MISMATCH.BINARY_ARRAY_DIFF_TYPES"
        )
    return call.same_type()


@special("array_union", least=2, most=2)
def _array_union(call: Call) -> Typed:
    a, b = _two_arrays(call)
    both = f"CASE WHEN {a.sql} IS NOT NULL AND {b.sql} IS NOT NULL THEN list_concat({a.sql}, {b.sql}) END"
    return Typed(_bound(both, _distinct), a.type, a.nullable or b.nullable)


def _bound(sql: str, body: object) -> str:
    assert callable(body)
    return f"list_transform([{sql}], lambda joint_: {body('joint_')})[1]"


@special("array_intersect array_except", least=2, most=2)
def _array_set(call: Call) -> Typed:
    a, b = _two_arrays(call)
    wanted = "" if call.name == "array_intersect" else "NOT "

    def chosen(y: str) -> str:
        has_null = _HAS_NULL.format(y)
        inside = f"CASE WHEN v_ IS NULL THEN {has_null} ELSE list_contains({y}, v_) END"
        return f"CASE WHEN {y} IS NOT NULL THEN list_filter({a.sql}, lambda v_: {wanted}({inside})) END"

    return Typed(_bound(let(b.sql, chosen), _distinct), a.type, a.nullable or b.nullable)


@special("array_remove", least=2, most=2)
def _array_remove(call: Call) -> Typed:
    array, value, kind = _with_element(call)
    sql = f"CASE WHEN {value.sql} IS NOT NULL THEN list_filter({array.sql}, lambda v_: v_ IS DISTINCT FROM {value.sql}) END"
    return Typed(sql, kind, array.nullable or value.nullable)


@special("array_append array_prepend", least=2, most=2)
def _array_append(call: Call) -> Typed:
    array, value, kind = _with_element(call)
    pair = (array.sql, f"[{value.sql}]") if call.name == "array_append" else (f"[{value.sql}]", array.sql)
    sql = f"CASE WHEN {array.sql} IS NOT NULL THEN list_concat({pair[0]}, {pair[1]}) END"
    made = ArrayType(kind.elementType, kind.containsNull or value.nullable)
    return Typed(f"CAST({sql} AS {duck_type(made)})", made, array.nullable)


@special("array_insert", least=3, most=3)
def _array_insert(call: Call) -> Typed:
    array, value, kind = _with_element(call, 0, 2)
    at = call.coerced(1, IntegerType())
    nothing = f"CAST(NULL AS {duck_type(kind.elementType)})"

    def inserted(a: str, i: str) -> str:
        zero = failure(
            "INVALID_INDEX_OF_ZERO",
            "The index 0 is invalid; an index counts from 1 or, negative, from the end.",
        )
        front = f"list_concat(list_concat({a}[:{i} - 1], list_transform(range(greatest({i} - 1 - len({a}), 0)), lambda r_: {nothing})), [{value.sql}])"
        back = f"list_concat([{value.sql}], list_transform(range(greatest(-{i} - 1 - len({a}), 0)), lambda r_: {nothing}))"
        return (
            f"CASE WHEN {a} IS NULL OR {i} IS NULL THEN NULL WHEN {i} = 0 THEN {zero} "
            f"WHEN {i} > 0 THEN list_concat({front}, {a}[{i}:]) "
            f"WHEN -{i} <= len({a}) + 1 THEN list_concat(list_concat({a}[:len({a}) + {i} + 1], [{value.sql}]), {a}[len({a}) + {i} + 2:]) "
            f"ELSE list_concat({back}, {a}) END"
        )

    sql = let(array.sql, lambda a: let(at.sql, lambda i: inserted(a, i)))
    return Typed(
        f"CAST({sql} AS {duck_type(kind)})", ArrayType(kind.elementType, True), array.nullable or at.nullable
    )


@special("array_compact", least=1, most=1)
def _array_compact(call: Call) -> Typed:
    value, kind = _element_type(call)
    return Typed(
        f"list_filter({value.sql}, lambda v_: v_ IS NOT NULL)",
        ArrayType(kind.elementType, False),
        value.nullable,
    )


@special("array_join", least=2, most=3)
def _array_join(call: Call) -> Typed:
    value = cast(call.arg(0), ArrayType(StringType()), call.settings)
    separator = call.coerced(1, StringType())
    items = f"list_filter({value.sql}, lambda v_: v_ IS NOT NULL)"
    nullable = value.nullable or separator.nullable
    if len(call) == 3:
        other = call.coerced(2, StringType())
        nullable = nullable or other.nullable
        items = (
            f"CASE WHEN {other.sql} IS NOT NULL THEN "
            f"list_transform({value.sql}, lambda v_: coalesce(v_, {other.sql})) END"
        )
    return Typed(joined(items, separator), StringType(), nullable)


def joined(items: str, separator: Typed) -> str:
    """Strings end to end; DuckDB's own function takes only a separator that is the same for all rows."""
    if separator.value is not None:
        return f"array_to_string({items}, {separator.sql})"
    folded = f"list_reduce({items}, lambda p_, q_: p_ || {separator.sql} || q_)"
    return f"CASE WHEN {separator.sql} IS NULL THEN NULL WHEN len({items}) = 0 THEN '' WHEN len({items}) > 0 THEN {folded} END"


@special("sort_array", least=1, most=2)
def _sort_array(call: Call) -> Typed:
    value, kind = _element_type(call)
    ascending = call.literal(1, True)
    order = "'ASC', 'NULLS FIRST'" if ascending else "'DESC', 'NULLS LAST'"
    if isinstance(kind.elementType, (ArrayType, StructType)):
        return Typed(sorted_by_key(value.sql, kind.elementType, order), kind, value.nullable)
    return Typed(f"list_sort({value.sql}, {order})", kind, value.nullable)


@special("reverse", least=1, most=1)
def _reverse(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, ArrayType):
        return Typed(f"list_reverse({value.sql})", value.type, value.nullable)
    text = call.coerced(0, StringType())
    sql = let(
        text.sql, lambda x: f"CASE WHEN strlen({x}) = length({x}) THEN reverse({x}) ELSE tm_reverse({x}) END"
    )
    return Typed(sql, StringType(), text.nullable)


@special("slice", least=3, most=3)
def _slice(call: Call) -> Typed:
    value, kind = _element_type(call)
    start, size = call.coerced(1, IntegerType()), call.coerced(2, IntegerType())

    def cut(a: str) -> str:
        s, n = start.sql, size.sql
        zero = failure(
            "INVALID_PARAMETER_VALUE.START",
            "slice() counts from 1 or, negative, from the end; its start cannot be 0.",
        )
        negative = failure(
            "INVALID_PARAMETER_VALUE.LENGTH", "slice() takes a length of 0 or more, not {}.", n
        )
        begin = f"(CASE WHEN {s} < 0 THEN len({a}) + {s} + 1 ELSE {s} END)"
        return (
            f"CASE WHEN {a} IS NULL OR {s} IS NULL OR {n} IS NULL THEN NULL WHEN {s} = 0 THEN {zero} WHEN {n} < 0 THEN {negative} "
            f"WHEN {begin} < 1 OR {begin} > len({a}) OR {n} = 0 THEN [] ELSE list_slice({a}, {begin}, {begin} + {n}::BIGINT - 1) END"
        )

    return Typed(
        f"CAST({let(value.sql, cut)} AS {duck_type(kind)})",
        kind,
        value.nullable or start.nullable or size.nullable,
    )


@special("flatten", least=1, most=1)
def _flatten(call: Call) -> Typed:
    value, kind = _element_type(call)
    if not isinstance(kind.elementType, ArrayType):
        raise call.mismatch("be an array of arrays")
    sql = let(value.sql, lambda a: f"CASE WHEN {_HAS_NULL.format(a)} THEN NULL ELSE flatten({a}) END")
    return Typed(sql, kind.elementType, value.nullable or kind.containsNull)


@special("arrays_zip", least=1)
def _arrays_zip(call: Call) -> Typed:
    arrays = [_element_type(call, n) for n in range(len(call))]
    names = []
    for n, node in enumerate(call.nodes):
        named = isinstance(node, (Ref, exp.Alias, exp.Dot))
        names.append(_field_name(node, n) if named else str(n))
    element = StructType(StructField(n, k.elementType) for n, (_, k) in zip(names, arrays, strict=True))
    kind = ArrayType(element, False)
    known = " AND ".join(f"{v.sql} IS NOT NULL" for v, _ in arrays)
    longest = f"greatest({', '.join(f'len({v.sql})' for v, _ in arrays)}, 0)"
    fields = ", ".join(
        f"{quote_name(n)} := list_extract({v.sql}, CAST(z_ AS BIGINT) + 1)"
        for n, (v, _) in zip(names, arrays, strict=True)
    )
    sql = f"CASE WHEN {known} THEN list_transform(range({longest}), lambda z_: struct_pack({fields})) END"
    return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, any(v.nullable for v, _ in arrays))


@special("shuffle", least=1, most=2, deterministic=False)
def _shuffle(call: Call) -> Typed:
    if len(call) == 2:
        raise AnalysisException(
            "shuffle() with a seed is not supported, as its order would not be Spark's; leave the seed out",
            "UNSUPPORTED_FEATURE",
        )
    value, kind = _element_type(call)
    pairs = f"list_transform({value.sql}, lambda v_: struct_pack(r := random(), v := v_))"
    return Typed(f"list_transform(list_sort({pairs}), lambda p_: p_.v)", kind, value.nullable)


# --- maps -----------------------------------------------------------------------------------------------------------


def map_type(call: Call, index: int = 0) -> tuple[Typed, MapType]:
    value = call.arg(index)
    if not isinstance(value.type, MapType):
        raise call.mismatch("begin with a map")
    return value, value.type


def entry_type(kind: MapType) -> StructType:
    return StructType(
        [
            StructField("key", kind.keyType, False),
            StructField("value", kind.valueType, kind.valueContainsNull),
        ]
    )


@special("map_keys", least=1, most=1)
def _map_keys(call: Call) -> Typed:
    value, kind = map_type(call)
    return Typed(f"map_keys({value.sql})", ArrayType(kind.keyType, False), value.nullable)


@special("map_values", least=1, most=1)
def _map_values(call: Call) -> Typed:
    value, kind = map_type(call)
    return Typed(
        f"map_values({value.sql})", ArrayType(kind.valueType, kind.valueContainsNull), value.nullable
    )


@special("map_entries", least=1, most=1)
def _map_entries(call: Call) -> Typed:
    value, kind = map_type(call)
    return Typed(f"map_entries({value.sql})", ArrayType(entry_type(kind), False), value.nullable)


@special("map_contains_key", least=2, most=2)
def _map_contains_key(call: Call) -> Typed:
    value, kind = map_type(call)
    if isinstance(call.arg(1).type, NullType):
        raise AnalysisException(
            "map_contains_key() cannot look for NULL, which is no key", "DATATYPE_MISMATCH.NULL_TYPE"
        )
    key = cast(call.arg(1), kind.keyType, call.settings)
    return Typed(f"map_contains({value.sql}, {key.sql})", BooleanType(), value.nullable or key.nullable)


@special("map_from_arrays", least=2, most=2)
def _map_from_arrays(call: Call) -> Typed:
    keys, values = call.arg(0), call.arg(1)
    if not (isinstance(keys.type, ArrayType) and isinstance(values.type, ArrayType)):
        raise call.mismatch("be two arrays")
    kind = MapType(keys.type.elementType, values.type.elementType, values.type.containsNull)
    sql = f"CASE WHEN {keys.sql} IS NOT NULL AND {values.sql} IS NOT NULL THEN map({keys.sql}, {values.sql}) END"
    return Typed(f"CAST({sql} AS {duck_type(kind)})", kind, keys.nullable or values.nullable)


@special("map_from_entries", least=1, most=1)
def _map_from_entries(call: Call) -> Typed:
    value, kind = _element_type(call)
    entry = kind.elementType
    if not isinstance(entry, StructType) or len(entry) != 2:
        raise call.mismatch("be an array of structs of two fields")
    made = MapType(entry.fields[0].dataType, entry.fields[1].dataType, entry.fields[1].nullable)
    pairs = "list_transform({0}, lambda p_: {{'key': struct_extract_at(p_, 1), 'value': struct_extract_at(p_, 2)}})"
    sql = let(
        value.sql,
        lambda a: (
            f"CASE WHEN {_HAS_NULL.format(a)} OR {a} IS NULL THEN NULL ELSE map_from_entries({pairs.format(a)}) END"
        ),
    )
    return Typed(f"CAST({sql} AS {duck_type(made)})", made, value.nullable or kind.containsNull)


@special("map_concat")
def _map_concat(call: Call) -> Typed:
    if not len(call):
        kind = MapType(StringType(), StringType(), False)
        return Typed(f"CAST(map() AS {duck_type(kind)})", kind, False)
    if not all(isinstance(a.type, MapType) for a in call.args):
        raise AnalysisException("map_concat() takes maps", "DATATYPE_MISMATCH.MAP_CONCAT_DIFF_TYPES")
    maps = call.same_type()
    kind = maps[0].type  # type: ignore[assignment]
    known = " AND ".join(f"{m.sql} IS NOT NULL" for m in maps)
    entries = f"map_entries({maps[0].sql})"
    for item in maps[1:]:
        entries = f"list_concat({entries}, map_entries({item.sql}))"
    sql = f"CASE WHEN {known} THEN map_from_entries({entries}) END"
    return Typed(cast_sql(sql, kind), kind, any(m.nullable for m in maps))
