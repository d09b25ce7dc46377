"""Text: case, padding, searching, splitting, regular expressions, encodings."""

from __future__ import annotations

from dataclasses import replace

from tidemill.plan.casts import cast
from tidemill.plan.functions.collection import joined
from tidemill.plan.functions.registry import Call, define, special
from tidemill.plan.patterns import group_count, like, native_pattern, rlike, same_in_replacement
from tidemill.plan.rendering import let
from tidemill.plan.typed import Typed, cast_sql, duck_type, failure, null_of, quote_text
from tidemill.types import (
    ArrayType,
    AtomicType,
    BinaryType,
    BooleanType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    IntegralType,
    LongType,
    MapType,
    NullType,
    NumericType,
    StringType,
)

_PLAIN = "strlen({0}) = length({0})"
"""Whether a text is ASCII only: as many bytes as characters."""

# --- case and length ------------------------------------------------------------------------------------------------

# DuckDB maps one character to one; 'ß' has two capitals, and so what is not ASCII goes by Python's full mapping.
define("upper ucase", "string -> string", f"CASE WHEN {_PLAIN} THEN upper({{0}}) ELSE tm_upper({{0}}) END")
define("lower lcase", "string -> string", f"CASE WHEN {_PLAIN} THEN lower({{0}}) ELSE tm_lower({{0}}) END")
define("initcap", "string -> string", "tm_initcap({0})", kind="kernel")
define("ascii", "string -> int", "CASE WHEN {0} = '' THEN 0 ELSE ord({0}) END")
define("chr char", "bigint -> string", "CASE WHEN {0} < 0 THEN '' ELSE chr(CAST({0} % 256 AS INTEGER)) END")
define("levenshtein", "string, string, int? -> int", {
    2: "CAST(tm_levenshtein({0}, {1}) AS INTEGER)", 3: "tm_levenshtein_up_to({0}, {1}, {2})",
}, kind="kernel")  # fmt: skip
define("soundex", "string -> string", "tm_soundex({0})", kind="kernel")


@special("length char_length character_length len", least=1, most=1)
def _length(call: Call) -> Typed:
    value = call.arg(0)
    if isinstance(value.type, BinaryType):
        return Typed(f"CAST(octet_length({value.sql}) AS INTEGER)", IntegerType(), value.nullable)
    text = call.coerced(0, StringType())
    return Typed(f"CAST(length({text.sql}) AS INTEGER)", IntegerType(), text.nullable)


@special("octet_length bit_length", least=1, most=1)
def _octets(call: Call) -> Typed:
    value = call.arg(0)
    size = (
        f"octet_length({value.sql})"
        if isinstance(value.type, BinaryType)
        else f"strlen({call.coerced(0, StringType()).sql})"
    )
    times = " * 8" if call.name == "bit_length" else ""
    return Typed(f"CAST({size}{times} AS INTEGER)", IntegerType(), value.nullable)


# --- joining and cutting --------------------------------------------------------------------------------------------


@special("concat", least=0)
def _concat(call: Call) -> Typed:
    """Strings, binaries or arrays end to end; NULL if one is."""
    if not len(call):
        return Typed("''", StringType(), False, "")
    items = call.args
    nullable = any(i.nullable for i in items)
    if any(isinstance(i.type, ArrayType) for i in items):
        same = call.same_type()
        if len(same) == 1:
            return same[0]
        sql = same[0].sql
        for item in same[1:]:
            sql = f"list_concat({sql}, {item.sql})"
        known = " AND ".join(f"{i.sql} IS NOT NULL" for i in same if i.nullable)
        return Typed(f"CASE WHEN {known} THEN {sql} END" if known else sql, same[0].type, nullable)
    if all(isinstance(i.type, (BinaryType, NullType)) for i in items) and any(
        isinstance(i.type, BinaryType) for i in items
    ):
        kind: AtomicType = BinaryType()
    else:
        kind = StringType()
    same = [cast(i, kind, call.settings) for i in items]
    return Typed(f"({' || '.join(i.sql for i in same)})", kind, nullable)


