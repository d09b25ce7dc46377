"""``tidemill driver``: the process of a cluster that plans and commits; executors come to it from elsewhere."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tidemill.cli import addresses, termination
from tidemill.cli.run import (
    TICK,
    LogFormat,
    Stop,
    explain,
    is_for_want_of_executors,
    run_program,
    stop_queries,
    stop_signals,
    tell,
)
from tidemill.config import Config
from tidemill.errors import ManifestError, TidemillError
from tidemill.secrets import SecretResolver
from tidemill.tls import TlsFiles

if TYPE_CHECKING:
    from tidemill.api import StreamingJob
    from tidemill.cli.job import Job
    from tidemill.cli.watching import Watch
    from tidemill.driver.loop import Query
    from tidemill.engine.base import Engine

log = logging.getLogger("tidemill.driver")

LOOK = 0.5
"""Seconds between a standby's looks at the lease."""


@dataclass(frozen=True)
class Place:
    """Where a driver listens, and for whom it waits."""

    host: str
    port: int
    files: TlsFiles
    executors: int | None = None
    """Expected before the first batch; None: as many as the manifest says."""
    executors_from: str = ""
    """A name that has an address for each executor that there is."""
    checkpoint: str | None = None
    """Where checkpoints are kept, whatever the manifest says."""
    standby: bool = False
    linger: bool = False
    health: tuple[str, int] | None = None
    program: Path | None = None
    """Where the file of ``spec.program.configMap`` is mounted."""


def command(
    file: Path = typer.Argument(help="The manifest.", show_default=False),
    listen: str = typer.Option(
        help="HOST:PORT at which executors find it; port 0 takes any.", show_default=False
    ),
    tls_ca: Path = addresses.TLS_CA,
    tls_cert: Path = addresses.TLS_CERT,
    tls_key: Path = addresses.TLS_KEY,
    executors: int | None = typer.Option(
        None,
        min=1,
        max=1000,
        help="Executors to wait for before the first batch; by default spec.executor.replicas.",
        show_default=False,
    ),
    executors_from: str = typer.Option(
        "",
        help="Wait for as many executors as this name has addresses: a headless service. While it has none, --executors "
        "counts.",
        show_default=False,
    ),
    standby: bool = typer.Option(
        False,
        "--standby",
        help="If another driver holds the checkpoint, check the job against it and wait; by default that is an error.",
    ),
    linger: bool = typer.Option(
        False,
        "--linger",
        help="For a pod, which would be started again: when every query has ended well, say so at --health-port and wait "
        "for SIGTERM; and wait for executors for as long as none is there.",
    ),
    checkpoint: str | None = typer.Option(
        None,
        envvar="TIDEMILL_CHECKPOINT",
        help="Keep progress here, whatever the manifest says: redis://host:6379/0, or a directory that all processes "
        "see. By default .tidemill/ beside the manifest.",
        show_default=False,
    ),
    program: Path | None = typer.Option(
        None,
        envvar="TIDEMILL_PROGRAM",
        help="Where the file of spec.program.configMap is mounted.",
        show_default=False,
    ),
    health_port: int = addresses.HEALTH_PORT,
    health_host: str = addresses.HEALTH_HOST,
    log_format: LogFormat = typer.Option(LogFormat.text, help="How log lines are written."),
) -> None:
    """Drive a job whose executors run elsewhere (`tidemill executor`), until SIGTERM: then finish the batch and commit."""
    health = (health_host, health_port) if health_port >= 0 else None
    secrets = SecretResolver()
    with stop_signals() as stop:
        # Even while the parts are loaded: who is the first process of a container would not hear a signal otherwise.
        stop.at_once = True
        try:
            files = TlsFiles(tls_ca, tls_cert, tls_key)
            files.check()
            host, port = addresses.address_of(listen, "--listen")
        except TidemillError as error:
            typer.echo(f"driver: {error}", err=True)
            termination.because(str(error))
            raise typer.Exit(2) from None
        place = Place(
            host, port, files, executors, executors_from, checkpoint, standby, linger, health, program
        )
        raise typer.Exit(_driven(file, place, log_format, secrets, stop))


def _driven(file: Path, place: Place, log_format: LogFormat, secrets: SecretResolver, stop: Stop) -> int:
    """The exit code; what is wrong is told."""
    from tidemill.api import load

    try:
        return drive(load(file, os.environ), file.resolve().parent, place, log_format.value, secrets, stop)
    except ManifestError as error:
        tell(file, error.problems, log_format)
        return 2
    except TidemillError as error:
        code, told = explain(file, secrets.mask(str(error)))
        tell(file, told, log_format)
        return code


