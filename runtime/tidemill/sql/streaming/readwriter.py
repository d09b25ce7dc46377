"""``spark.readStream`` and ``df.writeStream``."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from tidemill import launch
from tidemill.checkpoint import directory, join
from tidemill.driver.machine import Trigger
from tidemill.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkNotImplementedError,
    PySparkValueError,
    did_you_mean,
)
from tidemill.plan.nodes import OutputMode
from tidemill.sql.arguments import expect, wrong_type
from tidemill.sql.catalog import named_plan
from tidemill.sql.options import OptionSetter
from tidemill.sql.readwriter import Reader, names_of, wiring
from tidemill.sql.streaming.query import StreamingQuery
from tidemill.types import StructType

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.session import SparkSession

_CHECKPOINTS = "spark.sql.streaming.checkpointLocation"
_TEMPORARY = ("memory", "console", "noop", "foreach", "foreachbatch")
"""Sinks whose queries may keep their checkpoint in memory; the rest outlive the process and need a place."""
_MODES = ("append", "complete", "update")
_UNITS = {
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
}
_SHORT = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}


class DataStreamReader(Reader):
    """Reads what a source holds and all that comes to it."""

    def schema(self, schema: StructType | str) -> DataStreamReader:
        """The columns' names and types; files need it, other sources have their own."""
        self._set_schema(schema)
        return self

    def name(self, source_name: str) -> DataStreamReader:
        """A name for the source, shown in progress reports."""
        expect(source_name, str, "source_name", "str")
        self._name = source_name
        return self

    _name: str = ""

    def load(
        self,
        path: str | None = None,
        format: str | None = None,
        schema: StructType | str | None = None,
        **options: Any,
    ) -> DataFrame:
        """A streaming DataFrame."""
        if format is not None:
            self.format(format)
        if schema is not None:
            self.schema(schema)
        self.options(**options)
        if path is not None:
            if not isinstance(path, str) or not path.strip():
                raise PySparkValueError(
                    "If the path is provided for stream, it needs to be a non-empty string. List of paths are not "
                    "supported.",
                    "VALUE_NOT_NON_EMPTY_STR",
                )
            self.option("path", path)
        return self._scan(streaming=True, name=self._name)

    def csv(self, path: str, schema: StructType | str | None = None, **options: Any) -> DataFrame:
        return self.load(path, "csv", schema, **options)

    def json(self, path: str, schema: StructType | str | None = None, **options: Any) -> DataFrame:
        return self.load(path, "json", schema, **options)

    def parquet(self, path: str, **options: Any) -> DataFrame:
        return self.load(path, "parquet", **options)

    def text(self, path: str, **options: Any) -> DataFrame:
        return self.load(path, "text", **options)

    def orc(self, path: str, **options: Any) -> DataFrame:
        return self.load(path, "orc", **options)

    def table(self, tableName: str) -> DataFrame:
        """A table, its rows and those that are added; or a temporary view of a stream."""
        expect(tableName, str, "tableName", "str")
        catalog = self._session.catalog
        plan = catalog._required(tableName)
        if not plan.streaming:
            note = catalog._warehouse.find(tableName.rsplit(".", 1)[-1])
            if note is None:
                raise AnalysisException(
                    f"{tableName} is not a temp view of streaming logical plan, please use batch API such as "
                    "`DataFrameReader.table` to read it.",
                    "_LEGACY_ERROR_TEMP_1008",
                    {"tableName": tableName},
                )
            plan = self.format(note.format).schema(note.struct).load(note.path)._plan
        return self._session._frame(named_plan(plan, tableName))


