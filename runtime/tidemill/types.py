"""Data types as PySpark has them, with their DDL, JSON and Arrow forms.

A ``TimestampType`` value is an instant. Inside the engine it is a timestamp in UTC without a zone (Arrow
``timestamp[us]``, DuckDB ``TIMESTAMP``); the session's time zone is applied by the functions that need it and where
values leave the engine. Arrow is imported only when asked for, so that the manifest models stay light.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tidemill.errors import ParseException, PySparkTypeError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DataType:
    """Base of all data types."""

    _name: ClassVar[str] = "void"

    @classmethod
    def typeName(cls) -> str:
        """PySpark's word for the class: ``integer`` where DDL says ``int``."""
        return "void" if cls is NullType else cls.__name__.removesuffix("Type").lower().replace("ntz", "_ntz")

    def simpleString(self) -> str:
        return self._name

    def jsonValue(self) -> Any:
        return self.simpleString()

    def json(self) -> str:
        return json.dumps(self.jsonValue(), separators=(",", ":"), sort_keys=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class AtomicType(DataType):
    """A type without parts."""


class NumericType(AtomicType):
    """Any number."""


class IntegralType(NumericType):
    """A whole number; ``bits`` is its width."""

    bits: ClassVar[int] = 0


class FractionalType(NumericType):
    """A number with a fraction."""


class DatetimeType(AtomicType):
    """A date or a time."""


class NullType(AtomicType):
    _name = "void"


class BooleanType(AtomicType):
    _name = "boolean"


class StringType(AtomicType):
    _name = "string"


class BinaryType(AtomicType):
    _name = "binary"


class ByteType(IntegralType):
    _name, bits = "tinyint", 8

    def jsonValue(self) -> str:
        return "byte"


class ShortType(IntegralType):
    _name, bits = "smallint", 16

    def jsonValue(self) -> str:
        return "short"


class IntegerType(IntegralType):
    _name, bits = "int", 32

    def jsonValue(self) -> str:
        return "integer"


class LongType(IntegralType):
    _name, bits = "bigint", 64

    def jsonValue(self) -> str:
        return "long"


class FloatType(FractionalType):
    _name = "float"


class DoubleType(FractionalType):
    _name = "double"


class DateType(DatetimeType):
    _name = "date"


class TimestampType(DatetimeType):
    _name = "timestamp"


class TimestampNTZType(DatetimeType):
    _name = "timestamp_ntz"


@dataclass(frozen=True, repr=False)
class DecimalType(FractionalType):
    precision: int = 10
    scale: int = 0
    _name: ClassVar[str] = "decimal"

    def simpleString(self) -> str:
        return f"decimal({self.precision},{self.scale})"

    def __repr__(self) -> str:
        return f"DecimalType({self.precision},{self.scale})"


class DayTimeIntervalType(AtomicType):
    """A duration in microseconds."""

    _name = "interval day to second"


class YearMonthIntervalType(AtomicType):
    """A duration in months."""

    _name = "interval year to month"


class CalendarIntervalType(AtomicType):
    """Months, days and microseconds, as ``INTERVAL 1 MONTH 2 DAYS`` has them."""

    _name = "interval"


@dataclass(frozen=True, repr=False)
class ArrayType(DataType):
    elementType: DataType
    containsNull: bool = True
    _name: ClassVar[str] = "array"

    def simpleString(self) -> str:
        return f"array<{self.elementType.simpleString()}>"

    def jsonValue(self) -> dict[str, Any]:
        return {
            "type": "array",
            "elementType": self.elementType.jsonValue(),
            "containsNull": self.containsNull,
        }

    def __repr__(self) -> str:
        return f"ArrayType({self.elementType!r}, {self.containsNull})"


@dataclass(frozen=True, repr=False)
class MapType(DataType):
    keyType: DataType
    valueType: DataType
    valueContainsNull: bool = True
    _name: ClassVar[str] = "map"

    def simpleString(self) -> str:
        return f"map<{self.keyType.simpleString()},{self.valueType.simpleString()}>"

    def jsonValue(self) -> dict[str, Any]:
        return {
            "type": "map",
            "keyType": self.keyType.jsonValue(),
            "valueType": self.valueType.jsonValue(),
            "valueContainsNull": self.valueContainsNull,
        }

    def __repr__(self) -> str:
        return f"MapType({self.keyType!r}, {self.valueType!r}, {self.valueContainsNull})"


@dataclass(frozen=True, repr=False)
class StructField(DataType):
    name: str
    dataType: DataType
    nullable: bool = True
    metadata: dict[str, Any] = field(default_factory=dict, compare=False)

    def simpleString(self) -> str:
        # Without backticks, as in Spark: a text to read. `ddl` gives one that can be parsed back.
        return f"{self.name}:{self.dataType.simpleString()}"

    def jsonValue(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.dataType.jsonValue(),
            "nullable": self.nullable,
            "metadata": self.metadata,
        }

    def __repr__(self) -> str:
        return f"StructField({self.name!r}, {self.dataType!r}, {self.nullable})"


@dataclass(frozen=True, repr=False, init=False)
class StructType(DataType):
    fields: tuple[StructField, ...]
    _name: ClassVar[str] = "struct"

    def __init__(self, fields: Any = ()) -> None:
        object.__setattr__(self, "fields", tuple(fields))
        for f in self.fields:
            if not isinstance(f, StructField):
                raise PySparkTypeError(
                    f"StructType takes StructFields, not {f!r}; wrap it as StructField(name, type)"
                )

    def add(
        self, field: str | StructField, data_type: str | DataType | None = None, nullable: bool = True
    ) -> StructType:
        """This struct with one field more, changed in place as PySpark does, and returned."""
        if isinstance(field, str):
            if data_type is None:
                raise PySparkTypeError(f"add({field!r}) needs a data type")
            field = StructField(
                field, parse_type(data_type) if isinstance(data_type, str) else data_type, nullable
            )
        object.__setattr__(self, "fields", (*self.fields, field))
        return self

    @property
    def names(self) -> list[str]:
        return [f.name for f in self.fields]

    def fieldNames(self) -> list[str]:
        return self.names

    def simpleString(self) -> str:
        return f"struct<{','.join(f.simpleString() for f in self.fields)}>"

    def jsonValue(self) -> dict[str, Any]:
        return {"type": "struct", "fields": [f.jsonValue() for f in self.fields]}

    def toDDL(self) -> str:
        """``a INT, b STRING``: the text that `parse_ddl` reads back to an equal type."""
        return ",".join(
            f"{quoted(f.name)} {ddl(f.dataType)}{'' if f.nullable else ' NOT NULL'}" for f in self.fields
        )

    def __iter__(self) -> Iterator[StructField]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, key: int | str | slice) -> Any:
        if isinstance(key, str):
            for f in self.fields:
                if f.name == key:
                    return f
            raise KeyError(f"no field named {key!r}; the fields are {', '.join(self.names)}")
        return StructType(self.fields[key]) if isinstance(key, slice) else self.fields[key]

    def __repr__(self) -> str:
        return f"StructType([{', '.join(map(repr, self.fields))}])"

    @classmethod
    def fromJson(cls, value: dict[str, Any]) -> StructType:
        read = from_json_value(value)
        assert isinstance(read, StructType)
        return read

    @classmethod
    def fromDDL(cls, ddl: str) -> StructType:
        return parse_ddl(ddl)