@special("concat_ws", least=1)
def _concat_ws(call: Call) -> Typed:
    """Strings and arrays of strings between separators; NULLs are left out."""
    separator = call.coerced(0, StringType())
    parts = []
    for index in range(1, len(call)):
        item = call.arg(index)
        if isinstance(item.type, ArrayType):
            texts = cast(item, ArrayType(StringType()), call.settings)
            parts.append(f"list_filter(coalesce({texts.sql}, []::VARCHAR[]), lambda w_: w_ IS NOT NULL)")
        else:
            parts.append(f"list_filter([{call.coerced(index, StringType()).sql}], lambda w_: w_ IS NOT NULL)")
    if all(not isinstance(call.arg(n).type, ArrayType) for n in range(1, len(call))) and len(call) > 1:
        rest = ", ".join(call.coerced(n, StringType()).sql for n in range(1, len(call)))
        return Typed(f"concat_ws({separator.sql}, {rest})", StringType(), separator.nullable)
    every = f"flatten([{', '.join(parts)}])" if parts else "[]::VARCHAR[]"
    sql = let(
        separator.sql,
        lambda s: (
            f"CASE WHEN {s} IS NOT NULL THEN coalesce({joined(every, replace(separator, sql=s))}, '') END"
        ),
    )
    return Typed(sql, StringType(), separator.nullable)


@special("substring substr", least=2, most=3)
def _substring(call: Call) -> Typed:
    """From 1, or from the end if negative; before the beginning counts as Spark counts it."""
    value = call.arg(0)
    start = call.coerced(1, IntegerType())
    size = call.coerced(2, IntegerType()) if len(call) == 3 else None
    nullable = value.nullable or start.nullable or bool(size and size.nullable)
    if isinstance(value.type, BinaryType):
        length = size.sql if size else "2147483647"
        return Typed(f"tm_subbinary({value.sql}, {start.sql}, {length})", BinaryType(), nullable)
    text = call.coerced(0, StringType())
    if (
        isinstance(start.value, int)
        and start.value > 0
        and (size is None or (isinstance(size.value, int) and size.value >= 0))
    ):
        count = "" if size is None else f", {size.sql}"
        return Typed(f"substring({text.sql}, {start.sql}{count})", StringType(), nullable)
    return Typed(
        let(text.sql, lambda x: _cut(x, start.sql, size.sql if size else "2147483647")),
        StringType(),
        nullable,
    )


def _cut(x: str, start: str, size: str) -> str:
    begin = f"(CASE WHEN {start} > 0 THEN {start}::BIGINT - 1 WHEN {start} < 0 THEN length({x}) + {start}::BIGINT ELSE 0 END)"
    end = f"({begin} + {size}::BIGINT)"
    return f"CASE WHEN {x} IS NULL OR {start} IS NULL OR {size} IS NULL THEN NULL WHEN {end} <= greatest({begin}, 0) THEN '' ELSE substring({x}, greatest({begin}, 0) + 1, {end} - greatest({begin}, 0)) END"


@special("left right", least=2, most=2)
def _end(call: Call) -> Typed:
    value, size = call.arg(0), call.coerced(1, IntegerType())
    if isinstance(value.type, BinaryType):
        start = (
            "1"
            if call.name == "left"
            else f"greatest(octet_length({value.sql}) - {size.sql} + 1, 1)::INTEGER"
        )
        sql = (
            f"CASE WHEN {size.sql} <= 0 THEN ''::BLOB ELSE tm_subbinary({value.sql}, {start}, {size.sql}) END"
        )
        return Typed(
            f"CASE WHEN {value.sql} IS NOT NULL THEN {sql} END", BinaryType(), value.nullable or size.nullable
        )
    text = call.coerced(0, StringType())
    sql = let(
        text.sql,
        lambda x: f"CASE WHEN {size.sql} <= 0 THEN left({x}, 0) ELSE {call.name}({x}, {size.sql}) END",
    )
    return Typed(sql, StringType(), text.nullable or size.nullable)


define("repeat", "string, int -> string", "CASE WHEN {1} <= 0 THEN left({0}, 0) ELSE repeat({0}, {1}) END")
define("space", "int -> string", "CASE WHEN {0} < 0 THEN '' ELSE repeat(' ', {0}) END")


@special("lpad rpad", least=2, most=3)
def _pad(call: Call) -> Typed:
    if isinstance(call.arg(0).type, BinaryType):
        return _pad_bytes(call)
    text, size = call.coerced(0, StringType()), call.coerced(1, IntegerType())
    pad = call.coerced(2, StringType()) if len(call) == 3 else Typed("' '", StringType(), False, " ")
    nullable = text.nullable or size.nullable or pad.nullable
    sql = let(
        text.sql,
        lambda x: (
            f"CASE WHEN {pad.sql} IS NULL THEN NULL WHEN {size.sql} <= 0 THEN left({x}, 0) WHEN {pad.sql} = '' THEN left({x}, {size.sql}) "
            f"ELSE {call.name}({x}, {size.sql}, {pad.sql}) END"
        ),
    )
    if isinstance(pad.value, str) and pad.value and isinstance(size.value, int) and size.value > 0:
        sql = f"{call.name}({text.sql}, {size.sql}, {pad.sql})"
    return Typed(sql, StringType(), nullable)


