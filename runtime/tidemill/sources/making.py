"""How a query's source is made, in the driver and on executors: plain data that is shipped with the plan.

Executors load this and no planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill import sources
from tidemill.sources.base import Source
from tidemill.sources.decoded import Decode, DecodedSource
from tidemill.sources.readers import CORRUPT
from tidemill.sources.shared import share
from tidemill.sources.wrapped import BadRecordsSource
from tidemill.types import StructType


@dataclass(frozen=True)
class MakeSource:
    """Makes a query's source, in the driver and on executors."""

    format: str
    options: Mapping[str, str]
    schema: StructType | None
    handle: Any
    limit: int = 0
    """Bytes that queries which read the same keep for each other; 0: each reads alone."""
    by_name: bool = False
    """Whether other queries may read other columns of the same rows."""

    def __call__(self, query: str) -> Source:
        made = share(self._made(self.schema), self._what(), self.limit, self._made if self.by_name else None)
        made.for_query(query)
        return made

    def _made(self, schema: StructType | None) -> Source:
        if callable(self.handle):
            made: Source = self.handle(self.options)
            return made
        return sources.create(self.format, self.options, schema, self.handle)

    def _what(self) -> tuple[Any, ...]:
        """What is read, the same for queries that can share it."""
        own = self.by_name or callable(self.handle)
        return self.format, dict(self.options), None if own else self.schema, self.handle


@dataclass(frozen=True)
class Reading:
    """Makes a source as a manifest describes it; the ``handle`` of its scan."""

    format: str
    name: str
    decode: Decode | None
    user_schema: StructType | None
    bad: bool = field(default=False, compare=False)
    """Whether it gives the bad records in place of the good ones. Not compared: both are of one read."""

    def schema(self, options: Mapping[str, str]) -> StructType:
        raw = sources.reader_schema(self.format, options, self.user_schema, streaming=True)
        if self.decode is None:
            return raw
        return StructType([*self.decode.schema.fields, *(raw[m] for m in self.decode.metadata)])

    def __call__(self, options: Mapping[str, str]) -> Source:
        raw = sources.reader_schema(self.format, options, self.user_schema, streaming=True)
        made = sources.create(self.format, self._with_mode(options, raw), raw)
        if self.decode is not None:
            made = DecodedSource(made, self.decode, self.name)
        return BadRecordsSource(made) if self.bad else made

    def _with_mode(self, options: Mapping[str, str], raw: StructType) -> Mapping[str, str]:
        """Bad records of files are set aside, as those of `decode` are, unless the manifest says what else to do."""
        said = {name.lower() for name in options}
        corrupt = options.get("columnNameOfCorruptRecord", CORRUPT) in raw.names
        if self.format not in ("json", "csv") or "mode" in said or corrupt:
            return options
        return {**options, "mode": "DEADLETTER"}
