"""Fields of separated values (CSV), as Spark's parser cuts them."""

from __future__ import annotations

import csv as python_csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import SourceError
from tidemill.kernel.records import Bad, TextRules, text_value
from tidemill.types import StringType, StructType

_ESCAPES = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\", "\\0": "\0", "\\u0000": "\0"}
python_csv.field_size_limit(1 << 30)


@dataclass(frozen=True)
class CsvLayout:
    """How fields are written; ``quote`` and ``comment`` may be empty: there is none."""

    sep: str = ","
    quote: str = '"'
    escape: str = "\\"
    comment: str = ""
    null: str = ""
    empty: str = ""
    header: bool = False
    multi_line: bool = False
    trim_left: bool = False
    trim_right: bool = False


def csv_layout(options: Mapping[str, str]) -> CsvLayout:
    """The layout by Spark's options; `SourceError` where one is not a single character."""
    given = {k.lower(): v for k, v in options.items()}

    def mark(name: str, default: str) -> str:
        value = given.get(name, default)
        value = _ESCAPES.get(value, value)
        if len(value) > 1:
            raise SourceError(f"option {name!r}: {value!r} is not a single character")
        return "" if value == "\0" else value

    def flag(name: str) -> bool:
        return str(given.get(name, "false")).lower() == "true"

    sep = given.get("sep", given.get("delimiter", ","))
    return CsvLayout(
        sep=_ESCAPES.get(sep, sep),
        quote=mark("quote", '"'),
        escape=mark("escape", "\\"),
        comment=mark("comment", ""),
        null=given.get("nullvalue", ""),
        empty=given.get("emptyvalue", ""),
        header=flag("header"),
        multi_line=flag("multiline"),
        trim_left=flag("ignoreleadingwhitespace"),
        trim_right=flag("ignoretrailingwhitespace"),
    )


def split(texts: pa.Array, count: int, layout: CsvLayout) -> tuple[list[pa.Array], np.ndarray | None]:
    """Records as ``count`` columns of text, and marks of the records that a plain cut at separators may get wrong:
    those with quotes, escapes or another number of fields."""
    strange = pc.is_null(texts)
    for character in {layout.quote, layout.escape} - {""}:
        strange = pc.or_(strange, pc.fill_null(pc.match_substring(texts, character), False))
    counts = pc.add(pc.count_substring(texts, layout.sep), 1)
    strange = pc.or_(strange, pc.fill_null(pc.not_equal(counts, count), True))
    plain = pc.if_else(strange, pa.scalar(layout.sep * (count - 1)), texts)
    cut = pc.split_pattern(plain, layout.sep)
    flat, width = cut.flatten(), count
    columns = []
    for i in range(count):
        column = flat.take(pa.array(np.arange(i, len(flat), width))) if width > 1 else flat
        columns.append(_cleaned(column, layout))
    marks = pc.and_(strange, pc.is_valid(texts))
    return columns, np.asarray(marks) if pc.any(marks).as_py() else None


def _cleaned(column: pa.Array, layout: CsvLayout) -> pa.Array:
    if layout.trim_left:
        column = pc.utf8_ltrim_whitespace(column)
    if layout.trim_right:
        column = pc.utf8_rtrim_whitespace(column)
    null = pc.or_(pc.equal(column, layout.null), pc.equal(column, ""))
    return pc.if_else(null, pa.scalar(None, pa.string()), column)


@dataclass
class Cell:
    text: str
    quoted: bool = False


def cut(text: str, layout: CsvLayout) -> list[Cell] | Bad:
    """The fields of one record.

    A quote counts at the beginning of a field only; inside, the escape character makes a quote or itself plain.
    """
    cells: list[Cell] = []
    at = 0
    while True:
        cell, at = _cell(text, at, layout)
        if isinstance(cell, Bad):
            return cell
        cells.append(cell)
        if at >= len(text):
            return cells
        at += len(layout.sep)
        if at == len(text):
            return [*cells, Cell("")]


def _cell(text: str, at: int, layout: CsvLayout) -> tuple[Cell | Bad, int]:
    begin = at
    if layout.trim_left:
        while at < len(text) and text[at] in " \t" and not text.startswith(layout.sep, at):
            at += 1
    if layout.quote and text.startswith(layout.quote, at):
        return _quoted(text, at + 1, layout)
    end = text.find(layout.sep, at)
    end = len(text) if end < 0 else end
    plain = text[at if layout.trim_left else begin : end]
    return Cell(plain.rstrip() if layout.trim_right else plain), end


def _quoted(text: str, at: int, layout: CsvLayout) -> tuple[Cell | Bad, int]:
    """A field whose opening quote ends before ``at``; one whose closing quote is followed by text is taken raw."""
    out = []
    begin = at - 1
    while at < len(text):
        one, after = text[at], text[at + 1 : at + 2]
        if layout.escape and one == layout.escape and after and after in (layout.quote, layout.escape):
            out.append(after)
            at += 2
        elif one != layout.quote:
            out.append(one)
            at += 1
        elif not after or text.startswith(layout.sep, at + 1):
            return Cell("".join(out), True), at + 1
        elif not text[at + 1 :].partition(layout.sep)[0].strip():
            end = text.find(layout.sep, at)
            return Cell("".join(out), True), len(text) if end < 0 else end
        else:
            end = text.find(layout.sep, at)
            end = len(text) if end < 0 else end
            return Cell(text[begin:end]), end
    return Bad("a quoted field does not end"), at


def csv_record(
    text: str, schema: StructType, rules: TextRules, layout: CsvLayout
) -> tuple[dict[str, Any], str | None]:
    """The row of one record, nulls where a field is missing or does not fit, and the reasons (None: all fit)."""
    cells = cut(text, layout)
    if isinstance(cells, Bad):
        return dict.fromkeys(schema.names), cells.reason
    row: dict[str, Any] = {}
    reasons = []
    if len(cells) != len(schema):
        reasons.append(f"{len(cells)} fields where the schema has {len(schema)}")
    for i, f in enumerate(schema.fields):
        row[f.name] = None
        got = _value(cells[i], f.dataType, rules, layout) if i < len(cells) else None
        if isinstance(got, Bad):
            reasons.append(f"column {f.name!r}: {cells[i].text!r} is not {got.reason}")
        else:
            row[f.name] = got
    return row, "; ".join(reasons) or None


def _value(cell: Cell, kind: Any, rules: TextRules, layout: CsvLayout) -> Any:
    """As Spark: an empty field is null, a quoted empty one is ``emptyValue``, and what equals ``nullValue`` is null."""
    if not cell.text and not cell.quoted:
        return None
    text = cell.text or layout.empty
    if text == layout.null or (not text and not isinstance(kind, StringType)):
        return None
    return text_value(text, kind, rules)


def records(text: str, layout: CsvLayout) -> Iterator[tuple[int, str]]:
    """Records and the line each begins at (from 1); with ``multi_line`` a quoted field may hold line ends."""
    line = 1
    held, begin = "", 1
    for piece in text.splitlines(keepends=True) if text else ():
        held, begin = (held + piece, begin) if held else (piece, line)
        line += 1
        if layout.multi_line and layout.quote and isinstance(cut(held.rstrip("\r\n"), layout), Bad):
            continue
        yield begin, held.rstrip("\r\n")
        held = ""
    if held:
        yield begin, held.rstrip("\r\n")