def _pad_bytes(call: Call) -> Typed:
    raw, size = call.arg(0), call.coerced(1, IntegerType())
    pad = call.arg(2) if len(call) == 3 else Typed("unhex('00')", BinaryType(), False)
    if isinstance(pad.type, BinaryType):
        return Typed(
            f"tm_pad_bytes__{call.name}({raw.sql}, {size.sql}, {pad.sql})",
            BinaryType(),
            raw.nullable or size.nullable,
        )
    raise call.mismatch("be bytes, a length and bytes")


@special("trim btrim ltrim rtrim", least=1, most=2)
def _trim(call: Call) -> Typed:
    """Blanks, or the characters given, which come first but for btrim()."""
    if len(call) == 2 and call.name != "btrim":
        call = Call(call.name, list(reversed(call.nodes)), call.compiler)
    text = call.coerced(0, StringType())
    word = "trim" if call.name == "btrim" else call.name
    if len(call) == 1:
        return Typed(f"{word}({text.sql}, ' ')", StringType(), text.nullable)
    characters = call.coerced(1, StringType())
    return Typed(f"{word}({text.sql}, {characters.sql})", StringType(), text.nullable or characters.nullable)


# --- searching ------------------------------------------------------------------------------------------------------

_WORDS = {"contains": "contains", "startswith": "starts_with", "endswith": "suffix"}


@special("contains startswith endswith", least=2, most=2)
def _holds(call: Call) -> Typed:
    a, b = call.arg(0), call.arg(1)
    if isinstance(a.type, BinaryType) and isinstance(b.type, BinaryType):
        x, y = f"hex({a.sql})", f"hex({b.sql})"
        if call.name == "contains":
            return Typed(f"tm_contains_bytes({a.sql}, {b.sql})", BooleanType(), a.nullable or b.nullable)
    else:
        x, y = call.coerced(0, StringType()).sql, call.coerced(1, StringType()).sql
    return Typed(f"{_WORDS[call.name]}({x}, {y})", BooleanType(), a.nullable or b.nullable)


define("instr", "string, string -> int", "CAST(instr({0}, {1}) AS INTEGER)")


@special("locate position", least=2, most=3)
def _locate(call: Call) -> Typed:
    part, text = call.coerced(0, StringType()), call.coerced(1, StringType())
    if len(call) == 2:
        return Typed(
            f"CAST(instr({text.sql}, {part.sql}) AS INTEGER)", IntegerType(), part.nullable or text.nullable
        )
    start = call.coerced(2, IntegerType())
    found = f"instr(substring({text.sql}, {start.sql}), {part.sql})"
    sql = (
        f"CASE WHEN {start.sql} IS NULL THEN 0 WHEN {part.sql} = '' AND {start.sql} > 0 THEN CASE WHEN {text.sql} IS NOT NULL THEN 1 END WHEN {start.sql} < 1 THEN CASE WHEN {text.sql} IS NOT NULL AND {part.sql} IS NOT NULL THEN 0 END "
        f"WHEN {found} > 0 THEN {found} + {start.sql} - 1 ELSE {found} END"
    )
    return Typed(cast_sql(sql, IntegerType()), IntegerType(), True)


define("find_in_set", "string, string -> int",
       "CASE WHEN contains({0}, ',') THEN CASE WHEN {1} IS NOT NULL THEN 0 END "
       "ELSE CAST(coalesce(list_position(string_split({1}, ','), {0}), 0) AS INTEGER) * CASE WHEN {1} IS NULL OR {0} IS NULL THEN NULL ELSE 1 END END",
       nullable=True)  # fmt: skip
define("translate", "string, string, string -> string", "tm_translate({0}, {1}, {2})", kind="kernel")
define("replace", "string, string, string? -> string", {
    2: "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, '') END",
    3: "CASE WHEN {1} = '' THEN CASE WHEN {2} IS NOT NULL THEN {0} END ELSE replace({0}, {1}, {2}) END",
})  # fmt: skip


