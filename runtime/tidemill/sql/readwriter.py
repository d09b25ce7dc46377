"""``spark.read`` and ``df.write``: sources and sinks as a batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tidemill import launch, sources
from tidemill.errors import AnalysisException, PySparkNotImplementedError, did_you_mean
from tidemill.plan import analyze
from tidemill.sinks.options import Wiring
from tidemill.sql import values
from tidemill.sql.arguments import wrong_type
from tidemill.sql.options import OptionSetter
from tidemill.types import StructType, parse_ddl

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.session import SparkSession

Paths = str | Sequence[str]


def wiring(session: SparkSession, schema: StructType) -> Wiring:
    """What a sink of rows of ``schema`` needs of its session."""
    return Wiring(
        time_zone=session._zone,
        warehouse=session._config.get("spark.sql.warehouse.dir") or "spark-warehouse",
        make_frame=lambda table: session._local(table, schema),
        make_rows=functools.partial(values.rows, schema=schema),
    )


class Reader(OptionSetter):
    """The part of batch and streaming readers that is the same."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._format = None
        self._options = {}
        self._schema: StructType | None = None

    def _set_schema(self, schema: StructType | str) -> None:
        if isinstance(schema, str):
            self._schema = parse_ddl(schema)
        elif isinstance(schema, StructType):
            self._schema = schema
        else:
            wrong_type("schema", "StructType or str", schema)

    def _scan(self, streaming: bool, name: str = "") -> DataFrame:
        kind = (self._format or self._session._config.get("spark.sql.sources.default") or "parquet").lower()
        # What a batch would infer, a stream may too, if the session says so.
        given = streaming and not self._session._config.flag("spark.sql.streaming.schemaInference")
        found = sources.reader_schema(kind, self._options, self._schema, given)
        plan = analyze.scan(kind, self._options, found, streaming, name, user_schema=self._schema)
        return self._session._frame(plan)


class DataFrameReader(Reader):
    """Reads what a source holds now."""

    def schema(self, schema: StructType | str) -> DataFrameReader:
        """The columns' names and types, instead of inferring them."""
        self._set_schema(schema)
        return self

    def load(
        self,
        path: Paths | None = None,
        format: str | None = None,
        schema: StructType | str | None = None,
        **options: Any,
    ) -> DataFrame:
        """The rows of one or several paths, or of a source that needs none."""
        if format is not None:
            self.format(format)
        if schema is not None:
            self.schema(schema)
        self.options(**options)
        if path is None:
            return self._scan(streaming=False)
        paths = [path] if isinstance(path, str) else list(path)
        if not paths:
            raise AnalysisException("load() was given an empty list of paths")
        frames = []
        for each in paths:
            self.option("path", each)
            frames.append(self._scan(streaming=False))
        return functools.reduce(lambda a, b: a.union(b), frames)

    def csv(
        self,
        path: Paths,
        schema: StructType | str | None = None,
        sep: str | None = None,
        encoding: str | None = None,
        quote: str | None = None,
        escape: str | None = None,
        comment: str | None = None,
        header: bool | str | None = None,
        inferSchema: bool | str | None = None,
        **options: Any,
    ) -> DataFrame:
        """Comma-separated values."""
        self.options(
            sep=sep, encoding=encoding, quote=quote, escape=escape, comment=comment, header=header,
            inferSchema=inferSchema,
        )  # fmt: skip
        return self.load(path, "csv", schema, **options)

    def json(self, path: Paths, schema: StructType | str | None = None, **options: Any) -> DataFrame:
        """One JSON object a line."""
        return self.load(path, "json", schema, **options)

    def parquet(self, *paths: str, **options: Any) -> DataFrame:
        return self.load(list(paths), "parquet", **options)

    def text(
        self, paths: Paths, wholetext: bool = False, lineSep: str | None = None, **options: Any
    ) -> DataFrame:
        """A row for each line, in the column ``value``."""
        return self.load(paths, "text", wholetext=wholetext or None, lineSep=lineSep, **options)

    def orc(self, path: Paths, **options: Any) -> DataFrame:
        return self.load(path, "orc", **options)

    def table(self, tableName: str) -> DataFrame:
        return self._session.table(tableName)

    def jdbc(self, url: str, table: str, **options: Any) -> DataFrame:
        """Refused: there is no JDBC without a JVM."""
        raise PySparkNotImplementedError(
            f"jdbc({url!r}) needs a JVM; read the table with the database's own client or DuckDB, and pass the rows to "
            "createDataFrame",
            "NOT_IMPLEMENTED",
        )


