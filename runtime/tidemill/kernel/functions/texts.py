"""Text: numbers as Java writes them, text that is no UTF-8, regular expressions that RE2 has not."""

from __future__ import annotations

import math
import re
import struct
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tidemill.kernel.functions.rows import by_row
from tidemill.kernel.macros import KernelFunction, kernel


def java_double(value: float) -> str:
    """A double as Java's Double.toString writes it, with the shortest digits that read back."""
    return _java_form(value, repr(value))


def java_float(value: float) -> str:
    """A float likewise."""
    return _java_form(value, _shortest_float(value))


def _shortest_float(value: float) -> str:
    for digits in range(1, 10):
        text = f"{value:.{digits - 1}e}"
        if struct.pack("f", float(text)) == struct.pack("f", value):
            return repr(float(text))
    return repr(value)


def _java_form(value: float, shortest: str) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return shortest if "." in shortest and "e" not in shortest else f"{value:.1f}"
    if abs(value) == 5e-324:
        return "-4.9E-324" if value < 0 else "4.9E-324"  # Java gives the least double two digits
    mantissa, _, exponent = shortest.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    shift = int(exponent or 0) + len(whole) - 1
    stripped = digits.lstrip("0")
    shift -= len(digits) - len(stripped)
    return f"{sign}{stripped[0]}.{stripped[1:] or '0'}E{shift}"


@kernel("double_text")
def _double_text() -> KernelFunction:
    return by_row(java_double, "VARCHAR", pa.string())


@kernel("float_text")
def _float_text() -> KernelFunction:
    return by_row(java_float, "VARCHAR", pa.string())


@kernel("utf8")
def _utf8() -> KernelFunction:
    return by_row(lambda b: b.decode("utf-8", "replace"), "VARCHAR", pa.string())


@lru_cache(maxsize=512)
def java_regex(pattern: str) -> re.Pattern[str]:
    """A Java regular expression as Python's; classes such as \\d mean ASCII in Java."""
    translated = re.sub(r"\(\?<([A-Za-z]\w*)>", r"(?P<\1>", pattern)
    translated = re.sub(r"\\k<(\w+)>", r"(?P=\1)", translated)
    return re.compile(translated.replace(r"\Z", r"(?=\n?\Z)").replace(r"\z", r"\Z"), re.ASCII)


@kernel("upper")
def _upper() -> KernelFunction:
    return by_row(str.upper, "VARCHAR", pa.string())


@kernel("lower")
def _lower() -> KernelFunction:
    return by_row(str.lower, "VARCHAR", pa.string())


@kernel("reverse")
def _reverse() -> KernelFunction:
    return by_row(lambda t: t[::-1], "VARCHAR", pa.string())


@kernel("initcap")
def _initcap() -> KernelFunction:
    """Words are what spaces part; the first letter is a capital, the rest are not."""

    def capital(word: str) -> str:
        return word[:1].title() + word[1:].lower()

    return by_row(lambda t: " ".join(capital(w) for w in t.split(" ")), "VARCHAR", pa.string())


