"""A manifest's job on this machine: its views, its queries, and the wait for their end."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tidemill import checkpoint, sources
from tidemill.api import StreamingJob
from tidemill.api.job import Function, Query, Source, Table
from tidemill.api.moments import parse_duration, parse_stop_at
from tidemill.clock import SYSTEM, Clock
from tidemill.config import Config, misspelt
from tidemill.driver.loop import Query as PreparedQuery
from tidemill.engine.shipping import ship_modules_of
from tidemill.errors import AnalysisException, CheckpointError, StreamingQueryException, TidemillError
from tidemill.launch import Context, QuerySpec, SinkSpec, Trigger, begin, in_turn, prepare
from tidemill.plan import analyze
from tidemill.plan.nodes import Node, OutputMode
from tidemill.secrets import SecretResolver, plain
from tidemill.sinks.encoding import Encoding
from tidemill.sources.decoded import Decode
from tidemill.sources.making import Reading
from tidemill.sources.wrapped import BAD_RECORDS
from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F
from tidemill.sql.readwriter import wiring
from tidemill.sql.streaming import StreamingQuery
from tidemill.types import StructType, parse_ddl

log = logging.getLogger(__name__)

SILENT = "tidemill.executorTimeout"
"""The one setting that a cluster needs before there is a session with the others."""
DEAD_LETTER = "-dead-letter"
"""Ends the name of the hidden query that writes a source's bad records."""

PROGRAMS_CHECKPOINTS = "spark.sql.streaming.checkpointLocation"
"""Below which the queries of a program have theirs, by their names."""


