"""DuckDB in process: one `Kernel` per process, one `Session` (a cursor) per thread of work.

Functions that DuckDB lacks are Python ones over Arrow (`tidemill.kernel.macros`). A session registers one when a query
first names it, so that a program pays only for what it uses.
"""

from __future__ import annotations

import contextlib
import re
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from tidemill.kernel import failures, macros
from tidemill.kernel.udf import UserFunction, registration

_UNKNOWN_FUNCTION = re.compile(r"Function with name \"?(tm_\w+)\"? does not exist")

SETTINGS: Mapping[str, Any] = {
    # Instants are naive UTC inside; a zone of the machine must never show through.
    "TimeZone": "UTC",
    # A local variable that happens to be named like a table must not be scanned.
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    # Rows keep the order of their input where the plan says nothing else, as users of a laptop expect.
    "preserve_insertion_order": True,
}


class Kernel:
    """One DuckDB instance. ``threads`` is one setting for all of its sessions; None: one per core."""

    def __init__(self, threads: int | None = None) -> None:
        config = {k: str(v) for k, v in SETTINGS.items() if k != "TimeZone"}
        if threads is not None:
            config["threads"] = str(threads)
        self._root = duckdb.connect(":memory:", config=config)
        self._root.execute(f"SET GLOBAL TimeZone = '{SETTINGS['TimeZone']}'")
        self._lock = threading.Lock()
        self._known: set[str] = set()
        # DuckDB holds Python functions in a way that Python's collector cannot see through: let go of them in time.
        self._closing = weakref.finalize(self, _let_go, self._root, self._known)

    def session(self) -> Session:
        """A cursor of its own: temporary tables and inputs are not seen by others."""
        return Session(self)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            return self._root.cursor()

    def hash_mark(self) -> str:
        """What `hash` makes of one value of each sort: state is found by it, and DuckDB promises nothing about it from
        version to version."""
        values = "42::BIGINT, 'tide', 1.5::DOUBLE, 2.50::DECIMAL(18, 2), TIMESTAMP '2024-01-01', {'a': [1]}, NULL::INTEGER"
        with self.cursor() as cursor:
            found = cursor.execute(f"SELECT hash({values})").fetchone()
        assert found is not None
        return f"{found[0]:016x}"

    def close(self) -> None:
        """Let go of the instance and of the functions that it knows; sessions end with it. May be called twice."""
        self._closing()

    def define(self, name: str) -> None:
        """Register the kernel function ``name`` once for all sessions; the name carries its parameters."""
        with self._lock:
            if name in self._known:
                return
            function = macros.build(name)
            self._root.create_function(
                name, function.call, None, function.returns, type="arrow", null_handling="special",
                side_effects=function.volatile,
            )  # fmt: skip
            self._known.add(name)

    def register(self, function: UserFunction) -> None:
        """Register a user's function once for all sessions."""
        with self._lock:
            if function.sql_name in self._known:
                return
            call, returns = registration(function)
            self._root.create_function(
                function.sql_name, call, None, returns, type="arrow", null_handling="special",
                side_effects=not function.deterministic,
            )  # fmt: skip
            self._known.add(function.sql_name)


def _let_go(root: duckdb.DuckDBPyConnection, functions: set[str]) -> None:
    for name in functions:
        with contextlib.suppress(duckdb.Error):
            root.remove_function(name)
    functions.clear()
    root.close()


class Session:
    """A cursor of a kernel, for one thread at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.cursor = kernel.cursor()
        self._now: int | None = None

    def run(
        self,
        sql: str,
        inputs: Mapping[str, pa.Table] | None = None,
        now_us: int | None = None,
        schema: pa.Schema | None = None,
    ) -> pa.Table:
        """The rows of ``sql`` over ``inputs``, which it may name as tables.

        ``now_us`` is the batch timestamp, microseconds since 1970 UTC, that current_timestamp() answers. With ``schema``
        the answer is brought to these Arrow types. Raises `SparkRuntimeException` with Spark's condition.
        """
        if now_us is not None and now_us != self._now:
            self.cursor.execute(f"SET VARIABLE tidemill_now = make_timestamp({now_us}::BIGINT)")
            self._now = now_us
        for name, table in (inputs or {}).items():
            self.cursor.register(name, table)
        try:
            found = self._execute(sql)
        finally:
            for name in inputs or {}:
                self.cursor.unregister(name)
        return conform(found, schema) if schema is not None else found

    def _execute(self, sql: str) -> pa.Table:
        while True:
            try:
                found = self.cursor.sql(sql)
                return found.to_arrow_table() if found is not None else pa.table({})
            except duckdb.CatalogException as error:
                missing = _UNKNOWN_FUNCTION.search(str(error))
                if not missing:
                    raise failures.translate(error) from None
                self._kernel.define(missing.group(1))
            except duckdb.Error as error:
                raise failures.translate(error) from None

    def register_functions(self, functions: Iterable[UserFunction]) -> None:
        for function in functions:
            self._kernel.register(function)

    def close(self) -> None:
        self.cursor.close()


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with the names and types of ``schema``; columns go by position."""
    if table.schema.equals(schema):
        return table
    columns = [_conformed(c, f.type) for c, f in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _conformed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(kind):
        return column
    if column.type == pa.month_day_nano_interval() and pa.types.is_duration(kind):
        return pa.chunked_array([_durations(chunk, kind) for chunk in column.chunks], type=kind)
    return column.cast(kind)


def _durations(chunk: pa.Array, kind: pa.DataType) -> pa.Array:
    values = [
        None if v is None else (v.days * 86_400_000_000 + v.nanoseconds // 1000) for v in chunk.to_pylist()
    ]
    return pa.array(values, pa.int64()).cast(pa.duration("us")).cast(kind)


__all__ = ["Kernel", "Session", "conform"]
