"""JSON texts one by one, exactly as Spark reads and writes them; expressions call this for what DuckDB cannot vouch for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa

from tidemill.kernel.functions.jsontexts import MALFORMED, NOTHING, outermost, parse, plain
from tidemill.kernel.functions.jsonvalues import FAILED, FINE, Rules, convert
from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.macros import KernelFunction, kernel
from tidemill.kernel.names import duck_type
from tidemill.types import (
    ArrayType,
    DataType,
    StringType,
    StructType,
    from_json_value,
    to_arrow,
)

OPTIONS = ("mode", "columnnameofcorruptrecord", "dateformat", "timestampformat", "timestampntzformat")


def packed(kind: DataType, options: dict[str, str], zone: str) -> str:
    """A schema and its options as one word that can stand in a function's name."""
    text = json.dumps({"kind": kind.jsonValue(), "options": options, "zone": zone}, separators=(",", ":"))
    return base64.b32encode(text.encode()).decode().rstrip("=").lower()


def unpacked(word: str) -> tuple[DataType, dict[str, str], str]:
    raw = base64.b32decode(word.upper() + "=" * (-len(word) % 8))
    found = json.loads(raw)
    return from_json_value(found["kind"]), found["options"], found["zone"]


@kernel("from_json")
def _from_json(word: str) -> KernelFunction:
    kind, options, zone = unpacked(word)
    reader = Reader(kind, options, zone)
    # Not that it were volatile: DuckDB would move conditions on what was read below the reading, and read twice.
    return by_row(reader.read, duck_type(kind), _storable(kind), volatile=True)


def _storable(kind: DataType) -> pa.DataType:
    return to_arrow(kind)


class Reader:
    """Reads texts into values of one type, as from_json() does."""

    def __init__(self, kind: DataType, options: dict[str, str], zone: str) -> None:
        self.kind = kind
        self.strict = options.get("mode", "PERMISSIVE").upper() == "FAILFAST"
        self.rules = Rules(
            options.get("timezone", zone), options.get("dateformat"), options.get("timestampformat"),
            options.get("timestampntzformat"),
        )  # fmt: skip
        corrupt = options.get("columnnameofcorruptrecord", "_corrupt_record")
        self.corrupt = None
        self.wanted = kind
        if isinstance(kind, StructType) and isinstance(_field(kind, corrupt), StringType):
            self.corrupt = corrupt
            self.wanted = StructType(f for f in kind if f.name != corrupt)

    def read(self, text: str) -> Any:
        """The value of one text; None where Spark has NULL."""
        value = parse(text)
        if value is NOTHING:
            return None
        found, state = self._converted(value)
        if state is not FINE and self.strict:
            raise Refused(
                "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
                f"{text!r} does not fit the schema; mode PERMISSIVE gives null instead",
            )
        if not isinstance(self.kind, StructType):
            return None if state is FAILED else found
        row = found if isinstance(found, dict) and state is not FAILED else dict.fromkeys(self.wanted.names)  # type: ignore[attr-defined]
        if self.corrupt is not None:
            row[self.corrupt] = None if state is FINE else text
        return row

    def _converted(self, value: Any) -> tuple[Any, Any]:
        if value is MALFORMED:
            return None, FAILED
        if value is None:
            return None, FINE
        kind = self.wanted
        if (
            isinstance(kind, ArrayType)
            and isinstance(kind.elementType, StructType)
            and isinstance(value, dict)
        ):
            value = [value]
        return convert(value, kind, self.rules)


def _field(kind: StructType, name: str) -> DataType | None:
    return next((f.dataType for f in kind if f.name == name), None)


# --- one value of a text --------------------------------------------------------------------------------------------


@kernel("get_json_object")
def _get_json_object() -> KernelFunction:
    from tidemill.kernel.functions.jsonpaths import look_up

    return by_row(look_up, "VARCHAR", pa.string())


@kernel("json_field")
def _json_field() -> KernelFunction:
    def field(text: str, key: str) -> str | None:
        value = parse(text, first=True)
        found = value.get(key) if isinstance(value, dict) else None
        return None if found is None else plain(found)

    return by_row(field, "VARCHAR", pa.string())


@kernel("json_array_length")
def _json_array_length() -> KernelFunction:
    def count(text: str) -> int | None:
        value = parse(text)
        return len(value) if isinstance(value, list) else None

    return by_row(count, "INTEGER", pa.int32())


@kernel("json_object_keys")
def _json_object_keys() -> KernelFunction:
    return by_row(outermost, "VARCHAR[]", pa.list_(pa.string()))


__all__ = ["OPTIONS", "Reader", "packed", "unpacked"]