@special("overlay", least=3, most=4)
def _overlay(call: Call) -> Typed:
    place = call.coerced(2, IntegerType())
    size = call.coerced(3, IntegerType()) if len(call) == 4 else Typed("-1", IntegerType(), False)
    raw = isinstance(call.arg(0).type, BinaryType)
    kind: AtomicType = BinaryType() if raw else StringType()
    value, by = call.coerced(0, kind), call.coerced(1, kind)
    sql = f"tm_overlay{'_bytes' if raw else ''}({value.sql}, {by.sql}, {place.sql}, {size.sql})"
    return Typed(sql, kind, any(a.nullable for a in call.args))


define("substring_index", "string, string, int -> string", "tm_substring_index({0}, {1}, {2})", kind="kernel")
define("mask", "string, string?, string?, string?, string? -> string", {
    1: "tm_mask({0}, 'X', 'x', 'n', NULL)", 2: "tm_mask({0}, {1}, 'x', 'n', NULL)", 3: "tm_mask({0}, {1}, {2}, 'n', NULL)",
    4: "tm_mask({0}, {1}, {2}, {3}, NULL)", 5: "tm_mask({0}, {1}, {2}, {3}, {4})",
}, kind="kernel", nullable=True)  # fmt: skip
define("quote", "string -> string", "tm_quote({0})", kind="kernel")


@special("like ilike", least=2, most=3)
def _like(call: Call) -> Typed:
    escape = call.literal(2, "\\")
    return like(call.coerced(0, StringType()), call.coerced(1, StringType()), escape, call.name == "like")


@special("rlike regexp regexp_like", least=2, most=2)
def _rlike(call: Call) -> Typed:
    return rlike(call.coerced(0, StringType()), call.coerced(1, StringType()))


# --- splitting ------------------------------------------------------------------------------------------------------

_REGEX_SIGNS = set("\\^$.|?*+()[]{}")


@special("split", least=2, most=3)
def _split(call: Call) -> Typed:
    """By a regular expression; a plain one (a comma, an escaped dot) goes by DuckDB's split."""
    text, pattern = call.coerced(0, StringType()), call.coerced(1, StringType())
    kind = ArrayType(StringType(), False)
    limit = call.arg(2) if len(call) == 3 else None
    plain = _plain_text(pattern.value)
    if plain and (limit is None or (isinstance(limit.value, int) and limit.value <= 0)):
        return Typed(f"string_split({text.sql}, {quote_text(plain)})", kind, text.nullable)
    count = cast(limit, IntegerType(), call.settings).sql if limit else "-1"
    sql = f"tm_split({text.sql}, {pattern.sql}, {count})"
    return Typed(sql, kind, text.nullable or pattern.nullable)


def _plain_text(pattern: object) -> str | None:
    """The text that a regular expression matches alone, if there is one."""
    if not isinstance(pattern, str) or not pattern:
        return None
    found, at = "", 0
    while at < len(pattern):
        if pattern[at] == "\\" and pattern[at + 1 : at + 2] in _REGEX_SIGNS:
            at += 1
        elif pattern[at] in _REGEX_SIGNS:
            return None
        found += pattern[at : at + 1]
        at += 1
    return found


@special("split_part", least=3, most=3)
def _split_part(call: Call) -> Typed:
    text, by, index = (
        call.coerced(0, StringType()),
        call.coerced(1, StringType()),
        call.coerced(2, IntegerType()),
    )
    error = failure(
        "INVALID_INDEX_OF_ZERO", "The index 0 is invalid; an index counts from 1 or, negative, from the end."
    )
    zero = f"CASE WHEN {text.sql} IS NOT NULL AND {by.sql} IS NOT NULL THEN {error} END"
    sql = (
        f"CASE WHEN {index.sql} = 0 THEN {zero} WHEN {by.sql} = '' THEN CASE WHEN {index.sql} IN (1, -1) THEN {text.sql} "
        f"ELSE left({text.sql}, 0) END ELSE split_part({text.sql}, {by.sql}, {index.sql}) END"
    )
    return Typed(f"CAST({sql} AS VARCHAR)", StringType(), text.nullable or by.nullable or index.nullable)


@special("str_to_map", least=1, most=3)
def _str_to_map(call: Call) -> Typed:
    text = call.coerced(0, StringType())
    pair = call.coerced(1, StringType()).sql if len(call) > 1 else "','"
    key = call.coerced(2, StringType()).sql if len(call) > 2 else "':'"
    kind = MapType(StringType(), StringType())
    return Typed(f"CAST(tm_str_to_map({text.sql}, {pair}, {key}) AS {duck_type(kind)})", kind, text.nullable)


