"""SQL text as ``spark.sql`` runs it: queries become DataFrames, commands change the catalog at once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tidemill.errors import AnalysisException, PySparkTypeError, did_you_mean
from tidemill.plan.dialect import TidemillSpark, parse_query
from tidemill.plan.nodes import Node
from tidemill.sql.column import Column, tree
from tidemill.sql.explain import explain
from tidemill.sql.literals import literal
from tidemill.types import StructField, StructType, parse_type

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame
    from tidemill.sql.session import SparkSession

_names = itertools.count(1)
_SET = re.compile(r"\s*SET(?:\s+(?!TIME\s+ZONE)([^=\s]+)\s*(?:=\s*(.*))?)?\s*;?\s*", re.I | re.S)
_ZONE = re.compile(r"\s*SET\s+TIME\s+ZONE\s+'?([^']+?)'?\s*;?\s*", re.I)
_SHOW = re.compile(r"\s*SHOW\s+(TABLES|VIEWS|DATABASES|SCHEMAS)\s*;?\s*", re.I)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:EXTENDED\s|FORMATTED\s|COST\s|CODEGEN\s)?\s*(.*)", re.I | re.S)


def run(session: SparkSession, text: str, args: Any, values: dict[str, Any]) -> DataFrame:
    """The DataFrame of a query, or what a command answers."""
    if (zone := _ZONE.fullmatch(text)) is not None:
        session.conf.set("spark.sql.session.timeZone", zone[1])
        return _none(session)
    if (setting := _SET.fullmatch(text)) is not None:
        return _set(session, setting[1], setting[2])
    if (shown := _SHOW.fullmatch(text)) is not None:
        return _show(session, shown[1].upper())
    if (explained := _EXPLAIN.fullmatch(text)) is not None:
        found = run(session, explained[1], args, values)
        return session.createDataFrame([(explain(found._plan),)], "plan STRING")
    frames: dict[str, Node] = {}
    parsed = parse_query(_filled(text, values, frames))
    parsed = parsed.transform(_Arguments(args).fill, copy=False)
    parsed = session.udf.bound(parsed)
    lookup = lambda name: frames.get(name.lower()) or session.catalog._find(name)  # noqa: E731
    for kind, command in _COMMANDS.items():
        if isinstance(parsed, kind):
            return command(session, parsed, lookup)
    if isinstance(parsed, exp.Command):
        raise _unknown(parsed)
    return session._frame(_plan(session, parsed, lookup))


Lookup = Callable[[str], Node | None]


def _plan(session: SparkSession, parsed: exp.Expression, lookup: Lookup) -> Node:
    from tidemill.plan.sqltext import tree_to_plan

    return tree_to_plan(parsed, lookup, session._settings())


# --- What goes into the text ----------------------------------------------------------------------------------------


class _Arguments:
    """Values for ``:name`` and ``?``: literals and columns, never text that could be read as SQL."""

    def __init__(self, args: Any) -> None:
        if args is not None and not isinstance(args, (dict, list, tuple)):
            raise PySparkTypeError(
                f"Argument `args` should be dict or list, got {type(args).__name__}.", "INVALID_TYPE"
            )
        self.args = args or {}
        self.used = 0

    def fill(self, e: exp.Expression) -> exp.Expression:
        if not isinstance(e, exp.Placeholder):
            return e
        if e.this:
            return self._value(str(e.this))
        self.used += 1
        if isinstance(self.args, dict) or self.used > len(self.args):
            raise _unbound(f"_{self.used - 1}", "?", len(self.args))
        return tree(self.args[self.used - 1])

    def _value(self, name: str) -> exp.Expression:
        if not isinstance(self.args, dict) or name not in self.args:
            raise _unbound(name, f":{name}", len(self.args), did_you_mean(name, self.args or ()))
        return tree(self.args[name])


def _unbound(name: str, shown: str, given: int, hint: str = "") -> AnalysisException:
    return AnalysisException(
        f"Found the unbound parameter: {name}. Give `args` a value for {shown!r}; it has {given}{hint}",
        "UNBOUND_SQL_PARAMETER",
    )


def _filled(text: str, values: dict[str, Any], frames: dict[str, Node]) -> str:
    """``{name}`` in the text: a DataFrame becomes a table name, a column or value its SQL."""
    from tidemill.sql.dataframe import DataFrame

    def piece(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise AnalysisException(
                f"{{{name}}} has no value{did_you_mean(name, values)}", "UNBOUND_SQL_PARAMETER"
            )
        value = values[name]
        if isinstance(value, DataFrame):
            table = f"_frame_{next(_names)}"
            frames[table] = value._plan
            return f"{table} AS {name}" if name.isidentifier() else table
        shown = tree(value) if isinstance(value, Column) else literal(value)
        return str(shown.sql(dialect=TidemillSpark))

    return re.sub(r"\{(\w+)\}", piece, text) if values else text


# --- Commands -------------------------------------------------------------------------------------------------------


def _none(session: SparkSession) -> DataFrame:
    return session.createDataFrame([], StructType())


def _set(session: SparkSession, key: str | None, value: str | None) -> DataFrame:
    if key is None:
        pairs = sorted(session._config.all().items())
    elif value is None:
        pairs = [(key, session.conf.get(key, "<undefined>") or "")]
    else:
        session.conf.set(key, value.strip().strip("'\""))
        pairs = [(key, value.strip())]
    return session.createDataFrame(pairs, "key STRING, value STRING")


def _create(session: SparkSession, e: exp.Create, lookup: Lookup) -> DataFrame:
    kinds = e.args["properties"].expressions if e.args.get("properties") else []
    table = e.this.this if isinstance(e.this, exp.Schema) else e.this
    name, replace = _name(table), bool(e.args.get("replace"))
    if e.args.get("kind") == "VIEW":
        if not any(isinstance(k, exp.TemporaryProperty) for k in kinds):
            raise AnalysisException(
                f"view {name!r} would have to be kept for ever, and there is no metastore; CREATE TEMPORARY VIEW",
                "UNSUPPORTED_FEATURE",
            )
        shared = any(isinstance(k, exp.GlobalProperty) for k in kinds)
        views = session.catalog._shared if shared else session.catalog._views
        views.put(name, _plan(session, e.expression, lookup), replace)
        return _none(session)
    if e.args.get("kind") != "TABLE":
        raise _unknown(e)
    if session.catalog.tableExists(name) and e.args.get("exists"):
        return _none(session)
    found = next((str(k.this.name) for k in kinds if isinstance(k, exp.FileFormatProperty)), "parquet")
    if e.expression is not None and e.expression.args:
        session._frame(_plan(session, e.expression, lookup)).write.saveAsTable(name, found.lower())
    else:
        session.catalog._create(name, found.lower(), _columns(e.this), ())
    return _none(session)


def _columns(schema: exp.Expression) -> StructType:
    definitions = [d for d in schema.expressions if isinstance(d, exp.ColumnDef)]
    return StructType(
        StructField(d.name, parse_type(d.args["kind"].sql(dialect="spark"))) for d in definitions
    )


def _drop(session: SparkSession, e: exp.Drop, lookup: Lookup) -> DataFrame:
    for table in e.args.get("tables") or [e.this]:
        name, exists = _name(table), bool(e.args.get("exists"))
        if str(e.args.get("kind")).upper() == "VIEW":
            if name.lower().startswith("global_temp."):
                session.catalog.dropGlobalTempView(name.partition(".")[2])
            else:
                session.catalog.dropView(name, exists)
        else:
            session.catalog.dropTable(name, exists)
    return _none(session)


def _insert(session: SparkSession, e: exp.Insert, lookup: Lookup) -> DataFrame:
    target = e.this.this if isinstance(e.this, exp.Schema) else e.this
    rows = session._frame(_plan(session, e.expression, lookup))
    rows.write.insertInto(_name(target), bool(e.args.get("overwrite")))
    return _none(session)


def _describe(session: SparkSession, e: exp.Describe, lookup: Lookup) -> DataFrame:
    is_table = isinstance(e.this, exp.Table)
    plan = session.catalog._required(_name(e.this)) if is_table else _plan(session, e.this, lookup)
    rows = [(a.name, a.type.simpleString(), None) for a in plan.output]
    return session.createDataFrame(rows, "col_name STRING, data_type STRING, comment STRING")


def _show(session: SparkSession, what: str) -> DataFrame:
    if what in ("TABLES", "VIEWS"):
        found = session.catalog.listTables() if what == "TABLES" else session.catalog.listViews()
        rows = [(t.database or "", t.name, t.isTemporary) for t in found]
        return session.createDataFrame(rows, "namespace STRING, tableName STRING, isTemporary BOOLEAN")
    return session.createDataFrame([("default",)], "namespace STRING")


def _accepted(session: SparkSession, e: exp.Expression, lookup: Lookup) -> DataFrame:
    return _none(session)


def _use(session: SparkSession, e: exp.Use, lookup: Lookup) -> DataFrame:
    session.catalog.setCurrentDatabase(_name(e.this))
    return _none(session)


def _unknown(e: exp.Expression) -> AnalysisException:
    return AnalysisException(
        f"this statement does not exist in Tidemill: {e.sql(dialect='spark')}; it knows queries, CREATE TEMPORARY "
        "VIEW, CREATE TABLE, INSERT, DROP, DESCRIBE, SHOW TABLES, EXPLAIN and SET",
        "UNSUPPORTED_FEATURE",
    )


def _name(table: exp.Expression) -> str:
    return ".".join(p.name for p in table.parts) if isinstance(table, exp.Table) else table.name


_COMMANDS: dict[type[exp.Expression], Callable[..., DataFrame]] = {
    exp.Create: _create,
    exp.Drop: _drop,
    exp.Insert: _insert,
    exp.Describe: _describe,
    exp.Use: _use,
    exp.Cache: _accepted,
    exp.Uncache: _accepted,
}