@dataclass
class Job:
    """A job's queries, made and started in the order of the manifest."""

    manifest: StreamingJob
    directory: Path
    """The manifest's: relative paths, modules and programs are looked for here."""
    spark: SparkSession
    secrets: SecretResolver = field(default_factory=SecretResolver)
    queries: list[StreamingQuery] = field(default_factory=list)
    clock: Clock = field(default_factory=lambda: SYSTEM)
    """What tells when ``stopAt`` has come."""
    kept_at: str | None = None
    """Where checkpoints are kept, whatever the manifest says."""

    @classmethod
    def create(
        cls,
        manifest: StreamingJob,
        directory: Path,
        secrets: SecretResolver | None = None,
        clock: Clock = SYSTEM,
        executors: int = 0,
        kept_at: str | None = None,
    ) -> Job:
        """A job on this machine, with a session of its own and ``executors`` processes of its own."""
        builder = SparkSession.builder.appName(manifest.name).config("tidemill.executors", executors)
        if (silent := manifest.spec.conf.get(SILENT)) is not None:
            builder = builder.config(SILENT, silent)
        spark = builder.getOrCreate().newSession()
        job = cls(manifest, directory, spark, secrets or SecretResolver(), clock=clock, kept_at=kept_at)
        return job.named()

    @classmethod
    def on(
        cls,
        context: Context,
        manifest: StreamingJob,
        directory: Path,
        secrets: SecretResolver,
        kept_at: str | None = None,
    ) -> Job:
        """A job of a cluster, on the engine of ``context``."""
        spark = SparkSession(Config({"spark.app.name": manifest.name}), context)
        job = cls(manifest, directory, spark, secrets, kept_at=kept_at).named()
        if manifest.spec.program is not None and PROGRAMS_CHECKPOINTS not in manifest.spec.conf:
            spark.conf.set(PROGRAMS_CHECKPOINTS, job.checkpoint())
        return job

    def named(self) -> Job:
        """With the sources, tables and functions known to the session by their names."""
        manifest = self.manifest
        for key, value in manifest.spec.conf.items():
            self.configure(key, plain(self.secrets.resolve(value)))
        for function in manifest.spec.functions:
            self.register(function)
        for source in manifest.spec.sources:
            self.view(source.name, self.source(source))
        for table in manifest.spec.tables:
            self.view(table.name, self.table(table))
        return self

    def resolve(self, options: Mapping[str, str]) -> dict[str, str]:
        """Options as a source or sink takes them: secrets filled in, paths from the manifest's directory."""
        return local_options(self.secrets.resolve_options(options), self.directory)

    def view(self, name: str, plan: Node) -> None:
        self.spark._frame(plan).createOrReplaceTempView(name)

    def configure(self, key: str, value: str) -> None:
        if meant := misspelt(key):
            raise TidemillError(f"setting {key!r} is not known; did you mean {meant!r}?")
        self.spark.conf.set(key, value)

    def register(self, function: Function) -> None:
        """Make a user's function known to SQL."""
        module, _, name = function.from_.partition(":")
        try:
            with importing_from(self.directory):
                made = getattr(importlib.import_module(module), name, None)
        except Exception as error:
            # The module is the user's: it may raise anything.
            raise TidemillError(
                f"function {function.name!r}: module {module!r} cannot be imported ({type(error).__name__}: {error}); "
                "it has to be beside the manifest, or installed, and right"
            ) from error
        if made is None:
            raise TidemillError(
                f"function {function.name!r}: module {module!r} has no {name!r}; check its name"
            )
        wrap = (
            F.udf if function.kind == "python" else F.pandas_udf if function.kind == "pandas" else F.arrow_udf
        )
        self.spark.udf.register(function.name, wrap(made, function.returns))

    # Plans

    def source(self, source: Source) -> Node:
        """What queries read under a source's name."""
        settings = self.spark._settings()
        options = source_options(source, self.directory)
        own = own_schema(source)
        reading = Reading(source.format, source.name, decode_of(source), own)
        schema = reading.schema(self.resolve(options))
        plan: Node = analyze.scan(source.format, options, schema, True, source.name, reading, own)
        if source.watermark is not None:
            plan = analyze.with_watermark(plan, source.watermark.event_time, source.watermark.delay, settings)
        if source.drop_duplicates is not None:
            d = source.drop_duplicates
            plan = analyze.deduplicate(plan, d.columns or None, settings, d.within_watermark)
        return plan

    def table(self, table: Table) -> Node:
        """The static side of joins."""
        options = local_options(table.options, self.directory)
        own = parse_ddl(table.schema_ddl) if table.schema_ddl else None
        schema = sources.reader_schema(table.format, self.resolve(options), own)
        plan = analyze.scan(table.format, options, schema, False, table.name, user_schema=own)
        refresh = parse_duration(table.refresh).total_seconds() if table.refresh else None
        return replace(plan, refresh=refresh)

    def frames(self) -> Iterator[tuple[Query, DataFrame]]:
        """Each query of the manifest, analysed; raises `AnalysisException` naming the query."""
        for query in self.manifest.spec.queries:
            try:
                frame = self.spark.sql(query.sql)
            except AnalysisException as error:
                raise AnalysisException(f"query {query.name!r}: {error.desc}", error.condition) from error
            frame.createOrReplaceTempView(query.name)
            yield query, frame

    # Running

    def start(self) -> None:
        """Start every query, and the hidden ones that write bad records; nothing starts if one of them cannot."""
        planned = [self.dead_letter(s) for s in self.manifest.spec.sources if s.dead_letter is not None]
        planned += [self.planned(query, frame) for query, frame in self.frames()]
        uid = self.manifest.metadata.uid
        context = replace(self.spark._run_context(), resolve=self.resolve, job=uid)
        ready = in_turn(lambda: self._prepared(planned, context), context)
        for (plan, spec), query in zip(planned, ready, strict=True):
            self.queries.append(
                self.spark.streams._start(spec.name, partial(self._begin, query, plan, context))
            )

    def _prepared(self, planned: Sequence[tuple[Node, QuerySpec]], context: Context) -> list[PreparedQuery]:
        self.check_existing()  # here, for who had to wait may find what was not there before
        ready: list[PreparedQuery] = []
        try:
            for plan, spec in planned:
                ready.append(prepare(plan, spec, context))
        except BaseException:
            for query in ready:
                query.close()
            raise
        return ready

    def _begin(self, query: PreparedQuery, plan: Node, context: Context) -> StreamingQuery:
        return StreamingQuery(begin(query, context), plan)

    def check_existing(self) -> None:
        """Refuse to go on from another job's checkpoint if the manifest says so; without a uid every job is another."""
        if self.manifest.spec.checkpoint.on_existing != "Fail":
            return
        kept, ours = self.checkpoint(), self.manifest.metadata.uid
        others = [job for job in checkpoint.begun(kept).values() if ours is None or job != ours]
        if others:
            whose = (
                "" if ours is None else f" of {f'the job with uid {others[0]}' if others[0] else 'no job'}"
            )
            raise CheckpointError(
                f"there is a checkpoint{whose} in {checkpoint.shown(kept)}, and spec.checkpoint.onExisting is Fail; "
                "remove it (tidemill checkpoint delete) to begin anew, or write Resume to go on from it"
            )

    def planned(self, query: Query, frame: DataFrame) -> tuple[Node, QuerySpec]:
        sink = sink_of(query, self.directory)
        return frame._plan, self.spec(frame, query.name, sink, query.output_mode, trigger_of(query))

    def dead_letter(self, source: Source) -> tuple[Node, QuerySpec]:
        """The query that writes a source's bad records, once, however many queries read the source."""
        assert source.dead_letter is not None
        options = source_options(source, self.directory)
        reading = Reading(source.format, source.name, decode_of(source), own_schema(source), bad=True)
        frame = self.spark._frame(
            analyze.scan(source.format, options, BAD_RECORDS, True, source.name, reading)
        )
        to = local_options(source.dead_letter.options, self.directory)
        sink = SinkSpec("dead-letter", to, target=source.dead_letter.format)
        trigger = trigger_of(self.manifest.spec.queries[0])
        return frame._plan, self.spec(frame, f"{source.name}{DEAD_LETTER}", sink, "append", trigger)

    def spec(
        self, frame: DataFrame, name: str, sink: SinkSpec, mode: OutputMode, trigger: Trigger
    ) -> QuerySpec:
        return QuerySpec(
            sink=replace(sink, wiring=wiring(self.spark, frame.schema)),
            name=name,
            mode=mode,
            trigger=trigger,
            checkpoint=checkpoint.join(self.checkpoint(), name),
            conf=self.spark._config.all(),
        )

    def checkpoint(self) -> str:
        return checkpoint_of(self.manifest, self.directory, self.secrets, self.kept_at)

    # The end

    def stop(self) -> None:
        """Let every query finish its batch and commit."""
        for query in self.queries:
            query.stop()

    @property
    def active(self) -> bool:
        return any(q.isActive for q in self.queries)

    @property
    def errors(self) -> list[StreamingQueryException]:
        """What queries have failed with."""
        return [e for q in self.queries if (e := q.exception()) is not None]

    def deadline(self) -> float | None:
        """When ``stopAt`` next comes, in seconds since the epoch."""
        stop = self.manifest.spec.stop_at
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        return parse_stop_at(stop).after(now).timestamp() if stop else None


