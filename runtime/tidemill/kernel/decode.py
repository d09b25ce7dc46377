"""Records of bytes into typed rows, one row for each record, with the reason beside each that does not fit.

A batch is decoded all at once (`tidemill.kernel.tokens`); only records that this could not vouch for are looked at one
by one (`tidemill.kernel.records`), so that a few bad ones among many cost little.

What is bad: text that is not UTF-8 or not of the format, an empty record (but for text), a value of the wrong type or
out of range, in which case the row holds the other values. What is not: a null record, which gives a row of nulls (a
Kafka tombstone has a key worth keeping), a field that is missing or null, and fields that the schema does not name.
"""

from __future__ import annotations

import functools
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.errors import SourceError, did_you_mean
from tidemill.kernel import fields, tokens
from tidemill.kernel.moments import strptime_format, zone
from tidemill.kernel.records import TextRules, json_record
from tidemill.types import DecimalType, StringType, StructType, to_arrow, to_arrow_schema

FORMATS = ("json", "csv", "avro", "text")

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "json": ("timeZone", "dateFormat", "timestampFormat", "timestampNTZFormat"),
    "csv": ("timeZone", "dateFormat", "timestampFormat", "timestampNTZFormat", "sep", "delimiter", "quote", "escape",
            "nullValue", "emptyValue", "nanValue", "positiveInf", "negativeInf", "ignoreLeadingWhiteSpace",
            "ignoreTrailingWhiteSpace"),
    "avro": ("avroSchema", "confluent"),
    "text": (),
}  # fmt: skip
IGNORED = ("locale", "mode", "columnNameOfCorruptRecord", "charToEscapeQuoteEscaping", "unescapedQuoteHandling",
           "maxColumns", "maxCharsPerColumn", "encoding", "charset", "lineSep")  # fmt: skip


MAX_BYTES = 1 << 30
"""Records that are decoded at once."""


@dataclass(frozen=True)
class Decoded:
    """``table`` has one row per record, in order; ``bad`` the places of the bad ones, ascending, ``reasons`` why."""

    table: pa.Table
    bad: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    reasons: list[str] = field(default_factory=list)


class Decoder(ABC):
    """Decodes records of one format into rows of ``schema``. Safe to use from several threads."""

    def __init__(self, schema: StructType, rules: TextRules) -> None:
        self.schema = schema
        self.arrow = to_arrow_schema(schema)
        self.rules = rules

    def decode(self, records: pa.Array | pa.ChunkedArray) -> Decoded:
        """Decode a column of binary or string records."""
        parts = [self._chunk(chunk) for chunk in _together(records) if len(chunk)]
        return joined(parts, self.arrow)

    def _chunk(self, records: pa.Array) -> Decoded:
        texts, marks = as_text(records)
        table, more = self.fast(texts)
        again = _either(marks, more)
        if again is None or not again.any():
            return Decoded(table)
        return self._second_look(records, table, np.flatnonzero(again))

    @abstractmethod
    def fast(self, texts: pa.Array) -> tuple[pa.Table, np.ndarray | None]:
        """Rows of all texts, and marks of those to be looked at again (None: no marks)."""

    @abstractmethod
    def record(self, raw: bytes) -> tuple[dict[str, Any], str | None]:
        """One record's row, and why it is bad (None: it is good)."""

    def _second_look(self, records: pa.Array, table: pa.Table, places: np.ndarray) -> Decoded:
        rows, bad, reasons = [], [], []
        for place, raw in zip(places.tolist(), records.take(pa.array(places)).to_pylist(), strict=True):
            row, reason = self.record(raw.encode() if isinstance(raw, str) else raw)
            rows.append(row)
            if reason is not None:
                bad.append(place)
                reasons.append(reason)
        return Decoded(self._patched(table, places, rows), np.array(bad, np.int64), reasons)

    def _patched(self, table: pa.Table, places: np.ndarray, rows: list[dict[str, Any]]) -> pa.Table:
        """The table with the rows at ``places`` replaced."""
        fresh = pa.table(
            [pa.array([r[f.name] for r in rows], to_arrow(f.dataType)) for f in self.schema.fields],
            schema=self.arrow,
        )
        order = np.arange(table.num_rows)
        order[places] = table.num_rows + np.arange(len(places))
        return pa.concat_tables([table, fresh]).take(pa.array(order))