class DataStreamWriter(OptionSetter):
    """Starts a streaming query over a DataFrame's rows."""

    def __init__(self, df: DataFrame) -> None:
        self._df = df
        self._session: SparkSession = df._session
        self._format = None
        self._options = {}
        self._mode: OutputMode = "append"
        self._partition_by: tuple[str, ...] = ()
        self._query_name: str | None = None
        self._trigger = Trigger()
        self._target: Any = None

    def outputMode(self, outputMode: str) -> DataStreamWriter:
        """``append``: rows that will not change; ``update``: rows that changed; ``complete``: all rows each time."""
        if not isinstance(outputMode, str) or not outputMode.strip():
            raise PySparkValueError(
                f"Value for `outputMode` must be a non-empty string, got {outputMode!r}.",
                "VALUE_NOT_NON_EMPTY_STR",
            )
        if outputMode.lower() not in _MODES:
            raise IllegalArgumentException(
                f"Unknown output mode {outputMode}. Accepted output modes are 'append', 'complete', 'update'"
                f"{did_you_mean(outputMode, _MODES)}",
                "STREAMING_OUTPUT_MODE.INVALID",
            )
        self._mode = cast("OutputMode", outputMode.lower())
        return self

    def partitionBy(self, *cols: Any) -> DataStreamWriter:
        """A directory for each value of these columns."""
        self._partition_by = names_of(cols)
        return self

    def queryName(self, queryName: str) -> DataStreamWriter:
        """The query's name, of which only one may run; a memory sink's rows are the view of that name."""
        if not isinstance(queryName, str) or not queryName.strip():
            raise PySparkValueError(
                f"Value for `queryName` must be a non-empty string, got {queryName!r}.",
                "VALUE_NOT_NON_EMPTY_STR",
            )
        self._query_name = queryName
        return self

    def trigger(
        self,
        *,
        processingTime: str | None = None,
        once: bool | None = None,
        continuous: str | None = None,
        availableNow: bool | None = None,
        realTime: str | None = None,
    ) -> DataStreamWriter:
        """When batches run: every ``processingTime`` (``'10 seconds'``), or for what is there now and no more."""
        given = {
            "processingTime": processingTime, "once": once, "continuous": continuous, "availableNow": availableNow,
            "realTime": realTime,
        }  # fmt: skip
        chosen = [name for name, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise PySparkValueError(
                f"Only one trigger can be given, and one must be: processingTime, once or availableNow; got "
                f"{', '.join(chosen) or 'none'}.",
                "ONLY_ALLOW_SINGLE_TRIGGER",
            )
        self._trigger = _trigger(chosen[0], given[chosen[0]])
        return self

    def foreach(self, f: Any) -> DataStreamWriter:
        """Call a function for each row, or an object's open, process and close. At least once."""
        from tidemill.sinks.foreach import check_writer

        check_writer(f)
        self._format, self._target = "foreach", f
        return self

    def foreachBatch(self, func: Callable[[DataFrame, int], None]) -> DataStreamWriter:
        """Call ``func(df, batch_id)`` for each batch. At least once, with the same rows and id when it is repeated."""
        if not callable(func):
            wrong_type("func", "callable", func)
        self._format, self._target = "foreachBatch", func
        return self

    def start(
        self,
        path: str | None = None,
        format: str | None = None,
        outputMode: str | None = None,
        partitionBy: str | list[str] | None = None,
        queryName: str | None = None,
        **options: Any,
    ) -> StreamingQuery:
        """Check everything, then run the query on a thread of its own."""
        self.options(**options).option("path", path)
        if format is not None:
            self.format(format)
        if outputMode is not None:
            self.outputMode(outputMode)
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        if queryName is not None:
            self.queryName(queryName)
        kind = self._format or self._session._config.get("spark.sql.sources.default") or "parquet"
        return self._start(kind)

    def toTable(
        self,
        tableName: str,
        format: str | None = None,
        outputMode: str | None = None,
        partitionBy: str | list[str] | None = None,
        queryName: str | None = None,
        **options: Any,
    ) -> StreamingQuery:
        """Write to a table, which is made if it is not there."""
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        catalog = self._session.catalog
        note = catalog._warehouse.find(tableName.rsplit(".", 1)[-1])
        if note is None:
            kind = (format or self._format or "parquet").lower()
            path = options.pop("path", self._options.get("path"))
            note = catalog._create(tableName, kind, self._df.schema, self._partition_by, path)
        self._partition_by = note.partition_by
        return self.start(note.path, note.format, outputMode, None, queryName, **options)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _start(self, kind: str) -> StreamingQuery:
        from tidemill.sinks.memory import MemoryTable
        from tidemill.sinks.options import known_format

        if self._target is None:
            known_format(kind)
        session, schema = self._session, self._df.schema
        if kind.lower() == "memory":
            if self._query_name is None:
                raise AnalysisException(
                    "queryName must be specified for memory sink.", "_LEGACY_ERROR_TEMP_1194"
                )
            self._target = self._target or MemoryTable(schema)
        checkpoint = self._checkpoint(kind)
        path = directory(checkpoint)
        place = os.path.realpath(path) if path is not None else checkpoint
        rest = {k: v for k, v in self._options.items() if k.lower() != "checkpointlocation"}
        sink = launch.SinkSpec(
            kind, rest, self._partition_by, target=self._target, wiring=wiring(session, schema)
        )
        spec = launch.QuerySpec(
            sink=sink, name=self._query_name, mode=self._mode, trigger=self._trigger, checkpoint=checkpoint,
            conf=session._config.all(),
        )  # fmt: skip
        limit = session._config.milliseconds("spark.sql.streaming.stopTimeout") / 1000 or None

        def begin() -> StreamingQuery:
            run = launch.start(self._df._plan, spec, session._run_context())
            return StreamingQuery(run, self._df._plan, limit, place)

        again = session._config.flag("spark.sql.streaming.stopActiveRunOnRestart")
        query = session.streams._start(self._query_name, begin, place if again else None)
        if isinstance(self._target, MemoryTable):
            _show_as_view(session, self._query_name or "", self._target)
        return query

    def _checkpoint(self, kind: str) -> str | None:
        given = next((v for k, v in self._options.items() if k.lower() == "checkpointlocation"), None)
        if given:
            return given.removeprefix("file://")
        root = self._session._config.get(_CHECKPOINTS)
        if root:
            return join(root, self._query_name or str(uuid.uuid4()))
        if kind.lower() in _TEMPORARY:
            return None
        raise AnalysisException(
            f'checkpointLocation must be specified either through option("checkpointLocation", ...) or '
            f'SparkSession.conf.set("{_CHECKPOINTS}", ...).',
            "_LEGACY_ERROR_TEMP_1298",
        )


def _show_as_view(session: SparkSession, name: str, table: Any) -> None:
    """SQL and ``spark.table`` see the memory table's rows as they are when they ask."""
    from tidemill.plan import analyze

    session.catalog._views.put(name, lambda: analyze.local(table.rows(), table.schema), replace=True)


def _trigger(name: str, value: Any) -> Trigger:
    if name in ("once", "availableNow"):
        if value is not True:
            raise PySparkValueError(
                f"Value for `{name}` has to be amongst the following values: [True], got {value!r}.",
                "VALUE_NOT_ALLOWED",
                {"arg_name": name, "allowed_values": "[True]"},
            )
        return Trigger("once" if name == "once" else "available")
    if name in ("continuous", "realTime"):
        raise PySparkNotImplementedError(
            f"trigger({name}={value!r}) does not exist in Tidemill; trigger(processingTime='0 seconds') runs a batch "
            "as soon as there is something to do, in tens of milliseconds",
            "NOT_IMPLEMENTED",
        )
    if not isinstance(value, str) or not value.strip():
        raise PySparkValueError(
            f"Value for `processingTime` must be a non-empty string, got {value!r}.",
            "VALUE_NOT_NON_EMPTY_STR",
        )
    return Trigger("processing", duration(value))


def duration(text: str) -> float:
    """Seconds of an interval such as ``10 seconds``, ``1 minute 30 seconds`` or ``500ms``.

    >>> duration("1 minute 30 seconds")
    90.0
    """
    body = re.sub(r"^\s*interval\b", "", text.strip(), flags=re.I)
    parts = re.findall(r"([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]+)", body)
    units = {**_UNITS, **{f"{u}s": v for u, v in _UNITS.items()}, **_SHORT}
    rest = re.sub(r"([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]+)", "", body).strip()
    if not parts or rest or any(u.lower() not in units for _, u in parts):
        raise IllegalArgumentException(
            f"Error parsing '{text}' to interval; write it like '10 seconds'", "INVALID_INTERVAL_FORMAT"
        )
    seconds = sum(float(n) * units[u.lower()] for n, u in parts)
    if seconds < 0:
        raise IllegalArgumentException(
            f"requirement failed: the interval of trigger should not be negative: '{text}'; give it as '10 seconds'"
        )
    return float(seconds)