# --- regular expressions --------------------------------------------------------------------------------------------


@special("regexp_replace", least=3, most=4)
def _regexp_replace(call: Call) -> Typed:
    text, pattern, by = (call.coerced(n, StringType()) for n in range(3))
    position = call.literal(3, 1)
    nullable = text.nullable or pattern.nullable or by.nullable
    native = native_pattern(pattern)
    plain = isinstance(by.value, str) and "\\" not in by.value and "$" not in by.value
    if native and position == 1 and plain and same_in_replacement(pattern.value):
        return Typed(f"regexp_replace({text.sql}, {native}, {by.sql}, 'g')", StringType(), nullable)
    return Typed(
        f"tm_regexp_replace({text.sql}, {pattern.sql}, {by.sql}, {int(position)})", StringType(), nullable
    )


@special("regexp_extract", least=2, most=3)
def _regexp_extract(call: Call) -> Typed:
    text, pattern = call.coerced(0, StringType()), call.coerced(1, StringType())
    group = call.coerced(2, IntegerType()) if len(call) == 3 else Typed("1", IntegerType(), False, 1)
    nullable = text.nullable or pattern.nullable or group.nullable
    native = native_pattern(pattern)
    known = isinstance(group.value, int) and 0 <= group.value <= group_count(pattern.value)
    if native and known and "$" not in pattern.value:
        return Typed(f"regexp_extract({text.sql}, {native}, {group.value})", StringType(), nullable)
    return Typed(f"tm_regexp_extract({text.sql}, {pattern.sql}, {group.sql})", StringType(), nullable)


@special("regexp_extract_all", least=2, most=3)
def _regexp_extract_all(call: Call) -> Typed:
    text, pattern = call.coerced(0, StringType()), call.coerced(1, StringType())
    group = call.coerced(2, IntegerType()).sql if len(call) == 3 else "1"
    kind = ArrayType(StringType(), True)
    return Typed(
        f"tm_regexp_extract_all({text.sql}, {pattern.sql}, {group})", kind, text.nullable or pattern.nullable
    )


define("regexp_count", "string, string -> int", "tm_regexp_count({0}, {1})", kind="kernel")
define(
    "regexp_substr", "string, string -> string", "tm_regexp_substr({0}, {1})", kind="kernel", nullable=True
)
define("regexp_instr", "string, string, int? -> int", {
    2: "tm_regexp_instr({0}, {1})", 3: "tm_regexp_instr({0}, {1})",
}, kind="kernel")  # fmt: skip


# --- encodings ------------------------------------------------------------------------------------------------------

define("base64", "binary -> string",
       "CASE WHEN octet_length({0}) <= 57 THEN to_base64({0}) "
       "ELSE rtrim(regexp_replace(to_base64({0}), '(.{{76}})', '\\1' || chr(13) || chr(10), 'g'), chr(13) || chr(10)) END")  # fmt: skip
define("unbase64", "string -> binary", "tm_unbase64({0})", kind="kernel")
define("url_encode", "string -> string", "tm_url_encode({0})", kind="kernel")
define("url_decode", "string -> string", "tm_url_decode({0})", kind="kernel")
define("try_url_decode", "string -> string", "tm_try_url_decode({0})", kind="kernel", nullable=True)


@special("is_valid_utf8", least=1, most=1)
def _is_valid_utf8(call: Call) -> Typed:
    """Text is UTF-8 always here; bytes may not be."""
    value = call.arg(0)
    if not isinstance(value.type, BinaryType):
        text = call.coerced(0, StringType())
        return Typed(f"CASE WHEN {text.sql} IS NOT NULL THEN true END", BooleanType(), text.nullable)
    sql = let(value.sql, lambda x: f"CASE WHEN {x} IS NOT NULL THEN TRY(decode({x})) IS NOT NULL END")
    return Typed(sql, BooleanType(), value.nullable)


@special("make_valid_utf8", least=1, most=1)
def _make_valid_utf8(call: Call) -> Typed:
    """Bytes become text by replacing what is not UTF-8."""
    value = call.arg(0)
    if isinstance(value.type, BinaryType):
        return cast(value, StringType(), call.settings)
    return call.coerced(0, StringType())


@special("validate_utf8", least=1, most=1)
def _validate_utf8(call: Call) -> Typed:
    value = call.arg(0)
    if not isinstance(value.type, BinaryType):
        return call.coerced(0, StringType())
    error = failure(
        "INVALID_UTF8_STRING", "Invalid UTF8 byte sequence found in the bytes {}.", f"hex({value.sql})"
    )
    sql = f"CASE WHEN {value.sql} IS NOT NULL THEN coalesce(TRY(decode({value.sql})), {error}) END"
    return Typed(sql, StringType(), value.nullable)


