"""The one place where the parts are wired together: a plan becomes rows, a written output, or a running query."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from tidemill import sinks, sources
from tidemill.checkpoint import open_, open_store
from tidemill.checkpoint.base import CheckpointLog
from tidemill.checkpoint.entry import damaged
from tidemill.driver.loop import KEY, Query, StepHook
from tidemill.driver.machine import Machine, Rules, Trigger
from tidemill.driver.run import QueryRun
from tidemill.driver.signature import compare, signature
from tidemill.engine.base import Engine
from tidemill.engine.local import LocalEngine
from tidemill.errors import AnalysisException, PySparkValueError
from tidemill.executor.work import SHARDS, Recipe, Work
from tidemill.kernel.mapping import mapped
from tidemill.plan.bare import held
from tidemill.plan.check import UNSUPPORTED, check_streaming
from tidemill.plan.expressions import Settings
from tidemill.plan.incremental import Split, split
from tidemill.plan.nodes import LocalData, MapBatches, Node, OutputMode, Scan
from tidemill.plan.physical import Relation, arrow_fields, column
from tidemill.plan.pruning import prune
from tidemill.plan.pushdown import push_filters
from tidemill.sinks.base import Sink
from tidemill.sinks.encoding import Encoding
from tidemill.sinks.options import Wiring
from tidemill.sources.base import Source
from tidemill.sources.making import MakeSource
from tidemill.sources.readers import CORRUPT
from tidemill.sources.segments import LIMIT
from tidemill.types import StructType

NO_DATA = "spark.sql.streaming.noDataMicroBatches.enabled"
POLICY = "spark.sql.streaming.multipleWatermarkPolicy"
RECENT = "spark.sql.streaming.numRecentProgressUpdates"
SHARD_COUNT = "tidemill.shards"
SHARED = "tidemill.sharedReadBytes"
RETAIN = "spark.sql.streaming.minBatchesToRetain"


@dataclass
class SinkSpec:
    """What to write to; ``target`` is a live object: a foreach function, a memory table, ..."""

    format: str
    options: Mapping[str, str] = field(default_factory=dict)
    partition_by: tuple[str, ...] = ()
    mode: str = "errorifexists"
    """Of batch writes: append, overwrite, ignore or errorifexists."""
    target: Any = None
    wiring: Wiring | None = None
    """What the sink needs of the session: time zone, warehouse, how rows become DataFrames and Rows."""
    encoding: Encoding | None = None
    """How rows become Kafka records; None: they are records."""


@dataclass
class QuerySpec:
    """A streaming query to start."""

    sink: SinkSpec
    name: str | None = None
    mode: OutputMode = "append"
    trigger: Trigger = Trigger()  # noqa: RUF009
    checkpoint: str | None = None
    """A location; None: one that ends with the process."""
    conf: Mapping[str, str] = field(default_factory=dict)
    hook: StepHook = lambda step, when, batch: None
    """Called before and after each named step of a batch: where tests kill the process."""


@dataclass
class Context:
    """What a session shares between its queries."""

    settings: Settings = Settings()  # noqa: RUF009
    threads: int | None = None
    listen: Callable[[str, dict[str, Any]], None] = lambda event, payload: None
    resolve: Callable[[Mapping[str, str]], dict[str, str]] = dict
    """Fills secrets into options, where a part is made that needs them."""
    turn: Callable[[Sequence[Query]], bool] = lambda queries: False
    """Waits until no one else holds the checkpoints of queries that are to begin; whether it had to."""
    cluster: Engine | None = None
    """Where streaming queries run; None: in this process."""
    lent: bool = False
    """The cluster is for whoever made it to close, when the last session is long stopped."""
    job: str | None = None
    """The uid of the job that its queries belong to, kept in the checkpoints that they begin; None: of none."""
    _local: LocalEngine | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def local(self) -> LocalEngine:
        """What computes plans that do not stream, and those that do if there is no cluster."""
        with self._lock:
            if self._local is None:
                self._local = LocalEngine(self.threads)
            return self._local

    @property
    def engine(self) -> Engine:
        return self.cluster or self.local


# --- Batch ----------------------------------------------------------------------------------------------------------


def collect(plan: Node, context: Context, now_us: int | None = None) -> pa.Table:
    """The rows of a plan that does not stream; columns named as the user knows them, duplicates included."""
    if plan.streaming:
        raise AnalysisException(
            "Queries with streaming sources must be executed with writeStream.start(); write the stream to a sink",
            UNSUPPORTED,
        )
    whole = held(plan)
    session = context.local.kernel.session()
    try:
        tables: dict[str, pa.Table] = {}
        leaves: dict[int, str] = {}
        _leaves(whole, context, tables, leaves, now_us)
        relation = Relation(context.settings, leaves)
        names = ", ".join(column(a) for a in plan.output) or "1"
        sql = f"SELECT {names} FROM ({relation.sql(whole)})"
        session.register_functions(relation.functions.values())
        schema = pa.schema(arrow_fields(plan.output))
        rows = session.run(sql, tables, _now(now_us), schema if plan.output else None)
    finally:
        session.close()
    return (
        rows.rename_columns([a.name for a in plan.output])
        if plan.output
        else rows.drop_columns(rows.column_names)
    )


def _now(now_us: int | None) -> int:
    return now_us if now_us is not None else time.time_ns() // 1000


def _leaves(
    node: Node, context: Context, tables: dict[str, pa.Table], leaves: dict[int, str], now_us: int | None
) -> None:
    """Rows for everything that DuckDB cannot make itself."""
    rows: pa.Table | None = None
    match node:
        case Scan():
            rows = sources.batch(node.format, context.resolve(node.options_given), schema_to_read(node))
            rows = rows.select([a.name for a in node.attributes])
        case LocalData():
            rows = node.rows
        case MapBatches():
            rows = _mapped(node, collect(node.child, context, now_us))
    if rows is None:
        for child in node.children:
            _leaves(child, context, tables, leaves, now_us)
    elif id(node) not in leaves:
        leaves[id(node)] = f"leaf{len(leaves)}"
        tables[leaves[id(node)]] = rows.rename_columns([column(a) for a in node.output])


def _mapped(node: MapBatches, rows: pa.Table) -> pa.Table:
    schema = pa.schema(arrow_fields(node.output))
    schema = pa.schema([f.with_name(a.name) for f, a in zip(schema, node.output, strict=True)])
    return mapped(node.function, rows, schema)


def write(plan: Node, spec: SinkSpec, context: Context) -> None:
    """Compute a plan that does not stream and write it."""
    if not plan.output:
        raise AnalysisException(
            f"The {spec.format} datasource does not support writing empty or nested empty schemas; select a column",
            "EMPTY_SCHEMA_NOT_SUPPORTED_FOR_DATASOURCE",
        )
    rows = collect(plan, context)
    sinks.write(
        rows,
        spec.format,
        context.resolve(spec.options),
        plan.schema,
        spec.mode,
        spec.partition_by,
        spec.wiring,
    )


# --- Streaming ------------------------------------------------------------------------------------------------------


def start(plan: Node, spec: QuerySpec, context: Context) -> QueryRun:
    """Start a streaming query; raises before anything runs if it cannot work."""
    (query,) = in_turn(lambda: [prepare(plan, spec, context)], context)
    return begin(query, context)


def in_turn(make: Callable[[], list[Query]], context: Context) -> list[Query]:
    """The queries that ``make`` prepares, once they can begin.

    If that took waiting, they are prepared again: what they have found in their checkpoints is no longer so.
    """
    ready = make()
    try:
        waited = context.turn(ready)
    except BaseException:
        _let_go(ready)
        raise
    if not waited:
        return ready
    _let_go(ready)
    return make()


def _let_go(queries: Sequence[Query]) -> None:
    for query in queries:
        query.close()


def begin(query: Query, context: Context) -> QueryRun:
    """Start what was prepared."""
    return QueryRun(query, context.listen).start()


def prepare(plan: Node, spec: QuerySpec, context: Context) -> Query:
    """Everything that starting a query checks and opens, short of its thread."""
    check_streaming(plan, spec.mode, context.settings)
    parts = split(prune(push_filters(held(plan))), spec.mode, context.settings)
    machine = Machine(rules(parts, spec))
    with ExitStack() as opened:
        # First, for it finds what is misspelt without touching a disk.
        sink = make_sink(plan, spec, context)
        opened.callback(sink.close)
        scratch = None
        location = spec.checkpoint
        if location is None and context.engine.remote:
            # Executors come and go; what they hold has to lie somewhere, for as long as the query runs.
            location = scratch = tempfile.mkdtemp(prefix="tidemill-")
            opened.callback(shutil.rmtree, scratch, ignore_errors=True)
        log, store = open_(location)
        opened.callback(log.close)
        opened.callback(store.close)
        kept = log.get(KEY, "query", 0)
        query = kept["id"] if kept else _new_id(log, spec)
        kept_bytes = int(spec.conf.get(SHARED, LIMIT))
        makers = [partial(make_source(s, context, kept_bytes), spec.name or query) for s in parts.sources]
        made: list[Source] = []
        for i, make in enumerate(makers):
            made.append(make())
            opened.callback(made[-1].close)
            made[-1].open(log.source_log(i))
        sink.check()
        names = [describe_source(s) for s in parts.sources]
        shards = kept["shards"] if kept else int(spec.conf.get(SHARD_COUNT, SHARDS))
        policy = kept["policy"] if kept else spec.conf.get(POLICY, "min").lower()
        entry = signature(query, parts.plan, names, shards, policy, context.local.kernel.hash_mark())
        if kept:
            compare(kept, entry, spec.name)
        elif context.job is not None:
            entry["job"] = context.job
        work = Work(
            query=query,
            plan=parts.plan,
            sources=tuple(made),
            columns=tuple(tuple(a.name for a in s.attributes) for s in parts.sources),
            statics=tuple(collect(s, context) for s in parts.statics),
            sink=sink,
            store=store,
            shards=shards,
            recipe=Recipe(
                tuple(make if source.anywhere else None for make, source in zip(makers, made, strict=True)),
                sink.for_executors(),
                partial(open_store, location),
            ),
            name=spec.name or query,
        )
        context.engine.check(work)
        opened.pop_all()
    return Query(
        work=work,
        machine=machine,
        engine=context.engine,
        log=log,
        entry=entry,
        name=spec.name,
        sources=names,
        sink=f"{spec.sink.format}{_where(spec.sink.options)}",
        hook=spec.hook,
        refresh=Refresh(parts.statics, context),
        recent=int(spec.conf.get(RECENT, 100)),
        scratch=scratch,
    )


def _new_id(log: CheckpointLog, spec: QuerySpec) -> str:
    if log.latest(KEY, "prepared") is not None:
        # The query's entry is made durable before its first output is: this one was taken away.
        raise damaged(f"{spec.checkpoint}/query/query/0.json", "it is gone, and batches are there")
    return str(uuid.uuid4())


class Refresh:
    """Reads static tables again when they are due: those with a `Scan` that says how often."""

    def __init__(self, statics: Sequence[Node], context: Context) -> None:
        self._statics = statics
        self._context = context
        self._every = {i: r for i, s in enumerate(statics) if (r := _refresh_of(s)) is not None}
        self._due = {i: time.time() + r for i, r in self._every.items()}

    def __call__(self, now: float) -> dict[int, pa.Table]:
        due = [i for i, when in self._due.items() if when <= now]
        for i in due:
            self._due[i] = now + self._every[i]
        return {i: collect(self._statics[i], self._context) for i in due}


def _refresh_of(plan: Node) -> float | None:
    return min(
        (n.refresh for n in plan.walk() if isinstance(n, Scan) and n.refresh is not None), default=None
    )


def rules(parts: Split, spec: QuerySpec) -> Rules:
    allowed = spec.conf.get(NO_DATA, "true").lower() == "true"
    marks = bool(parts.plan.watermarks)
    retain = int(spec.conf.get(RETAIN, "100"))
    if retain < 1:
        raise PySparkValueError(
            f"{RETAIN} has to be positive, not {retain}: the last batch is what a restart goes on from; "
            "1 keeps least"
        )
    return Rules(
        trigger=spec.trigger,
        no_data=allowed and marks and any(s.no_data for s in parts.plan.stages),
        has_watermark=marks,
        retain=retain,
    )


def make_source(scan: Scan, context: Context, limit: int = 0) -> MakeSource:
    """How to make a source of a query's own. A handle that can be called makes it from the options, secrets filled in."""
    options = context.resolve(scan.options_given)
    alike = _by_name(scan) and not _judges_records(scan)
    return MakeSource(scan.format, options, schema_to_read(scan), scan.handle, limit, alike)


