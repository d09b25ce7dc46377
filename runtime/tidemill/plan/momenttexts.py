"""Times in the forms that programs write, read by DuckDB: the value of a text, and whether Spark may read it otherwise.

The forms are Spark's own without its liberties: ``2024-01-02``, ``2024-01-02 03:04[:05[.678]]`` with a blank or a T, and
for instants ``Z`` or ``+01:00`` behind. All else is in doubt, and a kernel function's to read.
"""

from __future__ import annotations

from tidemill.plan.rendering import from_local
from tidemill.plan.typed import Settings

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MINUTES = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_SECONDS = r":[0-5][0-9](\.[0-9]{1,6})?"
_OFFSET = r"(Z|[+-](0[0-9]|1[0-7]):[0-5][0-9])"

LOCAL = rf"{_DAY}([ T]{_MINUTES}({_SECONDS})?)?"
INSTANT = rf"{_DAY}([ T]{_MINUTES}({_SECONDS}{_OFFSET}?)?)?"


def date_value(t: str) -> str:
    return f"TRY_CAST({t} AS DATE)"


def local_value(t: str) -> str:
    return f"TRY_CAST({t} AS TIMESTAMP)"


def instant_value(t: str, settings: Settings) -> str:
    """The instant of a text without doubt. DuckDB's TIMESTAMP leaves an offset unread, its TIMESTAMPTZ heeds it."""
    naive = local_value(t)
    zoned = f"(strlen({t}) > 16 AND {t}[-6] IN ('+', '-')"
    if not settings.utc:
        zoned += f" OR {t}[-1] = 'Z'"
    return f"CASE WHEN {zoned}) THEN CAST(TRY_CAST({t} AS TIMESTAMPTZ) AS TIMESTAMP) ELSE {from_local(naive, settings)} END"


def date_doubt(t: str) -> str:
    """True where the text is there and DuckDB may not read it as Spark does."""
    canonical = f"CAST({date_value(t)} AS VARCHAR) IS NOT DISTINCT FROM {t} AND strlen({t}) = 10"
    return f"CASE WHEN {canonical} THEN false ELSE {t} IS NOT NULL END"


def local_doubt(t: str) -> str:
    return _doubt(t, LOCAL, local_value(t))


def instant_doubt(t: str) -> str:
    zoned = f"TRY_CAST({t} AS TIMESTAMPTZ)"
    return f"CASE WHEN {_in_utc(t)} THEN false ELSE {_doubt(t, INSTANT, zoned)} END"


def _in_utc(t: str) -> str:
    """True for most texts like ``2024-01-02T03:04:05.678Z``, at half the cost of the expression for their form.

    DuckDB takes fewer digits than a field may have, and blanks around; but not in so many bytes that begin with a digit
    and end in Z.
    """
    forms = {20: "%Y-%m-%dT%H:%M:%SZ", 24: "%Y-%m-%dT%H:%M:%S.%gZ", 27: "%Y-%m-%dT%H:%M:%S.%fZ"}
    cases = " ".join(f"WHEN {n} THEN try_strptime({t}, '{form}')" for n, form in forms.items())
    return f"CASE strlen({t}) {cases} END IS NOT NULL AND ascii({t}) BETWEEN 48 AND 57 AND suffix({t}, 'Z')"


def _doubt(t: str, form: str, value: str) -> str:
    # Most texts are written as DuckDB would write them, which is cheaper to see than the form.
    canonical = f"CAST({local_value(t)} AS VARCHAR) IS NOT DISTINCT FROM {t} AND strlen({t}) > 18"  # 'infinity' is not
    strange = f"{t} IS NOT NULL AND (NOT regexp_full_match({t}, '{form}') OR {value} IS NULL)"
    return f"CASE WHEN {canonical} THEN false ELSE {strange} END"


# --- writing --------------------------------------------------------------------------------------------------------


def date_text(x: str) -> str:
    """A date as Spark writes it: years beyond 9999 with a sign, and none before Christ."""
    return _text(x, "DATE '0001-01-01' AND DATE '9999-12-31'", f"CAST({x} AS DATE)", "''")


def local_text(x: str) -> str:
    """A reading of the clock as Spark writes it."""
    day = f"CAST({x} AS DATE)"
    clock = f"CAST(CAST({x} AS TIME) AS VARCHAR)"
    return _text(
        x, "TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'", day, f"' ' || {clock}"
    )


def _text(x: str, usual: str, day: str, rest: str) -> str:
    sign = f"CASE WHEN year({x}) > 9999 THEN '+' WHEN year({x}) < 0 THEN '-' ELSE '' END"
    strange = f"{sign} || printf('%04d', abs(year({x}))) || strftime({day}, '-%m-%d') || {rest}"
    return f"CASE WHEN {x} BETWEEN {usual} THEN CAST({x} AS VARCHAR) ELSE {strange} END"
