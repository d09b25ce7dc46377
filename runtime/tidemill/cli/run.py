"""``tidemill run``: a manifest on this machine."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from tidemill.api import StreamingJob, load
from tidemill.cli.validate import check
from tidemill.clock import SYSTEM, Clock
from tidemill.errors import ManifestError, TidemillError
from tidemill.secrets import SecretResolver, plain

if TYPE_CHECKING:
    from tidemill.cli.job import Job

TICK = 0.2
"""Seconds between looks at the queries: a person sees the line move, a processor hardly notices."""


class LogFormat(StrEnum):
    """How log lines are written."""

    text = "text"
    json = "json"


def command(
    file: Path = typer.Argument(help="The manifest.", show_default=False),
    log_format: LogFormat = typer.Option(LogFormat.text, help="How log lines are written."),
    metrics_port: int = typer.Option(
        0, min=0, max=65_535, help="Serve metrics and health on this port of 127.0.0.1; 0: do not."
    ),
    checkpoint: str | None = typer.Option(
        None,
        help="Keep progress here: a directory, or redis://host:6379/0. By default in .tidemill/ beside the manifest.",
        show_default=False,
    ),
    executors: int = typer.Option(
        0, min=0, max=64, help="Share the work among so many processes on this machine; 0: this one does it."
    ),
) -> None:
    """Run a job on this machine until it ends, its hour comes, or Ctrl-C; then finish the batch and commit."""
    secrets = SecretResolver()
    try:
        job = load(file, os.environ)
        folder = file.resolve().parent
        code = run(
            job, folder, log_format.value, metrics_port, secrets, executors=executors, kept_at=checkpoint
        )
    except ManifestError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except TidemillError as error:
        raise typer.Exit(explain(file, secrets.mask(str(error)))) from None
    raise typer.Exit(code)


def explain(file: Path, error: str) -> int:
    """Say what is wrong: with the manifest if analysis finds it there (2), else what was met on the way (1)."""
    _, _, problems = check(str(file))
    for told in [str(problem) for problem in problems] or [error]:
        typer.echo(f"{file}: {told}", err=True)
    return 2 if problems else 1


def run(
    manifest: StreamingJob,
    directory: Path,
    log_format: str = "text",
    metrics_port: int = 0,
    secrets: SecretResolver | None = None,
    clock: Clock = SYSTEM,
    executors: int = 0,
    kept_at: str | None = None,
) -> int:
    """Run a job to its end; 0 if every query ended well."""
    from tidemill import logs
    from tidemill.cli.job import Job

    secrets = secrets or SecretResolver()
    logs.configure(log_format, mask=secrets.mask)
    logs.of_process(job=manifest.name)
    job = Job.create(manifest, directory, secrets, clock, executors, kept_at)
    with stop_signals() as stop, watched(job, metrics_port):
        if manifest.spec.program is not None:
            return run_program(job, stop)
        try:
            job.start()
            attend(job, stop)
        finally:
            job.stop()
    for error in job.errors:
        typer.echo(job.secrets.mask(error), err=True)
    return 1 if job.errors else 0


@contextmanager
def watched(job: Job, port: int) -> Iterator[None]:
    """Serves metrics and health meanwhile, if a port is given."""
    if not port:
        yield
        return
    from tidemill.cli.watching import Watch

    watch = Watch(job.manifest.name, job.secrets.mask)
    watch.begin(job)
    watch.phase = "running"
    server = watch.serve("127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once."""
    asked = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            os._exit(130)
        asked.set()

    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def attend(job: Job, stop: threading.Event) -> None:
    """Show progress until every query has ended, one has failed, the hour has come, or a stop is asked for."""
    from tidemill.cli.watching import progress_line

    deadline = job.deadline()
    with progress_line(job) as show:
        while job.active and not stop.wait(TICK):
            show()
            if job.errors or (deadline is not None and job.clock.now() >= deadline):
                break
        job.stop()
        show()


def run_program(job: Job, stop: threading.Event, mounted: Path | None = None) -> int:
    """Run a PySpark-shaped program as ``__main__``; its queries are stopped at their batch's end when asked.

    ``mounted``: the file of ``spec.program.configMap``.
    """
    program = job.manifest.spec.program
    assert program is not None
    if program.config_map is not None and mounted is None:
        raise TidemillError(
            "spec.program.configMap is for a cluster; on this machine give spec.program.file or inline"
        )
    threading.Thread(target=_stop_program, args=(job, stop), daemon=True).start()
    file = mounted if program.config_map is not None else program.file
    sys.argv = [str(file or "program"), *(plain(job.secrets.resolve(a)) for a in program.args)]
    if file is not None:
        runpy.run_path(str(job.directory / file), run_name="__main__")
    else:
        exec(compile(program.inline or "", "spec.program.inline", "exec"), {"__name__": "__main__"})
    for query in job.spark.streams.active:
        query.awaitTermination()
    return 0


def _stop_program(job: Job, stop: threading.Event) -> None:
    from tidemill.sql.session import open_sessions

    deadline = job.deadline()
    while not stop.wait(TICK) and (deadline is None or job.clock.now() < deadline):
        pass
    for session in open_sessions():
        for query in session.streams.active:
            query.stop()