_BY_NAME = ("json", "parquet", "avro", "orc")
"""Formats whose columns are found by name, so that those that no one asks for need not be read."""
_WHOLE_RECORDS = ("mode", "columnnameofcorruptrecord")
"""Options that make a record good or bad as a whole."""


def schema_to_read(scan: Scan) -> StructType:
    """The columns that a source must read to give those of the scan."""
    return scan.schema if _by_name(scan) or scan.whole is None else scan.whole


def _by_name(scan: Scan) -> bool:
    whole = any(k.lower() in _WHOLE_RECORDS for k in scan.options_given)
    return scan.format.lower() in _BY_NAME and not whole


def _judges_records(scan: Scan) -> bool:
    """Whether rows depend on what else is read of a record: one column tells of another's error."""
    ignores = any(k.lower() == "ignorecorruptfiles" for k in scan.options_given)
    return ignores or CORRUPT in (scan.whole or scan.schema).names


def make_sink(plan: Node, spec: QuerySpec, context: Context) -> Sink:
    sink = spec.sink
    options = context.resolve(sink.options)
    return sinks.create(
        sink.format,
        options,
        plan.schema,
        spec.mode,
        sink.partition_by,
        sink.target,
        sink.wiring,
        sink.encoding,
    )


_IDENTITY = ("path", "subscribe", "subscribepattern", "assign", "topic", "host", "port")
"""Options (in lower case) that say which source it is, not how it is read."""


def describe_source(scan: Scan) -> str:
    """The source in words, the same in every process: ``kafka[subscribe=access]``."""
    return f"{scan.format}{_where(scan.options_given)}"


def _where(options: Mapping[str, str]) -> str:
    shown = [f"{k}={v}" for k, v in sorted(options.items()) if k.lower() in _IDENTITY]
    return f"[{', '.join(shown)}]" if shown else ""