def levenshtein(a: str, b: str) -> int:
    """The least number of characters to insert, delete or change."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


@kernel("levenshtein")
def _levenshtein() -> KernelFunction:
    return by_row(levenshtein, "INTEGER", pa.int32())


@kernel("levenshtein_up_to")
def _levenshtein_up_to() -> KernelFunction:
    def distance(a: str, b: str, most: int) -> int:
        found = levenshtein(a, b)
        return found if found <= most else -1

    return by_row(distance, "INTEGER", pa.int32())


_SOUNDEX = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "01230127022455012623017202", strict=True))


def soundex(text: str) -> str:
    """The code as Spark has it: 7 stands for H and W, which part nothing."""
    if not text or not (text[0].isascii() and text[0].isalpha()):
        return text
    first = text[0].upper()
    found, last = first, _SOUNDEX[first]
    for sign in text[1:]:
        if not (sign.isascii() and sign.isalpha()):
            last = "0"
            continue
        code = _SOUNDEX[sign.upper()]
        if code == "7":
            continue
        if code not in ("0", last):
            found += code
            if len(found) == 4:
                break
        last = code
    return found.ljust(4, "0")


@kernel("soundex")
def _soundex() -> KernelFunction:
    return by_row(soundex, "VARCHAR", pa.string())


@kernel("subbinary")
def _subbinary() -> KernelFunction:
    def cut(raw: bytes, start: int, size: int) -> bytes:
        begin = start - 1 if start > 0 else len(raw) + start if start < 0 else 0
        end = min(begin + size, len(raw)) if size >= 0 else begin
        return raw[max(begin, 0) : max(end, 0)] if end > max(begin, 0) else b""

    return by_row(cut, "BLOB", pa.binary())


@kernel("contains_bytes")
def _contains_bytes() -> KernelFunction:
    return by_row(lambda a, b: b in a, "BOOLEAN", pa.bool_())


@kernel("translate")
def _translate() -> KernelFunction:
    def change(text: str, signs: str, by: str) -> str:
        table: dict[str, str] = {}
        for n, sign in enumerate(signs):
            table.setdefault(sign, by[n] if n < len(by) else "")
        return "".join(table.get(c, c) for c in text)

    return by_row(change, "VARCHAR", pa.string())


def overlaid(value: Any, by: Any, at: int, size: int) -> Any:
    """Text or bytes with ``by`` laid over ``size`` places (its own length if negative) from ``at``."""
    length = size if size >= 0 else len(by)
    return (
        value[: max(at - 1, 0)] + by + value[max(at - 1 + length, 0) :]
        if at + length - 1 >= 0
        else by + value
    )


@kernel("overlay")
def _overlay() -> KernelFunction:
    return by_row(overlaid, "VARCHAR", pa.string())


@kernel("overlay_bytes")
def _overlay_bytes() -> KernelFunction:
    return by_row(overlaid, "BLOB", pa.binary())


@kernel("pad_bytes")
def _pad_bytes(side: str) -> KernelFunction:
    def padded(raw: bytes, size: int, by: bytes) -> bytes:
        size = max(size, 0)
        missing = size - len(raw)
        if missing <= 0 or not by:
            return raw[:size]
        filling = (by * (missing // len(by) + 1))[:missing]
        return filling + raw if side == "lpad" else raw + filling

    return by_row(padded, "BLOB", pa.binary())


@kernel("substring_index")
def _substring_index() -> KernelFunction:
    def part(text: str, by: str, count: int) -> str:
        if not by or count == 0:
            return ""
        parts = text.split(by)
        if count > 0:
            return by.join(parts[:count])
        # From the right, where matches may overlap otherwise.
        return by.join(_rsplit(text, by)[count:])

    return by_row(part, "VARCHAR", pa.string())


def _rsplit(text: str, by: str) -> list[str]:
    return text.rsplit(by)


@kernel("mask")
def _mask() -> KernelFunction:
    def masked(
        text: str | None, upper: str | None, lower: str | None, digit: str | None, other: str | None
    ) -> str | None:
        if text is None:
            return None

        def sign(c: str) -> str:
            by = upper if c.isupper() else lower if c.islower() else digit if c.isdigit() else other
            return c if by is None else by

        return "".join(sign(c) for c in text)

    return by_row(masked, "VARCHAR", pa.string(), null_in=True)


@kernel("quote")
def _quote() -> KernelFunction:
    return by_row(lambda t: "'" + t.replace("\\", "\\\\").replace("'", "\\'") + "'", "VARCHAR", pa.string())


@kernel("str_to_map")
def _str_to_map() -> KernelFunction:
    from tidemill.kernel.functions.regexes import split
    from tidemill.kernel.functions.rows import Refused

    def read(text: str, pair: str, key: str) -> list[tuple[str, str | None]]:
        found: dict[str, str | None] = {}
        for part in split(text, pair, -1):
            name, *rest = split(part, key, 2)
            if name in found:
                raise Refused(
                    "DUPLICATED_MAP_KEY", f"Duplicate map key {name} was found; make the keys distinct."
                )
            found[name] = rest[0] if rest else None
        return list(found.items())

    return by_row(read, "MAP(VARCHAR, VARCHAR)", pa.map_(pa.string(), pa.string()))


@kernel("unbase64")
def _unbase64() -> KernelFunction:
    import base64

    from tidemill.kernel.functions.rows import Refused

    def read(text: str) -> bytes:
        plain = re.sub(r"[^A-Za-z0-9+/]", "", text)
        if len(plain) % 4 == 1:
            raise Refused("CONVERSION_INVALID_INPUT", f"{text!r} is no base64")
        return base64.b64decode(plain + "=" * (-len(plain) % 4))

    return by_row(read, "BLOB", pa.binary())


@kernel("url_encode")
def _url_encode() -> KernelFunction:
    from urllib.parse import quote_plus

    return by_row(lambda t: quote_plus(t, safe="*").replace("~", "%7E"), "VARCHAR", pa.string())


def url_decoded(text: str) -> str | None:
    """The text behind percent signs; None if one is followed by no two digits."""
    from urllib.parse import unquote_plus

    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        return None
    return unquote_plus(text)


@kernel("url_decode")
def _url_decode() -> KernelFunction:
    from tidemill.kernel.functions.rows import Refused

    def read(text: str) -> str:
        found = url_decoded(text)
        if found is None:
            raise Refused(
                "CANNOT_DECODE_URL",
                f"{text!r} is no URL-encoded text; use `try_url_decode` for NULL instead.",
            )
        return found

    return by_row(read, "VARCHAR", pa.string())


@kernel("try_url_decode")
def _try_url_decode() -> KernelFunction:
    return by_row(url_decoded, "VARCHAR", pa.string())


_CHARSETS = {"US-ASCII": "ascii", "ISO-8859-1": "latin-1", "UTF-8": "utf-8", "UTF-16BE": "utf-16-be", "UTF-16LE": "utf-16-le",
             "UTF-16": "utf-16", "UTF-32": "utf-32-be"}  # fmt: skip


def _charset(name: str) -> str:
    from tidemill.kernel.functions.rows import Refused

    found = _CHARSETS.get(name.upper())
    if found is None:
        raise Refused("INVALID_PARAMETER_VALUE.CHARSET", f"{name!r} is not one of {', '.join(_CHARSETS)}")
    return found


@kernel("encode")
def _encode() -> KernelFunction:
    from tidemill.kernel.functions.rows import Refused

    def write(text: str, name: str) -> bytes:
        charset = _charset(name)
        try:
            if charset == "utf-16":
                return b"\xfe\xff" + text.encode("utf-16-be")
            return text.encode(charset)
        except UnicodeEncodeError:
            raise Refused("MALFORMED_CHARACTER_CODING", f"{text!r} cannot be written in {name}") from None

    return by_row(write, "BLOB", pa.binary())


@kernel("decode")
def _decode() -> KernelFunction:
    from tidemill.kernel.functions.rows import Refused

    def read(raw: bytes, name: str) -> str:
        charset = _charset(name)
        try:
            if charset == "utf-16":
                little = raw[:2] == b"\xff\xfe"
                return (
                    raw.removeprefix(b"\xfe\xff")
                    .removeprefix(b"\xff\xfe")
                    .decode("utf-16-le" if little else "utf-16-be")
                )
            return raw.decode(charset)
        except UnicodeDecodeError:
            raise Refused("MALFORMED_CHARACTER_CODING", f"0x{raw.hex()} is no text in {name}") from None

    return by_row(read, "VARCHAR", pa.string())
