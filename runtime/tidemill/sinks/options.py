"""A sink's options: checked against the table of `tidemill.api.formats` before anything starts, then read by type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tidemill.api.formats import SINKS, Format
from tidemill.errors import AnalysisException, IllegalArgumentException, PySparkValueError, did_you_mean
from tidemill.types import StructType

_FROM_ELSEWHERE = ("checkpointlocation", "queryname")
"""Options of the query that Spark lets travel with those of its sink."""


@dataclass(frozen=True)
class Wiring:
    """What a sink needs of the program around it."""

    time_zone: str = "UTC"
    """The session's: instants become text in it."""
    warehouse: str = "spark-warehouse"
    """``spark.sql.warehouse.dir``: where `toTable` writes."""
    make_frame: Callable[[pa.Table], Any] | None = None
    """Makes the DataFrame that a ``foreachBatch`` function gets."""
    make_rows: Callable[[pa.Table], list[Any]] | None = None
    """Makes the Rows that ``foreach`` gets."""
    write: Callable[[str], None] = field(default=lambda text: print(text, end="", flush=True))
    """Where the console sink prints."""


class Options:
    """Options by their names without regard to case, as Spark has them."""

    def __init__(self, format: str, given: Mapping[str, Any]) -> None:
        self.format = format
        self._given = {k.lower(): _text(v) for k, v in given.items() if k.lower() not in _FROM_ELSEWHERE}

    def check(self) -> None:
        """Refuse an option that the format does not know, or that has to be there and is not."""
        known = SINKS[self.format]
        for name in self._given:
            _check_name(self.format, known, name)
        for group in known.one_of:
            if not any(name.lower() in self._given for name in group):
                raise IllegalArgumentException(
                    f"{' or '.join(map(repr, group))} is not specified for format {self.format}.",
                    "_LEGACY_ERROR_TEMP_2047",
                )

    def text(self, name: str, default: str) -> str:
        return self._given.get(name.lower(), default)

    def get(self, name: str) -> str | None:
        return self._given.get(name.lower())

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name, str(default)).lower()
        if value not in ("true", "false"):
            raise self.wrong(name, "true or false")
        return value == "true"

    def count(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.strip().isdigit():
            raise self.wrong(name, "a whole number from 0")
        return int(value)

    def one_of(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default).lower()
        if value not in choices:
            raise self.wrong(name, f"one of {', '.join(choices)}", choices)
        return value

    def character(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if len(value) != 1:
            raise self.wrong(name, "one character")
        return value

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """The options below a prefix, without it."""
        return {k[len(prefix) :]: v for k, v in self._given.items() if k.startswith(prefix)}

    def refuse(self, *names: str) -> None:
        """Options that Spark has and we do not: better refused than forgotten."""
        for name in names:
            if name.lower() in self._given:
                raise AnalysisException(
                    f"option {name!r} of format {self.format} is not supported; leave it out, and make the text in "
                    "the query itself where it matters"
                )

    def wrong(self, name: str, expected: str, choices: tuple[str, ...] = ()) -> PySparkValueError:
        value = self.text(name, "")
        return PySparkValueError(
            f"option {name!r} of format {self.format}: {value!r} is not {expected}{did_you_mean(value, choices)}"
        )


def known_format(format: str) -> str:
    """The format's name as our table has it; raises `AnalysisException` naming the nearest."""
    name = _ALIASES.get(format.lower(), format.lower())
    if name in SINKS:
        return name
    if name in ("rate", "socket", "rate-micro-batch"):
        raise AnalysisException(
            f"Data source {format} does not support streamed writing; write to one of {_listed()}"
        )
    raise AnalysisException(
        f"Failed to find the data source: {format}; the formats that can be written are "
        f"{_listed()}{did_you_mean(format, SINKS)}",
        "DATA_SOURCE_NOT_FOUND",
    )


_ALIASES = {"org.apache.spark.sql.kafka010": "kafka", "com.databricks.spark.avro": "avro"}


def check_columns(format: str, schema: StructType, partition_by: tuple[str, ...]) -> None:
    """Refuse partition columns that are not there, or that are all there is."""
    for name in partition_by:
        if name.lower() not in (n.lower() for n in schema.names):
            raise AnalysisException(
                f"Partition column {name} not found in existing columns ({', '.join(schema.names)})"
                f"{did_you_mean(name, schema.names)}",
                "_LEGACY_ERROR_TEMP_1196",
            )
    if partition_by and not SINKS[format].writes_files:
        raise AnalysisException(
            f"'partitionBy' is not supported by format {format}; it divides directories of files"
        )
    if partition_by and len(partition_by) >= len(schema):
        raise AnalysisException(
            "Cannot use all columns for partition columns.", "ALL_PARTITION_COLUMNS_NOT_ALLOWED"
        )


def _check_name(format: str, known: Format, name: str) -> None:
    if name in (n.lower() for n in known.options) or name.startswith(known.pass_through or ("\0",)):
        return
    hint = did_you_mean(name, known.options)
    listed = f"; it knows {', '.join(known.options)}" if known.options else "; it has no options"
    raise AnalysisException(f"option {name!r} is not one of format {format}{hint or listed}")


def _text(value: Any) -> str:
    # A text stays the object that it is: `str` of a Secret would be `***`.
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed() -> str:
    return ", ".join(SINKS)