def drive(
    manifest: StreamingJob,
    directory: Path,
    place: Place,
    log_format: str,
    secrets: SecretResolver,
    stop: Stop,
) -> int:
    """Run a job to its end; 0 if every query ended well, or was stopped."""
    from tidemill import logs
    from tidemill.cli.job import Job
    from tidemill.cli.watching import LogListener, Watch
    from tidemill.figures import iso
    from tidemill.launch import Context

    logs.configure(log_format, mask=secrets.mask)
    logs.of_process(job=manifest.name)
    termination.masked_by(secrets.mask)
    watch = Watch(manifest.name, secrets.mask)
    with ExitStack() as ends:
        if place.health is not None:
            ends.callback(watch.serve(*place.health).close)
        engine = _listening(manifest, place)
        ends.callback(engine.close)
        ends.callback(engine.no_more_waiting)
        watch.engine(engine)
        context = Context(cluster=engine, lent=True, job=manifest.metadata.uid)
        context.turn = Turn(watch, stop, place.standby)
        job = Job.on(context, manifest, directory, secrets, place.checkpoint)
        watch.begin(job)
        job.spark.streams.addListener(LogListener())
        run = _run if manifest.spec.program is None else _run_program
        code = run(job, watch, stop, engine, place)
        if code == 0 and place.linger and not stop.is_set():
            watch.phase, watch.message = "completed", f"every query had ended by {iso(time.time())}"
            log.info("the job is completed; waiting for SIGTERM")
            stop.wait()
        log.info("the driver ends")
        return code


def _listening(manifest: StreamingJob, place: Place) -> Engine:
    try:
        from tidemill.engine.dask import WAIT, DaskEngine
    except ImportError as error:
        raise TidemillError(
            f"a driver needs the cluster parts of Tidemill ({error}); install them with: pip install 'tidemill[cluster]'"
        ) from error
    expected = manifest.spec.executor.replicas if place.executors is None else place.executors
    engine = DaskEngine(
        place.files,
        expected,
        # A pod that gave up would be started again, to wait for the same executors.
        patience=threading.TIMEOUT_MAX if place.linger else WAIT,
        host=place.host,
        port=place.port,
        job=manifest.name,
        silent=Config(manifest.spec.conf).milliseconds("tidemill.executorTimeout") / 1000,
        count=partial(addresses.count, place.executors_from) if place.executors_from else lambda: 0,
    )
    log.info("the driver listens at %s, for %d executors", engine.address, engine.expects)
    return engine


def _run_program(job: Job, watch: Watch, stop: Stop, engine: Engine, place: Place) -> int:
    job.check_existing()
    watch.phase = "running"
    try:
        code = run_program(job, stop, place.program, partial(_stopping, engine, watch, stop))
    except SystemExit as end:
        if stop.is_set() or not place.linger or end.code not in (None, 0):
            raise
        code = 0
    if place.linger:
        engine.no_more_waiting()
        stop_queries()  # those that the program has not waited for
    return code


def _stopping(engine: Engine, watch: Watch, stop: Stop) -> None:
    """Queries are about to be stopped. What waits for executors waits no longer: its batch is planned, and the next driver
    runs it."""
    watch.phase, watch.message = "stopping", ""
    if stop.is_set():
        log.info("told to stop: finishing the batch at hand")
    engine.no_more_waiting()


def _run(job: Job, watch: Watch, stop: Stop, engine: Engine, place: Place) -> int:
    told = False
    try:
        job.start()
        watch.phase, watch.message = "running", ""
        told = _attend(job, stop)
    finally:
        _stopping(engine, watch, stop)
        job.stop()
    own = [e for e in job.errors if not is_for_want_of_executors(e)]
    failed = own if told else own or job.errors
    termination.because(*(termination.of_query(e) for e in failed))  # each is in the log already
    return 1 if failed else 0


def _attend(job: Job, stop: Stop) -> bool:
    """Wait until every query has ended, one has failed, the hour has come, or a stop is asked for; whether it was one of
    the last two."""
    deadline = job.deadline()
    while job.active and not job.errors:
        if stop.wait(TICK) or (deadline is not None and job.clock.now() >= deadline):
            return True
    return stop.is_set()


class Turn:
    """Lets the queries of a driver begin, unless it is told to stop; a `Context.turn`.

    ``standby``: not before nobody else holds their checkpoints.
    """

    def __init__(self, watch: Watch, stop: Stop, standby: bool) -> None:
        self.watch, self.stop, self.standby = watch, stop, standby

    def __call__(self, queries: Sequence[Query]) -> bool:
        """Whether it had to wait. Ends the process in good order if it is told to stop meanwhile."""
        waited = self.standby and self._wait(queries)
        self.stop.at_once = False
        if self.stop.is_set():
            raise SystemExit(0)
        return waited

    def _wait(self, queries: Sequence[Query]) -> bool:
        waited, phase = False, self.watch.phase
        while (holder := self._holder(queries)) is not None:
            if not waited:
                waited = True
                log.info("the job fits its checkpoint, which is held by %s; waiting for it", holder)
            self.watch.phase = "standby"
            self.watch.message = f"the job fits its checkpoint, which is held by {holder}"
            if self.stop.wait(LOOK):
                raise SystemExit(0)
        if waited:
            log.info("the checkpoint is free; taking over")
            self.watch.phase, self.watch.message = phase, ""
        return waited

    def _holder(self, queries: Sequence[Query]) -> str | None:
        return next((h for q in queries if (h := q.log.held_by()) is not None), None)
