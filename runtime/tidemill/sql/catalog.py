"""``spark.catalog``: the temporary views and tables that names in SQL mean."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tidemill.errors import AnalysisException
from tidemill.plan import analyze
from tidemill.plan.nodes import Node
from tidemill.sql.column import split_name
from tidemill.sql.tables import TableNote, Warehouse, missing
from tidemill.types import DataType, StructType

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.session import SparkSession

CATALOG, DATABASE, GLOBAL = "spark_catalog", "default", "global_temp"


class CatalogMetadata(NamedTuple):
    name: str
    description: str | None


class Database(NamedTuple):
    name: str
    catalog: str | None
    description: str | None
    locationUri: str


class Table(NamedTuple):
    name: str
    catalog: str | None
    namespace: list[str] | None
    description: str | None
    tableType: str
    isTemporary: bool

    @property
    def database(self) -> str | None:
        return self.namespace[0] if self.namespace else None


class Column(NamedTuple):
    name: str
    description: str | None
    dataType: str
    nullable: bool
    isPartition: bool
    isBucket: bool
    isCluster: bool = False


class Function(NamedTuple):
    name: str
    catalog: str | None
    namespace: list[str] | None
    description: str | None
    className: str
    isTemporary: bool


class Views:
    """Plans by name, in any case; a function makes its plan anew each time, for rows that change."""

    def __init__(self) -> None:
        self._plans: dict[str, Node | Callable[[], Node]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, plan: Node | Callable[[], Node], replace: bool) -> None:
        with self._lock:
            if not replace and name.lower() in self._plans:
                raise AnalysisException(
                    f"Cannot create the temporary view `{name}` because it already exists; drop it, or use "
                    "createOrReplaceTempView",
                    "TEMP_TABLE_OR_VIEW_ALREADY_EXISTS",
                )
            self._plans[name.lower()] = plan

    def get(self, name: str) -> Node | None:
        found = self._plans.get(name.lower())
        return found() if callable(found) else found

    def drop(self, name: str) -> bool:
        with self._lock:
            return self._plans.pop(name.lower(), None) is not None

    def names(self) -> list[str]:
        return sorted(self._plans)


_GLOBAL_VIEWS = Views()
"""Of all sessions in the process, under ``global_temp``."""


class Catalog:
    """Views and tables of one session. Temporary views hide tables of the same name."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._views = Views()
        self._shared = _GLOBAL_VIEWS

    @property
    def _warehouse(self) -> Warehouse:
        return Warehouse(self._session._config.get("spark.sql.warehouse.dir") or "spark-warehouse")

    # --- What a name means ------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Node | None:
        """The plan of a view or table; ``csv.`path``` reads files."""
        parts = split_name(name)
        if parts[:1] == (GLOBAL,):
            return self._shared.get(parts[-1])
        if len(parts) == 1 and (view := self._views.get(name.strip("`"))) is not None:
            return view
        if len(parts) == 2 and parts[0].lower() in ("text", "csv", "json", "parquet", "avro"):
            return self._session.read.format(parts[0].lower()).load(parts[1])._plan
        note = self._note(parts)
        return (
            None
            if note is None
            else self._session.read.format(note.format).schema(note.struct).load(note.path)._plan
        )

    def _note(self, parts: tuple[str, ...]) -> TableNote | None:
        if [p.lower() for p in parts[:-1]] not in ([], [DATABASE], [CATALOG, DATABASE]):
            return None
        return self._warehouse.find(parts[-1])

    def _required(self, name: str) -> Node:
        found = self._find(name)
        if found is None:
            raise missing(name, [*self._views.names(), *self._warehouse.names()])
        return found

    # --- Tables and views -------------------------------------------------------------------------------------------

    def listTables(self, dbName: str | None = None, pattern: str | None = None) -> list[Table]:
        """Tables of the database, then temporary views."""
        found = []
        if dbName in (None, DATABASE):
            found += [self._table(self._warehouse.required(n)) for n in self._warehouse.names()]
        if dbName == GLOBAL:
            found += [Table(n, None, [GLOBAL], None, "TEMPORARY", True) for n in self._shared.names()]
        found += [Table(n, None, [], None, "TEMPORARY", True) for n in self._views.names()]
        return [t for t in found if pattern is None or fnmatch.fnmatch(t.name, pattern)]

    def _table(self, note: TableNote) -> Table:
        kind = "EXTERNAL" if note.external else "MANAGED"
        return Table(note.name, CATALOG, [DATABASE], note.description, kind, False)

    def getTable(self, tableName: str) -> Table:
        if self._views.get(tableName) is not None:
            return Table(tableName, None, [], None, "TEMPORARY", True)
        note = self._note(split_name(tableName))
        if note is None:
            raise missing(tableName, [*self._views.names(), *self._warehouse.names()])
        return self._table(note)

    def tableExists(self, tableName: str, dbName: str | None = None) -> bool:
        name = f"{dbName}.{tableName}" if dbName else tableName
        parts = split_name(name)
        if parts[0] == GLOBAL:
            return self._shared.get(parts[-1]) is not None
        return (len(parts) == 1 and self._views.get(name) is not None) or self._note(parts) is not None

    def listColumns(self, tableName: str, dbName: str | None = None) -> list[Column]:
        plan = self._required(f"{dbName}.{tableName}" if dbName else tableName)
        note = None if self._views.get(tableName) else self._note(split_name(tableName))
        keys = note.partition_by if note else ()
        return [
            Column(a.name, None, a.type.simpleString(), a.nullable, a.name in keys, False)
            for a in plan.output
        ]

    def createTable(
        self,
        tableName: str,
        path: str | None = None,
        source: str | None = None,
        schema: StructType | None = None,
        description: str | None = None,
        **options: str,
    ) -> DataFrame:
        """An empty table with a schema, or one over the files that are at ``path``."""
        kind = (source or self._session._config.get("spark.sql.sources.default") or "parquet").lower()
        if schema is None:
            if path is None:
                raise AnalysisException(
                    f"table {tableName!r} needs a schema or a path", "UNABLE_TO_INFER_SCHEMA"
                )
            schema = self._session.read.format(kind).options(**options).load(path).schema
        self._create(tableName, kind, schema, (), path, description)
        return self._session.table(tableName)

    def createExternalTable(
        self,
        tableName: str,
        path: str | None = None,
        source: str | None = None,
        schema: StructType | None = None,
        **options: str,
    ) -> DataFrame:
        """Another word for `createTable`."""
        return self.createTable(tableName, path, source, schema, **options)

    def _create(
        self,
        name: str,
        kind: str,
        schema: StructType,
        partition_by: tuple[str, ...],
        path: str | None = None,
        description: str | None = None,
    ) -> TableNote:
        parts = split_name(name)
        if self._note(parts) is not None:
            raise AnalysisException(
                f"Cannot create table or view `{name}` because it already exists; drop it or use another mode",
                "TABLE_OR_VIEW_ALREADY_EXISTS",
            )
        warehouse = self._warehouse
        # Partition columns come last, since that is where a reader of the directories finds them.
        keys = [k.lower() for k in partition_by]
        schema = StructType(sorted(schema.fields, key=lambda f: f.name.lower() in keys))
        note = TableNote(
            name=parts[-1].lower(), format=kind, schema=schema.json(), path=path or str(warehouse.path(parts[-1])),
            partition_by=partition_by, description=description, external=path is not None,
        )  # fmt: skip
        warehouse.create(note)
        return note

    def dropTable(self, tableName: str, ifExists: bool = False, purge: bool = False) -> None:
        if not self._warehouse.drop(split_name(tableName)[-1]) and not ifExists:
            raise missing(tableName, self._warehouse.names())

    def dropTempView(self, viewName: str) -> bool:
        """Forget a view; whether there was one."""
        return self._views.drop(viewName)

    def dropView(self, viewName: str, ifExists: bool = False) -> None:
        if not self._views.drop(viewName) and not ifExists:
            raise missing(viewName, self._views.names())

    def dropGlobalTempView(self, viewName: str) -> bool:
        return self._shared.drop(viewName)

    def listViews(self, dbName: str | None = None, pattern: str | None = None) -> list[Table]:
        return [t for t in self.listTables(dbName, pattern) if t.isTemporary]

    # --- Databases and catalogs: one of each ------------------------------------------------------------------------

    def currentCatalog(self) -> str:
        return CATALOG

    def setCurrentCatalog(self, catalogName: str) -> None:
        _only(catalogName, CATALOG, "catalog")

    def listCatalogs(self, pattern: str | None = None) -> list[CatalogMetadata]:
        return [CatalogMetadata(CATALOG, None)]

    def currentDatabase(self) -> str:
        return DATABASE

    def setCurrentDatabase(self, dbName: str) -> None:
        _only(dbName, DATABASE, "database")

    def listDatabases(self, pattern: str | None = None) -> list[Database]:
        return [self.getDatabase(DATABASE)]

    def getDatabase(self, dbName: str) -> Database:
        _only(dbName, DATABASE, "database")
        return Database(DATABASE, CATALOG, "default database", str(self._warehouse.root))

    def databaseExists(self, dbName: str) -> bool:
        return dbName.lower() == DATABASE

    # --- Functions --------------------------------------------------------------------------------------------------

    def registerFunction(
        self, name: str, f: Callable[..., Any], returnType: DataType | str | None = None
    ) -> Any:
        """Another word for ``spark.udf.register``."""
        return self._session.udf.register(name, f, returnType)

    def functionExists(self, functionName: str, dbName: str | None = None) -> bool:
        from tidemill.sql import functions

        return functionName.lower() in self._session.udf._functions or functionName in functions.__all__

    def listFunctions(self, dbName: str | None = None, pattern: str | None = None) -> list[Function]:
        from tidemill.sql import functions

        own = [Function(n, None, None, None, "tidemill", True) for n in sorted(self._session.udf._functions)]
        built = [Function(n, None, None, None, "tidemill", True) for n in functions.__all__]
        return [f for f in (*own, *built) if pattern is None or fnmatch.fnmatch(f.name, pattern)]

    # --- Caching: everything is read anew ---------------------------------------------------------------------------

    def isCached(self, tableName: str) -> bool:
        self._required(tableName)
        return False

    def cacheTable(self, tableName: str, storageLevel: Any = None) -> None:
        """Accepted; the rows of a table are read when they are needed."""
        self._required(tableName)

    def uncacheTable(self, tableName: str) -> None:
        self._required(tableName)

    def clearCache(self) -> None:
        """Nothing to clear."""

    def refreshTable(self, tableName: str) -> None:
        """Nothing to do: a read looks at the files anew."""
        self._required(tableName)

    def refreshByPath(self, path: str) -> None:
        """Nothing to do: a read looks at the files anew."""


def _only(given: str, known: str, what: str) -> None:
    if given.lower() != known:
        raise AnalysisException(
            f"The {what} `{given}` cannot be found; there is only {known!r}", "SCHEMA_NOT_FOUND"
        )


def named_plan(plan: Node, name: str) -> Node:
    """A view's or table's plan under its name, so that ``name.column`` finds its columns."""
    return analyze.alias(plan, split_name(name)[-1])