def checkpoint_of(
    manifest: StreamingJob, directory: Path, secrets: SecretResolver, kept_at: str | None = None
) -> str:
    """A job's checkpoint: ``.tidemill/<id>`` in ``directory``, the manifest's, unless that or ``kept_at`` say otherwise.

    Raises `MissingSecret` if the manifest's location refers to one that is not there.
    """
    given = manifest.spec.checkpoint
    written = plain(secrets.resolve(given.location)) if given.location and not kept_at else None
    location = (kept_at or written or ".tidemill").removeprefix("file://")
    if "://" in location:
        return checkpoint.join(location, manifest.checkpoint_id)
    name = given.id or f"{manifest.metadata.namespace or 'default'}.{manifest.name}"
    return checkpoint.join(str(directory / location), name)


def decode_of(source: Source) -> Decode | None:
    """What a source's records hold, as the source itself takes it."""
    d = source.decode
    if d is None:
        return None
    schema = parse_ddl(d.schema_ddl)
    return Decode(d.format, schema, tuple(d.metadata), d.mode, d.options, d.column_name_of_corrupt_record)


def sink_of(query: Query, directory: Path) -> SinkSpec:
    """Where a query writes; a memory table has the query's name."""
    sink, encode = query.sink, query.sink.encode
    encoding = Encoding(encode.format, tuple(sink.key), encode.key_format, encode.options) if encode else None
    options = local_options(sink.options, directory)
    if sink.format == "memory":
        options["queryName"] = query.name
    return SinkSpec(sink.format, options, tuple(sink.partition_by), encoding=encoding)


def trigger_of(query: Query) -> Trigger:
    trigger = query.trigger
    if trigger.once:
        return Trigger("once")
    if trigger.available_now:
        return Trigger("available")
    return Trigger("processing", parse_duration(trigger.processing_time or "0 seconds").total_seconds())


def own_schema(source: Source) -> StructType | None:
    return parse_ddl(source.schema_ddl) if source.schema_ddl else None


def source_options(source: Source, directory: Path) -> dict[str, str]:
    """A source's options; where its bad records have a place to go, they leave the rows."""
    options = local_options(source.options, directory)
    if source.dead_letter is not None and source.decode is None:
        options.setdefault("mode", "DEADLETTER")
    return options


def local_options(options: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Options with a relative ``path`` taken from the manifest's directory, wherever the command is run from."""
    found = dict(options)
    for key in found:
        if key.lower() == "path" and "://" not in found[key] and "${" not in found[key]:
            # Plain, because pathlib would join the `***` of a secret's text.
            found[key] = str(directory / plain(found[key]))
    return found


@contextmanager
def importing_from(directory: Path) -> Iterator[None]:
    """Modules beside the manifest come first; executors get them with the functions that need them."""
    ship_modules_of(directory)
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
