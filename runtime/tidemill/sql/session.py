"""`SparkSession`: where programs begin."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import tidemill
from tidemill.config import Config
from tidemill.errors import PySparkNotImplementedError, PySparkRuntimeError
from tidemill.plan import analyze
from tidemill.plan.nodes import Node
from tidemill.sql.arguments import expect
from tidemill.sql.catalog import Catalog, named_plan
from tidemill.sql.conf import RuntimeConfig
from tidemill.sql.data import Schema, local_rows
from tidemill.sql.udf import UDFRegistration
from tidemill.types import StructType, parse_ddl

if TYPE_CHECKING:
    from tidemill.engine.base import Engine
    from tidemill.launch import Context
    from tidemill.plan.expressions import Settings
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.readwriter import DataFrameReader
    from tidemill.sql.streaming.manager import StreamingQueryManager
    from tidemill.sql.streaming.readwriter import DataStreamReader

log = logging.getLogger("tidemill.session")

_lock = threading.RLock()
_sessions: list[SparkSession] = []
"""Sessions that have not been stopped, the active one last."""


class Builder:
    """Settings of a session to be; ``SparkSession.builder`` makes a new one each time."""

    def __init__(self) -> None:
        self._options: dict[str, Any] = {}

    def appName(self, name: str) -> Builder:
        """The program's name, for logs."""
        return self.config("spark.app.name", name)

    def master(self, master: str) -> Builder:
        """Accepted so that programs run unchanged: this machine's threads run the session, whatever it says."""
        if not master.startswith("local"):
            log.info("master %r is noted and not used: executors come from the job's manifest", master)
        return self.config("spark.master", master)

    def config(
        self,
        key: str | None = None,
        value: Any = None,
        conf: Any = None,
        *,
        map: dict[str, Any] | None = None,
    ) -> Builder:
        """One setting, or several by ``map``."""
        if conf is not None:
            self._options.update(conf.getAll() if callable(getattr(conf, "getAll", None)) else dict(conf))
        self._options.update(map or {})
        if key is not None:
            self._options[key] = value
        return self

    def remote(self, url: str) -> Builder:
        """Refused: there is no Spark Connect server here."""
        raise PySparkNotImplementedError(
            f"remote({url!r}) needs a Spark Connect server; leave it out, and the session runs in this process",
            "NOT_IMPLEMENTED",
        )

    def enableHiveSupport(self) -> Builder:
        """Refused: tables live in ``spark.sql.warehouse.dir``, not in a Hive metastore."""
        raise PySparkNotImplementedError(
            "there is no Hive metastore; leave out enableHiveSupport(), and tables live in spark.sql.warehouse.dir",
            "NOT_IMPLEMENTED",
        )

    def getOrCreate(self) -> SparkSession:
        """The active session with these settings, or a new one."""
        with _lock:
            if not _sessions:
                return SparkSession(Config(self._options))
            session = _sessions[-1]
            for key, value in self._options.items():
                session._config.set(key, value)
            return session

    def create(self) -> SparkSession:
        """A new session with these settings."""
        return SparkSession(Config(self._options))


def open_sessions() -> list[SparkSession]:
    """Sessions that have not been stopped, the active one last."""
    with _lock:
        return list(_sessions)


class _BuilderProperty:
    def __get__(self, instance: object, owner: type) -> Builder:
        return Builder()


class SparkContext:
    """The little of Spark's context that SQL programs touch."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    @property
    def appName(self) -> str:
        return self._session._config.get("spark.app.name") or ""

    @property
    def master(self) -> str:
        return self._session._config.get("spark.master") or ""

    @property
    def version(self) -> str:
        return self._session.version

    @property
    def defaultParallelism(self) -> int:
        return self._session._threads()

    def setLogLevel(self, logLevel: str) -> None:
        """The level of Tidemill's own logs."""
        names = {"ALL": "DEBUG", "TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL", "OFF": "CRITICAL"}
        logging.getLogger("tidemill").setLevel(names.get(logLevel.upper(), logLevel.upper()))

    def stop(self) -> None:
        self._session.stop()


