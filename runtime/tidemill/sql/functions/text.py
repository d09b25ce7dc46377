"""Text and bytes."""

from __future__ import annotations

from sqlglot import exp

from tidemill.sql.column import Column, ColumnOrName, named_tree
from tidemill.sql.functions.building import call, lit, optional, value


def ascii(col: ColumnOrName) -> Column:
    """The code point of the first character."""
    return call("ascii", col)


def base64(col: ColumnOrName) -> Column:
    """Bytes in base 64."""
    return call("base64", col)


def bit_length(col: ColumnOrName) -> Column:
    """How many bits text or bytes take."""
    return call("bit_length", col)


def btrim(str: ColumnOrName, trim: ColumnOrName | None = None) -> Column:
    """The text without spaces, or the characters of ``trim``, at both ends."""
    return call("btrim", str, trim)


def char(col: ColumnOrName) -> Column:
    """The character with a code, modulo 256."""
    return call("char", col)


def char_length(str: ColumnOrName) -> Column:
    """How many characters text has, or how many bytes bytes have."""
    return call("char_length", str)


def character_length(str: ColumnOrName) -> Column:
    """How many characters text has, or how many bytes bytes have."""
    return call("character_length", str)


def chr(n: ColumnOrName) -> Column:
    """The character with a code, modulo 256."""
    return call("chr", n)


def concat(*cols: ColumnOrName) -> Column:
    """Texts, bytes or arrays one after the other; null if any is."""
    return call("concat", *cols)


def concat_ws(sep: str, *cols: ColumnOrName) -> Column:
    """Texts, or the texts of arrays, with ``sep`` between them; nulls are left out."""
    return call("concat_ws", lit(sep), *cols)


def contains(left: ColumnOrName, right: ColumnOrName) -> Column:
    """Whether ``right`` is found in ``left``."""
    return call("contains", left, right)


def decode(col: ColumnOrName, charset: str) -> Column:
    """Text from bytes in a character set."""
    return call("decode", col, lit(charset))


def elt(*inputs: ColumnOrName) -> Column:
    """The text at the 1-based position that the first argument gives."""
    return call("elt", *inputs)


def encode(col: ColumnOrName, charset: str) -> Column:
    """The bytes of text in a character set."""
    return call("encode", col, lit(charset))


def endswith(str: ColumnOrName, suffix: ColumnOrName) -> Column:
    """Whether text ends with ``suffix``."""
    return call("endswith", str, suffix)


def find_in_set(str: ColumnOrName, str_array: ColumnOrName) -> Column:
    """The 1-based position of text in a comma-separated list; 0 if it is not there."""
    return call("find_in_set", str, str_array)


def format_number(col: ColumnOrName, d: int) -> Column:
    """A number with commas between thousands and ``d`` decimals."""
    return call("format_number", col, lit(d))


def format_string(format: str, *cols: ColumnOrName) -> Column:
    """Values put into a printf-style format."""
    return call("format_string", lit(format), *cols)


def initcap(col: ColumnOrName) -> Column:
    """Each word with a capital first letter, the rest small."""
    return call("initcap", col)


def instr(
    str: ColumnOrName,
    substr: Column | str,
    start: Column | int | None = None,
    occurrence: Column | int | None = None,
) -> Column:
    """The 1-based position of ``substr``; 0 if it is not there."""
    return call("instr", str, lit(substr), optional(start), optional(occurrence))


def is_valid_utf8(str: ColumnOrName) -> Column:
    """Whether text is well-formed UTF-8."""
    return call("is_valid_utf8", str)


def lcase(str: ColumnOrName) -> Column:
    """Text in small letters."""
    return call("lcase", str)


def left(str: ColumnOrName, len: ColumnOrName) -> Column:
    """The leftmost ``len`` characters."""
    return call("left", str, len)


def length(col: ColumnOrName) -> Column:
    """How many characters text has, or how many bytes bytes have."""
    return call("length", col)


def levenshtein(left: ColumnOrName, right: ColumnOrName, threshold: int | None = None) -> Column:
    """The edit distance between two texts, or -1 where it is above ``threshold``."""
    return call("levenshtein", left, right, optional(threshold))


def locate(substr: str, str: ColumnOrName, pos: int = 1) -> Column:
    """The 1-based position of ``substr`` at or after ``pos``; 0 if it is not there."""
    return call("locate", lit(substr), str, lit(pos))


def lower(col: ColumnOrName) -> Column:
    """Text in small letters."""
    return call("lower", col)


def lpad(col: ColumnOrName, len: Column | int, pad: Column | str) -> Column:
    """The text filled up at the left with ``pad`` to ``len``, or cut to it."""
    return call("lpad", col, lit(len), lit(pad))


def ltrim(col: ColumnOrName, trim: ColumnOrName | None = None) -> Column:
    """The text without spaces, or the characters of ``trim``, at its left end."""
    return call("ltrim", col) if trim is None else call("ltrim", trim, col)


def make_valid_utf8(str: ColumnOrName) -> Column:
    """Text with what is not well-formed UTF-8 replaced."""
    return call("make_valid_utf8", str)


