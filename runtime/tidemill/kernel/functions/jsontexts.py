"""JSON text as Jackson reads it for Spark: lenient about quotes and the end, and numbers kept as they are written."""

from __future__ import annotations

import json
import re
from typing import Any

from tidemill.kernel.functions.texts import java_double


class Number(str):
    """A JSON number as it was written; also NaN and the infinities, which Spark takes for numbers."""

    __slots__ = ()

    @property
    def is_whole(self) -> bool:
        return re.fullmatch(r"-?\d+", self) is not None


class _Sign:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


MALFORMED = _Sign("MALFORMED")
"""The text is not JSON."""
NOTHING = _Sign("NOTHING")
"""The text is empty or blank, and so holds no value at all."""

_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number)
_FIRST = json.JSONDecoder(
    parse_int=Number,
    parse_float=Number,
    parse_constant=lambda name: float(f"no {name}"),
    object_pairs_hook=lambda pairs: _firsts(pairs),
)
_BLANK = " \t\r\n"
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^"']+|.""", re.S)


def _firsts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of fields of one name the first that is not null, as a search finds it."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if found.get(name) is None:
            found[name] = value
    return found


def parse(text: str, first: bool = False) -> Any:
    """The first value of a text; what follows it is not looked at. `MALFORMED` or `NOTHING` if there is none.

    Of fields of one name the last counts, or the ``first``.
    """
    decoder = _FIRST if first else _DECODER
    stripped = text.lstrip(_BLANK)
    if not stripped:
        return NOTHING
    try:
        return decoder.raw_decode(stripped)[0]
    except RecursionError:
        return MALFORMED
    except ValueError:
        pass
    if "'" not in stripped:
        return MALFORMED
    try:
        return decoder.raw_decode(_TOKEN.sub(_double_quoted, stripped))[0]
    except (ValueError, RecursionError):
        return MALFORMED


def _double_quoted(found: re.Match[str]) -> str:
    token = found.group()
    if len(token) < 2 or token[0] != "'":
        return token
    inner = token[1:-1].replace("\\'", "'")
    return '"' + re.sub(r'(?<!\\)"', '\\"', inner) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


def java_text(text: str) -> str:
    """A string in JSON as Jackson writes it.

    >>> java_text('a"b')
    '"a\\\\"b"'
    """
    return '"' + _ESCAPED.sub(lambda m: _ESCAPES.get(m.group(), f"\\u{ord(m.group()):04X}"), text) + '"'


def java_number(number: Number) -> str:
    """A number copied by Jackson: whole ones as they are, others by way of a double, those that are none quoted."""
    if number.is_whole:
        return str(int(number))
    value = float(number)
    if value != value or value in (float("inf"), float("-inf")):
        return f'"{java_double(value)}"'
    return java_double(value)


def compact(value: Any) -> str:
    """A parsed value as text again, without blanks."""
    if isinstance(value, Number):
        return java_number(value)
    if isinstance(value, str):
        return java_text(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{java_text(k)}:{compact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return "null" if value is None else "true" if value else "false"


def plain(value: Any) -> str:
    """A parsed value as a string column holds it: strings without quotes, anything else as compact JSON."""
    if isinstance(value, str) and not isinstance(value, Number):
        # As in Java, half of a surrogate pair becomes a question mark.
        return value.encode(errors="replace").decode()
    return compact(value).encode(errors="replace").decode()


def outermost(text: str) -> list[str] | None:
    """The keys of the outermost object; None if the text is no object."""
    value = parse(text)
    return list(value) if isinstance(value, dict) else None