class SparkSession:
    """Makes DataFrames, runs SQL, and keeps settings, views and running queries.

    >>> spark = SparkSession.builder.appName("docs").getOrCreate()
    >>> spark.range(3).count()
    3
    """

    builder = _BuilderProperty()
    Builder = Builder

    def __init__(self, config: Config, context: Context | None = None) -> None:
        self._config = config
        self._context = context
        self._stopped = False
        self._streams: StreamingQueryManager | None = None
        self.conf = RuntimeConfig(config)
        self.catalog = Catalog(self)
        self.udf = UDFRegistration()
        with _lock:
            _sessions.append(self)

    # --- Life -------------------------------------------------------------------------------------------------------

    @classmethod
    def getActiveSession(cls) -> SparkSession | None:
        """The session made or used last that was not stopped, if any."""
        with _lock:
            return _sessions[-1] if _sessions else None

    @classmethod
    def active(cls) -> SparkSession:
        """The active session; an error if there is none."""
        found = cls.getActiveSession()
        if found is None:
            raise PySparkRuntimeError(
                "No active or default Spark session found; call SparkSession.builder.getOrCreate()",
                "NO_ACTIVE_OR_DEFAULT_SESSION",
            )
        return found

    def newSession(self) -> SparkSession:
        """A session with settings, views and functions of its own, on the same engine."""
        return SparkSession(Config(self._config.explicit()), dataclasses.replace(self._run_context()))

    def stop(self) -> None:
        """Stop this session's queries, each after the batch that is open, and forget the session."""
        if self._stopped:
            return
        self._stopped = True
        if self._streams is not None:
            for query in self._streams.active:
                query.stop()
        with _lock:
            if self in _sessions:
                _sessions.remove(self)
            last = not _sessions
        context = self._context
        if last and context is not None and context.cluster is not None and not context.lent:
            context.cluster.close()

    def __enter__(self) -> SparkSession:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def version(self) -> str:
        """Tidemill's version."""
        return tidemill.__version__

    @property
    def sparkContext(self) -> SparkContext:
        return SparkContext(self)

    # --- Making DataFrames ------------------------------------------------------------------------------------------

    def createDataFrame(
        self,
        data: Any,
        schema: Schema = None,
        samplingRatio: float | None = None,
        verifySchema: bool = True,
    ) -> DataFrame:
        """A DataFrame of rows that the program holds.

        ``data``: a list of tuples, dicts, Rows or objects, or of plain values with a plain type; a pandas DataFrame, an
        Arrow table or a numpy array. ``schema``: a type, DDL text, the column names, or None to infer it from all rows.

        >>> spark = SparkSession.builder.getOrCreate()
        >>> spark.createDataFrame([(1, "a")], "id INT, name STRING").collect()
        [Row(id=1, name='a')]
        """
        table, found = local_rows(data, schema, self._zone, verifySchema)
        return self._frame(analyze.local(table, found))

    def range(
        self, start: int, end: int | None = None, step: int = 1, numPartitions: int | None = None
    ) -> DataFrame:
        """The BIGINT column ``id`` from ``start`` (0 if only one number is given) up to and without ``end``."""
        low, high = (0, start) if end is None else (start, end)
        return self._frame(analyze.range_(int(low), int(high), int(step)))

    def table(self, tableName: str) -> DataFrame:
        """A table or view by its name."""
        expect(tableName, str, "tableName", "str")
        return self._frame(named_plan(self.catalog._required(tableName), tableName))

    def emptyDataFrame(self, schema: StructType | str) -> DataFrame:
        """No rows of a schema."""
        return self.createDataFrame([], schema)

    def sql(self, sqlQuery: str, args: dict[str, Any] | list[Any] | None = None, **kwargs: Any) -> DataFrame:
        """The result of SQL text, or of a command such as ``CREATE TEMPORARY VIEW``.

        ``args`` fill in ``:name`` from a dict and ``?`` from a list; ``kwargs`` fill in ``{name}`` with a DataFrame or
        a value.

        >>> spark = SparkSession.builder.getOrCreate()
        >>> spark.sql("SELECT :n + 1 AS n", {"n": 41}).collect()
        [Row(n=42)]
        """
        from tidemill.sql.statements import run

        expect(sqlQuery, str, "sqlQuery", "str")
        return run(self, sqlQuery, args, kwargs)

    @property
    def read(self) -> DataFrameReader:
        """Reads files and other sources as they are now."""
        from tidemill.sql.readwriter import DataFrameReader

        return DataFrameReader(self)

    @property
    def readStream(self) -> DataStreamReader:
        """Reads sources as streams."""
        from tidemill.sql.streaming.readwriter import DataStreamReader

        return DataStreamReader(self)

    @property
    def streams(self) -> StreamingQueryManager:
        """The running queries of this session."""
        from tidemill.sql.streaming.manager import StreamingQueryManager

        with _lock:
            if self._streams is None:
                self._streams = StreamingQueryManager(self)
            return self._streams

    # --- Inside -----------------------------------------------------------------------------------------------------

    @property
    def _zone(self) -> str:
        return self._config.get("spark.sql.session.timeZone") or "UTC"

    def _settings(self) -> Settings:
        from tidemill.plan.expressions import Settings

        return Settings(
            time_zone=self._zone,
            ansi=self._config.flag("spark.sql.ansi.enabled"),
            case_sensitive=self._config.flag("spark.sql.caseSensitive"),
        )

    def _run_context(self) -> Context:
        """The engine's context with the settings as they are now; all of a session's contexts share one engine."""
        from tidemill.launch import Context

        with _lock:
            if self._context is None:
                threads = self._config.explicit().get("tidemill.threads")
                self._context = Context(threads=int(threads) if threads else None)
                if executors := int(self._config.explicit().get("tidemill.executors") or 0):
                    silent = self._config.milliseconds("tidemill.executorTimeout") / 1000
                    name = self._config.get("spark.app.name") or ""
                    self._context.cluster = _cluster(executors, name, silent)
            _ = self._context.local  # made now, so that the copies below share it
            return dataclasses.replace(self._context, settings=self._settings(), listen=self.streams._heard)

    def _threads(self) -> int:
        import os

        return int(self._config.explicit().get("tidemill.threads") or os.cpu_count() or 1)

    def _collect(self, plan: Node) -> pa.Table:
        from tidemill import launch

        return launch.collect(plan, self._run_context())

    def _frame(self, plan: Node) -> DataFrame:
        from tidemill.sql.dataframe import DataFrame

        return DataFrame(plan, self)

    def _local(self, table: pa.Table, schema: StructType) -> DataFrame:
        """Rows in the engine's own types as a DataFrame."""
        return self._frame(analyze.local(table, schema))


def _cluster(executors: int, job: str, silent: float) -> Engine:
    """Executors of this process's own, which end with it."""
    import atexit

    from tidemill.engine.processes import LocalCluster

    cluster = LocalCluster(executors, job=job, silent=silent)
    atexit.register(cluster.close)
    return cluster


def schema_of(schema: StructType | str) -> StructType:
    """A schema, or DDL text of one."""
    if isinstance(schema, str):
        return parse_ddl(schema)
    expect(schema, StructType, "schema", "StructType or str")
    return schema