def mask(
    col: ColumnOrName,
    upperChar: ColumnOrName | None = None,
    lowerChar: ColumnOrName | None = None,
    digitChar: ColumnOrName | None = None,
    otherChar: ColumnOrName | None = None,
) -> Column:
    """The text with letters and digits masked, to show its shape and not its content."""
    return call("mask", col, upperChar, lowerChar, digitChar, otherChar)


def octet_length(col: ColumnOrName) -> Column:
    """How many bytes text or bytes take."""
    return call("octet_length", col)


def overlay(
    src: ColumnOrName, replace: ColumnOrName, pos: ColumnOrName | int, len: ColumnOrName | int = -1
) -> Column:
    """``src`` with ``len`` characters from ``pos`` replaced; as many as ``replace`` has by default."""
    return call("overlay", src, replace, value(pos), value(len))


def position(substr: ColumnOrName, str: ColumnOrName, start: ColumnOrName | None = None) -> Column:
    """The 1-based position of ``substr`` at or after ``start``; 0 if it is not there."""
    return call("position", substr, str, start)


def printf(format: ColumnOrName, *cols: ColumnOrName) -> Column:
    """Values put into a printf-style format."""
    return call("printf", format, *cols)


def quote(col: ColumnOrName) -> Column:
    """Text in single quotes, those inside escaped."""
    return call("quote", col)


def regexp(str: ColumnOrName, regexp: ColumnOrName) -> Column:
    """Whether a regular expression is found in text."""
    return call("regexp", str, regexp)


def regexp_count(str: ColumnOrName, regexp: ColumnOrName) -> Column:
    """How often a regular expression is found in text."""
    return call("regexp_count", str, regexp)


def regexp_extract(str: ColumnOrName, pattern: str, idx: int) -> Column:
    """The group ``idx`` of the first match; empty where there is none."""
    return call("regexp_extract", str, lit(pattern), lit(idx))


def regexp_extract_all(str: ColumnOrName, regexp: ColumnOrName, idx: Column | int | None = None) -> Column:
    """The group ``idx`` (1 by default) of every match."""
    return call("regexp_extract_all", str, regexp, optional(idx))


def regexp_instr(str: ColumnOrName, regexp: ColumnOrName, idx: Column | int | None = None) -> Column:
    """The 1-based position of the first match; 0 where there is none."""
    return call("regexp_instr", str, regexp, optional(idx))


def regexp_like(str: ColumnOrName, regexp: ColumnOrName) -> Column:
    """Whether a regular expression is found in text."""
    return call("regexp_like", str, regexp)


def regexp_replace(
    string: ColumnOrName,
    pattern: str | Column,
    replacement: str | Column,
    position: Column | int | None = None,
) -> Column:
    """Text with every match replaced; ``$1`` stands for a group."""
    return call("regexp_replace", string, lit(pattern), lit(replacement), optional(position))


def regexp_substr(str: ColumnOrName, regexp: ColumnOrName) -> Column:
    """The first match; null where there is none."""
    return call("regexp_substr", str, regexp)


def repeat(col: ColumnOrName, n: ColumnOrName | int) -> Column:
    """Text ``n`` times over."""
    return call("repeat", col, value(n))


def replace(src: ColumnOrName, search: ColumnOrName, replace: ColumnOrName | None = None) -> Column:
    """Text with every ``search`` replaced, or removed."""
    return call("replace", src, search, replace)


def reverse(col: ColumnOrName) -> Column:
    """Text, or an array, back to front."""
    return call("reverse", col)


def right(str: ColumnOrName, len: ColumnOrName) -> Column:
    """The rightmost ``len`` characters."""
    return call("right", str, len)


def rlike(str: ColumnOrName, regexp: ColumnOrName) -> Column:
    """Whether a regular expression is found in text."""
    return call("rlike", str, regexp)


def rpad(col: ColumnOrName, len: Column | int, pad: Column | str) -> Column:
    """The text filled up at the right with ``pad`` to ``len``, or cut to it."""
    return call("rpad", col, lit(len), lit(pad))


def rtrim(col: ColumnOrName, trim: ColumnOrName | None = None) -> Column:
    """The text without spaces, or the characters of ``trim``, at its right end."""
    return call("rtrim", col) if trim is None else call("rtrim", trim, col)


def soundex(col: ColumnOrName) -> Column:
    """The Soundex code of text."""
    return call("soundex", col)


def split(str: ColumnOrName, pattern: Column | str, limit: ColumnOrName | int = -1) -> Column:
    """Text cut at a regular expression, into ``limit`` parts at most if it is positive."""
    return call("split", str, lit(pattern), value(limit))


def split_part(src: ColumnOrName, delimiter: ColumnOrName, partNum: ColumnOrName) -> Column:
    """The part of text at a 1-based position between delimiters; negative ones count from the end."""
    return call("split_part", src, delimiter, partNum)


def startswith(str: ColumnOrName, prefix: ColumnOrName) -> Column:
    """Whether text starts with ``prefix``."""
    return call("startswith", str, prefix)