@special("try_validate_utf8", least=1, most=1)
def _try_validate_utf8(call: Call) -> Typed:
    value = call.arg(0)
    if not isinstance(value.type, BinaryType):
        return call.coerced(0, StringType())
    return Typed(f"TRY(decode({value.sql}))", StringType(), True)


@special("encode", least=2, most=2)
def _encode(call: Call) -> Typed:
    text, charset = call.coerced(0, StringType()), call.coerced(1, StringType())
    if str(charset.value).upper() in ("UTF-8", "UTF8"):
        return Typed(f"encode({text.sql})", BinaryType(), text.nullable)
    return Typed(f"tm_encode({text.sql}, {charset.sql})", BinaryType(), text.nullable or charset.nullable)


@special("decode", least=2)
def _decode(call: Call) -> Typed:
    """Two arguments: bytes in a character set. More: Oracle's DECODE, a CASE."""
    if len(call) == 2:
        raw, charset = call.coerced(0, BinaryType()), call.coerced(1, StringType())
        return Typed(f"tm_decode({raw.sql}, {charset.sql})", StringType(), raw.nullable or charset.nullable)
    from tidemill.plan.operators import choose, comparable

    subject, branches = call.arg(0), []
    for n in range(1, len(call) - 1, 2):
        a, b = comparable(call.compiler, call.nodes[n], subject, call.arg(n))
        branches.append((f"{a.sql} IS NOT DISTINCT FROM {b.sql}", call.arg(n + 1)))
    # Where there is no default it is a NULL of type STRING, and so a number among the results becomes a BIGINT.
    return choose(
        call.compiler, branches, call.arg(len(call) - 1) if len(call) % 2 == 0 else null_of(StringType())
    )


# --- formatting -----------------------------------------------------------------------------------------------------


@special("format_string printf", least=1)
def _format_string(call: Call) -> Typed:
    from tidemill.kernel.functions.formats import check_format

    pattern = call.literal(0)
    kinds = []
    for index in range(1, len(call)):
        kind = call.arg(index).type
        kinds.append("l" if isinstance(kind, LongType) else "d" if isinstance(kind, IntegralType) else "f" if isinstance(kind, (FloatType, DoubleType)) else
                     "m" if isinstance(kind, DecimalType) else "b" if isinstance(kind, BooleanType) else
                     "s" if isinstance(kind, (StringType, NullType)) else "?")  # fmt: skip
    if "?" in kinds:
        raise call.mismatch("be strings, numbers or booleans")
    check_format(str(pattern), "".join(kinds))
    arguments = ", ".join(call.arg(n).sql for n in range(1, len(call)))
    return Typed(
        f"tm_format_string__{''.join(kinds)}({quote_text(str(pattern))}{', ' + arguments if arguments else ''})",
        StringType(),
        False,
    )


@special("format_number", least=2, most=2)
def _format_number(call: Call) -> Typed:
    """Digits after the point, or a pattern like ``#,###.00``."""
    value, digits = call.arg(0), call.arg(1)
    if not isinstance(value.type, (NumericType, NullType)):
        raise call.mismatch("begin with a number")
    form = call.coerced(1, StringType() if isinstance(digits.type, StringType) else IntegerType())
    name = "tm_format_pattern" if isinstance(digits.type, StringType) else "tm_format_number"
    return Typed(f"{name}({value.sql}, {form.sql})", StringType(), True)


@special("elt", least=2)
def _elt(call: Call) -> Typed:
    index = call.coerced(0, IntegerType())
    binary = all(isinstance(call.arg(n).type, BinaryType) for n in range(1, len(call)))
    kind: AtomicType = BinaryType() if binary else StringType()
    items = [call.coerced(n, kind) for n in range(1, len(call))]
    cases = " ".join(f"WHEN {n + 1} THEN {item.sql}" for n, item in enumerate(items))
    other = "NULL"
    if call.settings.ansi:
        error = failure(
            "INVALID_ARRAY_INDEX",
            f"The index {{}} is out of bounds; there are {len(items)} values.",
            index.sql,
        )
        other = f"CASE WHEN {index.sql} IS NOT NULL THEN {error} END"
    return Typed(cast_sql(f"CASE {index.sql} {cases} ELSE {other} END", kind), kind, True)