class DataFrameWriter(OptionSetter):
    """Writes the rows of a DataFrame that does not stream."""

    def __init__(self, df: DataFrame) -> None:
        self._df = df
        self._format = None
        self._options = {}
        self._mode = "errorifexists"
        self._partition_by: tuple[str, ...] = ()

    _MODES = ("append", "overwrite", "ignore", "error", "errorifexists", "default")

    def mode(self, saveMode: str | None) -> DataFrameWriter:
        """What to do where something is already: append, overwrite, ignore, or error (the default)."""
        if saveMode is None:
            return self
        if saveMode.lower() not in self._MODES:
            raise AnalysisException(
                f'The specified save mode "{saveMode}" is invalid. Valid save modes include "append", "overwrite", '
                f'"ignore", "error", "errorifexists", and "default"{did_you_mean(saveMode, self._MODES)}.',
                "INVALID_SAVE_MODE",
            )
        lower = saveMode.lower()
        self._mode = "errorifexists" if lower in ("error", "default") else lower
        return self

    def partitionBy(self, *cols: str | list[str]) -> DataFrameWriter:
        """A directory for each value of these columns."""
        self._partition_by = names_of(cols)
        return self

    def save(
        self,
        path: str | None = None,
        format: str | None = None,
        mode: str | None = None,
        partitionBy: str | list[str] | None = None,
        **options: Any,
    ) -> None:
        """Compute the rows and write them."""
        self.mode(mode).options(**options)
        if format is not None:
            self.format(format)
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        self.option("path", path)
        session = self._df._session
        kind = (self._format or session._config.get("spark.sql.sources.default") or "parquet").lower()
        spec = launch.SinkSpec(
            kind, self._options, self._partition_by, self._mode, wiring=wiring(session, self._df.schema)
        )
        launch.write(self._df._plan, spec, session._run_context())

    def saveAsTable(
        self,
        name: str,
        format: str | None = None,
        mode: str | None = None,
        partitionBy: str | list[str] | None = None,
        **options: Any,
    ) -> None:
        """Write the rows as a table of the catalog."""
        self.mode(mode)
        if format is not None:
            self.format(format)
        if partitionBy is not None:
            self.partitionBy(partitionBy)
        catalog = self._df._session.catalog
        there = catalog.tableExists(name)
        if there and self._mode == "errorifexists":
            raise AnalysisException(
                f"Cannot create table or view `{name}` because it already exists; drop it or use another mode",
                "TABLE_OR_VIEW_ALREADY_EXISTS",
            )
        if there and self._mode == "ignore":
            return None
        rows = self._df._materialised() if there and self._mode == "overwrite" else self._df
        if there and self._mode == "overwrite":
            catalog.dropTable(name)
        if there and self._mode == "append":
            known = catalog._warehouse.required(name.rsplit(".", 1)[-1]).struct.names
            return self._df.select(*known).write.insertInto(name)
        kind = (self._format or "parquet").lower()
        note = catalog._create(name, kind, self._df.schema, self._partition_by, self._options.get("path"))
        writer = rows.write.options(**{**self._options, **options}).partitionBy(list(self._partition_by))
        return writer.mode("append").save(note.path, kind)

    def insertInto(self, tableName: str, overwrite: bool | None = None) -> None:
        """Add the rows to a table, columns by position."""
        note = self._df._session.catalog._warehouse.required(tableName.rsplit(".", 1)[-1])
        schema = note.struct
        if len(schema.fields) != len(self._df.columns):
            raise AnalysisException(
                f"table `{tableName}` has {len(schema.fields)} columns ({', '.join(schema.names)}), and "
                f"{len(self._df.columns)} were given",
                "INSERT_COLUMN_ARITY_MISMATCH",
            )
        rows = self._df.toDF(*schema.names).to(schema)
        if overwrite or self._mode == "overwrite":
            rows = rows._materialised()
            self._df._session.catalog._warehouse.drop(note.name)
            self._df._session.catalog._warehouse.create(note)
        rows.write.partitionBy(list(note.partition_by)).mode("append").save(note.path, note.format)

    def csv(self, path: str, mode: str | None = None, **options: Any) -> None:
        self.save(path, "csv", mode, **options)

    def json(self, path: str, mode: str | None = None, **options: Any) -> None:
        self.save(path, "json", mode, **options)

    def parquet(
        self, path: str, mode: str | None = None, partitionBy: str | list[str] | None = None, **options: Any
    ) -> None:
        self.save(path, "parquet", mode, partitionBy, **options)

    def text(self, path: str, **options: Any) -> None:
        self.save(path, "text", **options)

    def orc(self, path: str, mode: str | None = None, **options: Any) -> None:
        self.save(path, "orc", mode, **options)


def names_of(cols: tuple[Any, ...] | str | list[str]) -> tuple[str, ...]:
    """Column names given one by one or as one list."""
    flat = (
        cols[0] if isinstance(cols, tuple) and len(cols) == 1 and isinstance(cols[0], (list, tuple)) else cols
    )
    flat = (flat,) if isinstance(flat, str) else flat
    for name in flat:
        if not isinstance(name, str):
            wrong_type("cols", "str", name)
    return tuple(flat)