def substr(str: ColumnOrName, pos: ColumnOrName, len: ColumnOrName | None = None) -> Column:
    """Text from the 1-based ``pos``, ``len`` characters or to the end."""
    return call("substr", str, pos, len)


def substring(str: ColumnOrName, pos: ColumnOrName | int, len: ColumnOrName | int) -> Column:
    """``len`` characters from the 1-based ``pos``."""
    return call("substring", str, value(pos), value(len))


def substring_index(str: ColumnOrName, delim: str, count: int) -> Column:
    """Text before the ``count``-th delimiter; after it, counted from the right, if negative."""
    return call("substring_index", str, lit(delim), lit(count))


def to_binary(col: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """Bytes from text in ``hex``, ``utf-8`` or ``base64``."""
    return call("to_binary", col, format)


def translate(srcCol: ColumnOrName, matching: str, replace: str) -> Column:
    """Text with each character of ``matching`` replaced by the one at its place in ``replace``."""
    return call("translate", srcCol, lit(matching), lit(replace))


def trim(col: ColumnOrName, trim: ColumnOrName | None = None) -> Column:
    """The text without spaces, or the characters of ``trim``, at both ends."""
    return call("trim", col) if trim is None else call("trim", trim, col)


def try_to_binary(col: ColumnOrName, format: ColumnOrName | None = None) -> Column:
    """Bytes from text, or null where it does not fit the format."""
    return call("try_to_binary", col, format)


def try_validate_utf8(str: ColumnOrName) -> Column:
    """Text, or null if it is not well-formed UTF-8."""
    return call("try_validate_utf8", str)


def ucase(str: ColumnOrName) -> Column:
    """Text in capital letters."""
    return call("ucase", str)


def unbase64(col: ColumnOrName) -> Column:
    """The bytes of base 64."""
    return call("unbase64", col)


def upper(col: ColumnOrName) -> Column:
    """Text in capital letters."""
    return call("upper", col)


def url_decode(str: ColumnOrName) -> Column:
    """Text from its URL-encoded form."""
    return call("url_decode", str)


def try_url_decode(str: ColumnOrName) -> Column:
    """Text from its URL-encoded form, or null where it is malformed."""
    return call("try_url_decode", str)


def url_encode(str: ColumnOrName) -> Column:
    """Text in URL-encoded form."""
    return call("url_encode", str)


def parse_url(url: ColumnOrName, partToExtract: ColumnOrName, key: ColumnOrName | None = None) -> Column:
    """A part of a URL: HOST, PATH, QUERY (or one ``key`` of it), REF, PROTOCOL, FILE, AUTHORITY or USERINFO."""
    return call("parse_url", url, partToExtract, key)


def try_parse_url(url: ColumnOrName, partToExtract: ColumnOrName, key: ColumnOrName | None = None) -> Column:
    """A part of a URL, or null where it is malformed."""
    return call("try_parse_url", url, partToExtract, key)


def like(str: ColumnOrName, pattern: ColumnOrName, escapeChar: Column | None = None) -> Column:
    """SQL's LIKE: ``%`` is any text, ``_`` any character; ``escapeChar`` takes their meaning away."""
    return _matching(exp.Like, str, pattern, escapeChar)


def ilike(str: ColumnOrName, pattern: ColumnOrName, escapeChar: Column | None = None) -> Column:
    """LIKE without regard to case."""
    return _matching(exp.ILike, str, pattern, escapeChar)


def _matching(
    kind: type[exp.Expression], text: ColumnOrName, pattern: ColumnOrName, escape: Column | None
) -> Column:
    """LIKE as SQL's parser makes it."""
    made = kind(this=named_tree(text), expression=named_tree(pattern))
    return Column(made if escape is None else exp.Escape(this=made, expression=named_tree(escape)))


def validate_utf8(str: ColumnOrName) -> Column:
    """Text; an error if it is not well-formed UTF-8."""
    return call("validate_utf8", str)


__all__ = [
    "ascii",
    "base64",
    "bit_length",
    "btrim",
    "char",
    "char_length",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "contains",
    "decode",
    "elt",
    "encode",
    "endswith",
    "find_in_set",
    "format_number",
    "format_string",
    "ilike",
    "initcap",
    "instr",
    "is_valid_utf8",
    "lcase",
    "left",
    "length",
    "levenshtein",
    "like",
    "locate",
    "lower",
    "lpad",
    "ltrim",
    "make_valid_utf8",
    "mask",
    "octet_length",
    "overlay",
    "parse_url",
    "position",
    "printf",
    "quote",
    "regexp",
    "regexp_count",
    "regexp_extract",
    "regexp_extract_all",
    "regexp_instr",
    "regexp_like",
    "regexp_replace",
    "regexp_substr",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rlike",
    "rpad",
    "rtrim",
    "soundex",
    "split",
    "split_part",
    "startswith",
    "substr",
    "substring",
    "substring_index",
    "to_binary",
    "translate",
    "trim",
    "try_parse_url",
    "try_to_binary",
    "try_url_decode",
    "try_validate_utf8",
    "ucase",
    "unbase64",
    "upper",
    "url_decode",
    "url_encode",
    "validate_utf8",
]