def quoted(name: str) -> str:
    """A name as DDL writes it: in backticks unless it is a plain identifier."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else "`" + name.replace("`", "``") + "`"


def ddl(kind: DataType) -> str:
    """The type as DDL writes it: key words in capitals, names as they are."""
    match kind:
        case ArrayType(element):
            return f"ARRAY<{ddl(element)}>"
        case MapType(key, value):
            return f"MAP<{ddl(key)}, {ddl(value)}>"
        case StructType(fields):
            return f"STRUCT<{', '.join(f'{quoted(f.name)}: {ddl(f.dataType)}' for f in fields)}>"
    return kind.simpleString().upper()


# --- JSON -----------------------------------------------------------------------------------------------------------

_BY_NAME: dict[str, DataType] = {
    "void": NullType(), "null": NullType(), "boolean": BooleanType(), "bool": BooleanType(),
    "tinyint": ByteType(), "byte": ByteType(), "smallint": ShortType(), "short": ShortType(),
    "int": IntegerType(), "integer": IntegerType(), "bigint": LongType(), "long": LongType(),
    "float": FloatType(), "real": FloatType(), "double": DoubleType(), "string": StringType(),
    "binary": BinaryType(), "date": DateType(), "timestamp": TimestampType(),
    "timestamp_ltz": TimestampType(), "timestamp_ntz": TimestampNTZType(), "decimal": DecimalType(),
    "dec": DecimalType(), "numeric": DecimalType(), "interval": CalendarIntervalType(),
    "interval day to second": DayTimeIntervalType(), "interval year to month": YearMonthIntervalType(),
}  # fmt: skip


def nesting(kind: DataType) -> int:
    """How many types lie within each other. SQL that goes through a value names its lambdas' variables by it, so that an
    inner one differs from those around it."""
    match kind:
        case ArrayType(element):
            return 1 + nesting(element)
        case MapType(key, value):
            return 1 + max(nesting(key), nesting(value))
        case StructType():
            return 1 + max((nesting(f.dataType) for f in kind), default=0)
    return 0


def from_json_value(value: Any) -> DataType:
    """The type that ``jsonValue`` wrote."""
    if isinstance(value, str):
        return parse_type(value)
    match value["type"]:
        case "array":
            return ArrayType(from_json_value(value["elementType"]), value["containsNull"])
        case "map":
            return MapType(
                from_json_value(value["keyType"]),
                from_json_value(value["valueType"]),
                value["valueContainsNull"],
            )
        case "struct":
            return StructType(
                StructField(f["name"], from_json_value(f["type"]), f["nullable"], f.get("metadata") or {})
                for f in value["fields"]
            )
    raise ParseException(f"unknown data type {value['type']!r} in JSON schema", "PARSE_SYNTAX_ERROR")


# --- DDL ------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(`(?:[^`]|``)*`|[\w.]+|'(?:[^'\\]|\\.)*'|[<>(),:])")
_INTERVAL_FIELDS = ("year", "month", "day", "hour", "minute", "second")


class _DdlReader:
    """A recursive-descent reader of type and schema text; one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        at = 0
        stripped = text.rstrip()
        while at < len(stripped):
            found = _TOKEN.match(stripped, at)
            if not found:
                raise self.error(f"unexpected {stripped[at:].strip()[:1]!r} at position {at}")
            self.tokens.append(found.group(1))
            at = found.end()
        self.at = 0

    def error(self, what: str, condition: str = "PARSE_SYNTAX_ERROR") -> ParseException:
        return ParseException(f"schema {self.text!r}: {what}; write it like 'a INT, b STRING'", condition)

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        token = self.peek()
        if not token:
            raise self.error("it ends too early")
        self.at += 1
        return token

    def accept(self, word: str) -> bool:
        if self.peek().lower() == word:
            self.at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.accept(word):
            raise self.error(f"expected {word!r}, found {self.peek() or 'the end'!r}")

    def name(self) -> str:
        token = self.next()
        if token.startswith("`"):
            return token[1:-1].replace("``", "`")
        if not re.fullmatch(r"[\w.]+", token):
            raise self.error(f"{token!r} is no name")
        return token

    def fields(self, end: str) -> StructType:
        found: list[StructField] = []
        while self.peek() != end:
            if found:
                self.expect(",")
            found.append(self.field())
        return StructType(found)

    def field(self) -> StructField:
        name = self.name()
        self.accept(":")
        kind = self.type()
        nullable, metadata = True, {}
        while self.peek().lower() in ("not", "comment"):
            if self.accept("not"):
                self.expect("null")
                nullable = False
            else:
                self.expect("comment")
                metadata["comment"] = self.next().strip("'")
        return StructField(name, kind, nullable, metadata)

    def type(self) -> DataType:
        word = self.next().lower()
        if word == "array":
            return ArrayType(self.bracketed(self.type))
        if word == "map":
            return self.bracketed(self.map)
        if word == "struct":
            return self.bracketed(lambda: self.fields(">"))
        if word in ("decimal", "dec", "numeric"):
            return self.decimal()
        if word in ("varchar", "char", "character"):
            self.sizes()
            return StringType()
        if word == "interval":
            return self.interval()
        if word not in _BY_NAME:
            raise self.error(f"unknown type {word!r}{did_you_mean(word, _BY_NAME)}", "UNSUPPORTED_DATATYPE")
        return _BY_NAME[word]

    def bracketed(self, inner: Any) -> Any:
        self.expect("<")
        kind = inner()
        self.expect(">")
        return kind

    def map(self) -> MapType:
        key = self.type()
        self.expect(",")
        return MapType(key, self.type())

    def sizes(self) -> list[int]:
        found: list[int] = []
        if self.accept("("):
            while not self.accept(")"):
                token = self.next()
                if token != ",":
                    if not token.isdigit():
                        raise self.error(f"{token!r} is no size")
                    found.append(int(token))
        return found

    def decimal(self) -> DecimalType:
        sizes = self.sizes()
        precision, scale = (sizes + [10, 0][len(sizes) :])[:2] if len(sizes) < 2 else sizes[:2]
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise self.error(f"decimal({precision},{scale}) must have 1 to 38 digits and no larger scale")
        return DecimalType(precision, scale)

    def interval(self) -> DataType:
        if self.peek().lower() not in _INTERVAL_FIELDS:
            return CalendarIntervalType()
        first = self.next().lower()
        if self.accept("to"):
            self.next()
        return YearMonthIntervalType() if first in ("year", "month") else DayTimeIntervalType()


