"""The session, the engine, URLs, errors on purpose, and what the plan itself resolves."""

from __future__ import annotations

from tidemill.plan.functions.registry import Call, Function, add, define, special
from tidemill.plan.typed import Typed, failure
from tidemill.types import BinaryType, IntegerType, LongType, NullType, StringType

# --- the session ----------------------------------------------------------------------------------------------------


@special("current_user user session_user", most=0)
def _current_user(call: Call) -> Typed:
    import getpass

    return Typed("'" + getpass.getuser().replace("'", "''") + "'", StringType(), False)


@special("version", most=0)
def _version(call: Call) -> Typed:
    """The Spark release whose answers these are."""
    return Typed("'4.3.0 tidemill'", StringType(), False, "4.3.0 tidemill")


define("current_catalog", "-> string", "'spark_catalog'")
define("current_database current_schema", "-> string", "'default'")


@special("spark_partition_id", most=0, deterministic=False)
def _partition_id(call: Call) -> Typed:
    return Typed("CAST(0 AS INTEGER)", IntegerType(), False)


@special("monotonically_increasing_id", most=0, deterministic=False)
def _increasing_id(call: Call) -> Typed:
    return Typed("(row_number() OVER () - 1)", LongType(), False)


@special("uuid", most=0, deterministic=False)
def _uuid(call: Call) -> Typed:
    return Typed("CAST(uuid() AS VARCHAR)", StringType(), False)


# --- errors ---------------------------------------------------------------------------------------------------------


@special("assert_true", least=1, most=2)
def _assert_true(call: Call) -> Typed:
    condition = call.compiler.boolean(call.nodes[0])
    text = (
        call.coerced(1, StringType()).sql
        if len(call) == 2
        else f"'''{call.nodes[0].sql('spark').replace(chr(39), chr(39) * 2)}'' is not true!'"
    )
    error = failure("USER_RAISED_EXCEPTION", "{}", text)
    return Typed(f"CASE WHEN NOT coalesce({condition.sql}, false) THEN {error} END", NullType(), True)


@special("raise_error", least=1, most=1)
def _raise_error(call: Call) -> Typed:
    return Typed(failure("USER_RAISED_EXCEPTION", "{}", call.coerced(0, StringType()).sql), NullType(), True)


# --- URLs and bytes -------------------------------------------------------------------------------------------------


@special("parse_url try_parse_url", least=2, most=3)
def _parse_url(call: Call) -> Typed:
    url, part = call.coerced(0, StringType()), call.coerced(1, StringType())
    key = call.coerced(2, StringType()).sql if len(call) == 3 else "''"
    mode = "strict" if call.settings.ansi and call.name == "parse_url" else "lenient"
    return Typed(f"tm_parse_url__{mode}({url.sql}, {part.sql}, {key})", StringType(), True)


@special("to_binary try_to_binary", least=1, most=2)
def _to_binary(call: Call) -> Typed:
    text = call.coerced(0, StringType())
    form = call.coerced(1, StringType()).sql if len(call) == 2 else "'hex'"
    mode = "lenient" if call.name.startswith("try") else "strict"
    return Typed(f"tm_to_binary__{mode}({text.sql}, {form})", BinaryType(), True)


# --- resolved by the plan -------------------------------------------------------------------------------------------

for _name in (
    "explode",
    "explode_outer",
    "posexplode",
    "posexplode_outer",
    "inline",
    "inline_outer",
    "stack",
):
    add(Function(_name, "generator"))
for _name in ("window", "session_window", "window_time", "grouping", "grouping_id"):
    add(Function(_name, "planned"))
