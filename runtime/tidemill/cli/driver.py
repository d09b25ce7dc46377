"""``tidemill driver``: the process of a cluster that plans and commits; executors come to it from elsewhere."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tidemill.cli import addresses
from tidemill.cli.run import TICK, LogFormat, explain, run_program, stop_signals, tell
from tidemill.config import Config
from tidemill.errors import ExecutorLostError, ManifestError, StreamingQueryException, TidemillError
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
    checkpoint: str | None = None
    """Where checkpoints are kept, whatever the manifest says."""
    standby: bool = False
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
    standby: bool = typer.Option(
        False,
        "--standby",
        help="If another driver holds the checkpoint, check the job against it and wait; by default that is an error.",
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
    from tidemill.api import load

    secrets = SecretResolver()
    health = (health_host, health_port) if health_port >= 0 else None
    try:
        files = TlsFiles(tls_ca, tls_cert, tls_key)
        files.check()
        place = Place(
            *addresses.address_of(listen, "--listen"), files, executors, checkpoint, standby, health, program
        )
    except TidemillError as error:
        typer.echo(f"driver: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        code = drive(load(file, os.environ), file.resolve().parent, place, log_format.value, secrets)
    except ManifestError as error:
        tell(str(error).splitlines(), log_format)
        raise typer.Exit(2) from None
    except TidemillError as error:
        code, told = explain(file, secrets.mask(str(error)))
        tell(told, log_format)
        raise typer.Exit(code) from None
    raise typer.Exit(code)


def drive(
    manifest: StreamingJob, directory: Path, place: Place, log_format: str, secrets: SecretResolver
) -> int:
    """Run a job to its end; 0 if every query ended well, or was stopped."""
    from tidemill import logs
    from tidemill.cli.job import Job
    from tidemill.cli.watching import LogListener, Watch
    from tidemill.launch import Context

    logs.configure(log_format, mask=secrets.mask)
    logs.of_process(job=manifest.name)
    watch = Watch(manifest.name, secrets.mask)
    with stop_signals() as stop, ExitStack() as ends:
        if place.health is not None:
            ends.callback(watch.serve(*place.health).close)
        engine = _listening(manifest, place)
        ends.callback(engine.close)
        watch.engine(engine)
        context = Context(cluster=engine)
        if place.standby:
            context.turn = Standby(watch, stop)
        job = Job.on(context, manifest, directory, secrets, place.checkpoint)
        watch.begin(job)
        job.spark.streams.addListener(LogListener())
        if manifest.spec.program is not None:
            return _run_program(job, watch, stop, engine, place.program)
        return _run(job, watch, stop, engine)


def _listening(manifest: StreamingJob, place: Place) -> Engine:
    try:
        from tidemill.engine.dask import DaskEngine
    except ImportError as error:
        raise TidemillError(
            f"a driver needs the cluster parts of Tidemill ({error}); install them with: pip install 'tidemill[cluster]'"
        ) from error
    expected = place.executors or max(1, manifest.spec.executor.replicas)
    silent = Config(manifest.spec.conf).milliseconds("tidemill.executorTimeout") / 1000
    engine = DaskEngine(
        place.files, expected, host=place.host, port=place.port, job=manifest.name, silent=silent
    )
    log.info("the driver listens at %s, for %d executors", engine.address, expected)
    return engine


def _run_program(job: Job, watch: Watch, stop: threading.Event, engine: Engine, mounted: Path | None) -> int:
    watch.phase = "running"
    threading.Thread(target=_hurry, args=(engine, watch, stop), daemon=True).start()
    try:
        return run_program(job, stop, mounted)
    except StreamingQueryException as error:
        if stop.is_set() and isinstance(error.__cause__, ExecutorLostError):
            return 0
        raise


def _run(job: Job, watch: Watch, stop: threading.Event, engine: Engine) -> int:
    try:
        job.start()
        watch.phase, watch.message = "running", ""
        _attend(job, stop)
        if stop.is_set():
            _hurry(engine, watch, stop)
    finally:
        watch.phase = "stopping"
        job.stop()
    failed = [e for q in job.queries if (e := q.exception()) is not None]
    if stop.is_set():
        # What no executor was there to run is planned; the next driver runs it.
        failed = [e for e in failed if not isinstance(e.__cause__, ExecutorLostError)]
    for error in failed:
        typer.echo(job.secrets.mask(str(error)), err=True)
    log.info("the driver ends")
    return 1 if failed else 0


def _attend(job: Job, stop: threading.Event) -> None:
    """Wait until every query has ended, one has failed, the hour has come, or a stop is asked for."""
    deadline = job.deadline()
    while job.active and not job.errors and not stop.wait(TICK):
        if deadline is not None and job.clock.now() >= deadline:
            break


def _hurry(engine: Engine, watch: Watch, stop: threading.Event) -> None:
    """Once it is told to stop, nothing waits any longer for executors that are not there."""
    stop.wait()
    watch.phase = "stopping"
    log.info("told to stop: finishing the batch at hand")
    engine.no_more_waiting()


class Standby:
    """Holds a driver back while another one holds the checkpoints of its queries; a `Context.turn`."""

    def __init__(self, watch: Watch, stop: threading.Event) -> None:
        self.watch, self.stop = watch, stop

    def __call__(self, queries: Sequence[Query]) -> bool:
        """Whether it had to wait. Ends the process in good order if it is told to stop meanwhile."""
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