def parse_type(text: str) -> DataType:
    """One data type from its DDL text.

    >>> parse_type("array<struct<a:int,b:decimal(10,2)>>").simpleString()
    'array<struct<a:int,b:decimal(10,2)>>'
    """
    reader = _DdlReader(text)
    kind = reader.type()
    if reader.peek():
        raise reader.error(f"unexpected {reader.peek()!r}")
    return kind


def parse_ddl(text: str) -> StructType:
    """A schema from its DDL text, ``struct<...>`` or JSON form.

    >>> parse_ddl("a INT, b STRING NOT NULL").names
    ['a', 'b']
    """
    text = text.strip()
    if text.startswith("{"):
        return StructType.fromJson(json.loads(text))
    if re.match(r"struct\s*<", text, re.I):
        kind = parse_type(text)
        assert isinstance(kind, StructType)
        return kind
    reader = _DdlReader(text)
    found = reader.fields("")
    if not found.fields:
        raise reader.error("it is empty")
    return found


# --- Arrow ----------------------------------------------------------------------------------------------------------


def to_arrow(kind: DataType) -> pa.DataType:
    """The Arrow type that carries ``kind`` between the parts of Tidemill."""
    import pyarrow as pa

    match kind:
        case DecimalType(p, s):
            return pa.decimal128(p, s)
        case ArrayType(element):
            return pa.list_(to_arrow(element))
        case MapType(key, value):
            return pa.map_(to_arrow(key), to_arrow(value))
        case StructType(fields):
            return pa.struct([pa.field(f.name, to_arrow(f.dataType)) for f in fields])
        case TimestampType() | TimestampNTZType():
            return pa.timestamp("us")
        case DayTimeIntervalType():
            return pa.duration("us")
        case YearMonthIntervalType() | CalendarIntervalType():
            return pa.month_day_nano_interval()
    return _arrow_atoms()[kind._name]