def _together(records: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    """Few large chunks in place of many small ones: a query over some thousand records costs more to plan than to run.

    Copying bytes is cheap beside parsing them, but a binary array holds 2 GB at most.
    """
    if not isinstance(records, pa.ChunkedArray):
        return [records]
    if records.num_chunks > 1 and records.nbytes < MAX_BYTES:
        whole = records.combine_chunks()
        return whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    return list(records.chunks)


def joined(parts: Sequence[Decoded], arrow: pa.Schema) -> Decoded:
    """Decoded chunks as one."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(p.table.num_rows for p in parts)])
    bad = [p.bad + start for p, start in zip(parts, starts, strict=False)]
    return Decoded(
        pa.concat_tables([arrow.empty_table(), *(p.table for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *bad]),
        [r for p in parts for r in p.reasons],
    )


def as_text(records: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Binary records as strings; those that are not UTF-8 become null and are marked."""
    if not pa.types.is_binary(records.type) and not pa.types.is_large_binary(records.type):
        return records, None
    try:
        return records.cast(pa.string()), None
    except pa.ArrowInvalid:
        found = records.to_pylist()
        marks = np.array([r is not None and not _is_utf8(r) for r in found])
        kept = [None if mark else r for r, mark in zip(found, marks, strict=True)]
        return pa.array(kept, pa.binary()).cast(pa.string()), marks


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_of(raw: bytes) -> tuple[str | None, str | None]:
    """A record as text, or why it is none."""
    try:
        return raw.decode(), None
    except UnicodeDecodeError as error:
        return None, f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8"


class TextDecoder(Decoder):
    """The record itself, as the one column of the schema."""

    def __init__(self, schema: StructType, rules: TextRules) -> None:
        if len(schema) != 1 or not isinstance(schema.fields[0].dataType, StringType):
            raise SourceError(
                f"format 'text' decodes into one STRING column, not into {schema.simpleString()}"
            )
        super().__init__(schema, rules)

    def fast(self, texts: pa.Array) -> tuple[pa.Table, np.ndarray | None]:
        return pa.table([texts], schema=self.arrow), None

    def record(self, raw: bytes) -> tuple[dict[str, Any], str | None]:
        text, reason = text_of(raw)
        return {self.schema.names[0]: text}, reason


class JsonDecoder(Decoder):
    """One JSON object per record."""

    def __init__(self, schema: StructType, rules: TextRules) -> None:
        super().__init__(schema, rules)
        # Decimals too long for a token that went through a double are taken over as decimals by DuckDB itself.
        long = [
            f
            for f in schema.fields
            if isinstance(f.dataType, DecimalType) and not tokens.is_exact(f.dataType)
        ]
        self._long = StructType(long)
        self._short = StructType(f for f in schema.fields if f not in long)
        self._exact = tokens.is_exact(self._short) and len(schema) > 0
        self._shape = tokens.shape(schema, {f.name: _decimal_name(f.dataType) for f in long})
        self._long_shape = tokens.shape(self._long)

    def fast(self, texts: pa.Array) -> tuple[pa.Table, np.ndarray | None]:
        nothing = self._nulls(len(texts)), np.asarray(pc.is_valid(texts))
        if not self._exact:
            return nothing
        opened = _open(texts, f"json_transform(t, '{self._shape}')")
        if opened is None:
            texts = pc.if_else(_open(texts, "json_valid(t)"), texts, pa.scalar(None, texts.type))
            opened = _open(texts, f"json_transform(t, '{self._shape}')")
        if opened is None:  # what only DuckDB's JSON refuses, such as lone surrogates
            return nothing
        children = dict(zip(self.schema.names, opened.flatten(), strict=True))
        plain = [children[n].cast(pa.string()) for n in self._short.names]
        table, marks = convert(plain, self._short, self.rules)
        if self._long.fields:
            long, more = self._long_values(texts, children)
            columns = {**dict(zip(self._short.names, table.columns, strict=True)), **long}
            table = pa.table([columns[n] for n in self.schema.names], schema=self.arrow)
            marks = _either(marks, more)
        hollow = functools.reduce(pc.and_, [pc.is_null(c) for c in children.values()], nothing[1])
        return table, _either(marks, np.asarray(hollow) if pc.any(hollow).as_py() else None)

    def _long_values(
        self, texts: pa.Array, children: dict[str, pa.Array]
    ) -> tuple[dict[str, pa.Array], np.ndarray | None]:
        """The long decimals, and marks where a token is there that is no number."""
        opened = _open(texts, f"json_transform(t, '{self._long_shape}')")
        assert opened is not None
        values, marks = {}, None
        for f, token in zip(self._long.fields, opened.flatten(), strict=True):
            values[f.name] = children[f.name].cast(to_arrow(f.dataType))
            strange = pc.or_(
                pc.is_null(values[f.name]), pc.invert(pc.match_substring_regex(token, "^[-0-9]"))
            )
            strange = pc.and_(pc.is_valid(token), pc.fill_null(strange, True))
            if pc.any(strange).as_py():
                marks = _either(marks, np.asarray(strange))
        return values, marks

    def _nulls(self, rows: int) -> pa.Table:
        return pa.table([pa.nulls(rows, t) for t in self.arrow.types], schema=self.arrow)

    def record(self, raw: bytes) -> tuple[dict[str, Any], str | None]:
        text, reason = text_of(raw)
        if text is None:
            return dict.fromkeys(self.schema.names), reason
        return json_record(text, self.schema, self.rules)


def _decimal_name(kind: Any) -> str:
    return f"DECIMAL({kind.precision},{kind.scale})"


def _open(texts: pa.Array, sql: str) -> pa.StructArray | None:
    import duckdb

    chunked = pa.chunked_array(
        [texts.slice(i, tokens.CHUNK) for i in range(0, len(texts), tokens.CHUNK)], texts.type
    )
    try:
        return tokens.over(chunked, sql)
    except duckdb.Error:
        return None


def convert(
    columns: Sequence[pa.Array], schema: StructType, rules: TextRules, json: bool = True
) -> tuple[pa.Table, np.ndarray | None]:
    """Columns of tokens as rows of ``schema``, and marks of the rows to be looked at again."""
    values, marks = [], None
    for column, f in zip(columns, schema.fields, strict=True):
        done = tokens.typed(column, f.dataType, rules, json)
        values.append(done.values)
        marks = _either(marks, done.marks)
    return pa.table(values, schema=to_arrow_schema(schema)), marks


def _either(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a | b


class CsvDecoder(Decoder):
    """One record of separated fields, in the order of the schema; a record never spans lines here."""

    def __init__(self, schema: StructType, rules: TextRules, layout: fields.CsvLayout) -> None:
        super().__init__(schema, rules)
        self.layout = layout

    def fast(self, texts: pa.Array) -> tuple[pa.Table, np.ndarray | None]:
        columns, marks = fields.split(texts, len(self.schema), self.layout)
        table, more = convert(columns, self.schema, self.rules, json=False)
        return table, _either(marks, more)

    def record(self, raw: bytes) -> tuple[dict[str, Any], str | None]:
        text, reason = text_of(raw)
        if text is None:
            return dict.fromkeys(self.schema.names), reason
        return fields.csv_record(text, self.schema, self.rules, self.layout)


class AvroDecoder(Decoder):
    """Avro without a container: the writer's schema is given, or made from the columns.

    ``confluent``: records begin with the five bytes of Confluent's wire format (0 and a schema number), which are cut.
    """

    def __init__(self, schema: StructType, writer: str | None, confluent: bool) -> None:
        super().__init__(schema, TextRules())
        from tidemill.kernel import avro

        self._avro = avro
        self._writer = avro.parsed(writer, schema)
        self._confluent = confluent

    def _chunk(self, records: pa.Array) -> Decoded:
        rows, bad, reasons = [], [], []
        for place, raw in enumerate(records.to_pylist()):
            row, reason = (dict.fromkeys(self.schema.names), None) if raw is None else self.record(raw)
            rows.append(row)
            if reason is not None:
                bad.append(place)
                reasons.append(reason)
        return Decoded(self._avro.table(rows, self.schema), np.array(bad, np.int64), reasons)

    def fast(self, texts: pa.Array) -> tuple[pa.Table, np.ndarray | None]:
        raise NotImplementedError("Avro is bytes, not text")

    def record(self, raw: bytes) -> tuple[dict[str, Any], str | None]:
        nothing = dict.fromkeys(self.schema.names)
        if not raw:
            return nothing, "the record is empty"
        if self._confluent:
            if raw[0] != 0 or len(raw) < 5:
                return (
                    nothing,
                    "the record does not begin with Confluent's five bytes (0 and a schema number)",
                )
            raw = raw[5:]
        return self._avro.record(io.BytesIO(raw), self._writer, self.schema)


def text_rules(options: Mapping[str, str]) -> TextRules:
    """How text becomes values, by Spark's options; `SourceError` for a pattern or zone that cannot be used."""
    given = {k.lower(): v for k, v in options.items()}
    name = given.get("timezone", "UTC")
    if zone(name) is None:
        raise SourceError(
            f"option 'timeZone': {name!r} is no time zone; write it like 'Europe/Paris' or '+02:00'"
        )

    def pattern(option: str) -> str | None:
        try:
            return strptime_format(given[option.lower()]) if option.lower() in given else None
        except ValueError as error:
            raise SourceError(f"option {option!r}: {error}") from error

    return TextRules(
        time_zone=name,
        date_format=pattern("dateFormat"),
        timestamp_format=pattern("timestampFormat"),
        ntz_format=pattern("timestampNTZFormat"),
        nan=given.get("nanvalue", "NaN"),
        positive_inf=given.get("positiveinf", "Inf"),
        negative_inf=given.get("negativeinf", "-Inf"),
    )


def decoder(format: str, schema: StructType, options: Mapping[str, str] | None = None) -> Decoder:
    """The decoder of a format; `SourceError` if it is unknown or cannot hold the schema's types.

    >>> import pyarrow as pa
    >>> from tidemill.types import parse_ddl
    >>> done = decoder("json", parse_ddl("a INT")).decode(pa.array([b'{"a": 1}', b'{"a": "x"}']))
    >>> done.table.to_pylist(), done.bad.tolist(), done.reasons
    ([{'a': 1}, {'a': None}], [1], ["column 'a': 'x' is not INT (a whole number without quotes)"])
    """
    options = options or {}
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS) or f"; known are {', '.join(FORMATS)}"
        raise SourceError(f"decode format {format!r} is not known{hint}")
    _check_options(format, options)
    rules = text_rules(options)
    if format == "json":
        return JsonDecoder(schema, rules)
    if format == "csv":
        return CsvDecoder(schema, rules, fields.csv_layout(options))
    if format == "text":
        return TextDecoder(schema, rules)
    given = {k.lower(): v for k, v in options.items()}
    return AvroDecoder(schema, given.get("avroschema"), given.get("confluent", "false").lower() == "true")


def _check_options(format: str, options: Mapping[str, str]) -> None:
    known = {k.lower(): k for k in OPTIONS[format]}
    for name in options:
        if name.lower() not in known and name.lower() not in {i.lower() for i in IGNORED}:
            hint = did_you_mean(name, known.values()) or f"; known are {', '.join(known.values()) or 'none'}"
            raise SourceError(f"decode option {name!r} is not known to format {format!r}{hint}")


def json_elements(raw: bytes) -> pa.Array:
    """The records of a JSON text that is one object or an array of them, each as bytes; a text that is neither is one
    (bad) record."""
    try:
        found = json.loads(raw)
    except ValueError:
        return pa.array([raw], pa.binary())
    if not isinstance(found, list):
        return pa.array([raw], pa.binary())
    from tidemill.kernel.records import Bad, compact, parse_json

    parsed = parse_json(raw.decode())
    return pa.array(
        [compact(v).encode() for v in parsed] if not isinstance(parsed, Bad) else [raw], pa.binary()
    )