def _arrow_atoms() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "void": pa.null(), "boolean": pa.bool_(), "tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(),
        "bigint": pa.int64(), "float": pa.float32(), "double": pa.float64(), "string": pa.string(),
        "binary": pa.binary(), "date": pa.date32(),
    }  # fmt: skip


def to_arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema of rows of ``schema``."""
    import pyarrow as pa

    return pa.schema([pa.field(f.name, to_arrow(f.dataType)) for f in schema.fields])


def from_arrow(kind: pa.DataType) -> DataType:
    """The data type that holds every value of an Arrow type.

    Unsigned integers widen to the next signed one; timestamps with a zone are instants, those without are not.
    """
    import pyarrow as pa
    import pyarrow.types as at

    if at.is_dictionary(kind):
        return from_arrow(kind.value_type)
    if at.is_decimal(kind):
        return DecimalType(kind.precision, kind.scale)
    if at.is_timestamp(kind):
        return TimestampType() if kind.tz else TimestampNTZType()
    if at.is_list(kind) or at.is_large_list(kind) or at.is_fixed_size_list(kind):
        return ArrayType(from_arrow(kind.value_type))
    if at.is_map(kind):
        return MapType(from_arrow(kind.key_type), from_arrow(kind.item_type))
    if at.is_struct(kind):
        return StructType(StructField(f.name, from_arrow(f.type), f.nullable) for f in kind)
    if at.is_duration(kind):
        return DayTimeIntervalType()
    if at.is_large_string(kind) or at.is_string_view(kind):
        return StringType()
    if at.is_large_binary(kind) or at.is_fixed_size_binary(kind) or at.is_binary_view(kind):
        return BinaryType()
    widened = {pa.uint8(): ShortType(), pa.uint16(): IntegerType(), pa.uint32(): LongType(), pa.date64(): DateType(),
               pa.uint64(): DecimalType(20, 0), pa.float16(): FloatType()}  # fmt: skip
    if kind in widened:
        return widened[kind]
    for name, arrow in _arrow_atoms().items():
        if arrow == kind:
            return _BY_NAME[name]
    raise PySparkTypeError(f"Arrow type {kind} has no Spark type; cast the column before passing it")
