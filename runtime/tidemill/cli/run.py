"""``tidemill run``: a manifest on this machine."""

from __future__ import annotations

import _thread
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli import termination
from tidemill.cli.validate import check
from tidemill.clock import SYSTEM, Clock
from tidemill.errors import ExecutorLostError, ManifestError, StreamingQueryException, TidemillError
from tidemill.secrets import SecretResolver, plain

if TYPE_CHECKING:
    from tidemill.api import StreamingJob
    from tidemill.cli.job import Job

TICK = 0.2
"""Seconds between looks at the queries: a person sees the line move, a processor hardly notices."""


INLINE = "spec.program.inline"


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
        help="Keep progress here, whatever the manifest says: a directory, or redis://host:6379/0. By default "
        ".tidemill/ beside the manifest.",
        show_default=False,
    ),
    executors: int = typer.Option(
        0, min=0, max=64, help="Share the work among so many processes on this machine; 0: this one does it."
    ),
) -> None:
    """Run a job on this machine until it ends, its hour comes, or Ctrl-C; then finish the batch and commit."""
    from tidemill.api import load

    secrets = SecretResolver()
    try:
        job = load(file, os.environ)
        folder = file.resolve().parent
        code = run(
            job, folder, log_format.value, metrics_port, secrets, executors=executors, kept_at=checkpoint
        )
    except ManifestError as error:
        tell(file, error.problems, log_format)
        raise typer.Exit(2) from None
    except (TidemillError, OSError) as error:
        code, told = explain(file, secrets.mask(str(error)))
        tell(file, told, log_format)
        raise typer.Exit(code) from None
    raise typer.Exit(code)


def explain(file: Path, error: str) -> tuple[int, Sequence[str]]:
    """What is wrong: with the manifest if analysis finds it there (2), else what was met on the way (1)."""
    _, _, problems = check(str(file))
    return (2, [str(problem) for problem in problems]) if problems else (1, [error])


def tell(file: Path, errors: Sequence[str], log_format: LogFormat) -> None:
    """Write what is wrong with a manifest for whoever reads: a person, or a program that takes one JSON object a line."""
    termination.because(*errors)
    if log_format is LogFormat.text:
        for error in errors:
            typer.echo(f"{file}: {error}", err=True)
        return
    from tidemill import logs

    logs.configure(log_format.value)
    for error in errors:
        logging.getLogger("tidemill.cli").error("%s: %s", file, error)


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
    termination.masked_by(secrets.mask)
    job = Job.create(manifest, directory, secrets, clock, executors, kept_at)
    if log_format == LogFormat.json or not sys.stderr.isatty():
        follow(job.spark)
    with stop_signals() as stop, watched(job, metrics_port):
        if manifest.spec.program is not None:
            return run_program(job, stop)
        try:
            job.start()
            attend(job, stop)
        finally:
            job.stop()
    termination.because(*(termination.of_query(e) for e in job.errors))  # each is in the log already
    return 1 if job.errors else 0


def follow(spark: Any) -> None:
    """Log what queries do, where no person sees the line that shows it."""
    from tidemill.cli.watching import LogListener

    spark.streams.addListener(LogListener())


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
def ends_at_once() -> Iterator[None]:
    """SIGTERM ends the process with 0 meanwhile: nothing is at hand. (The first process of a container hears of no signal
    that it has not asked for.)"""

    def handler(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Stop(threading.Event):
    """Set once the process is told to stop."""

    at_once = False
    """While this is true, nothing is at hand that would have to be finished: the process ends there and then, with 0."""


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Set by Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once."""
    asked = Stop()
    told = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told:
            os._exit(130)
        told = True
        # Not here: the main thread, which this interrupts, may be inside the event, and hold its lock.
        _thread.start_new_thread(asked.set, ())
        if asked.at_once:
            raise SystemExit(0)

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


def run_program(
    job: Job,
    stop: threading.Event,
    mounted: Path | None = None,
    hurry: Callable[[], None] = lambda: None,
) -> int:
    """Run a PySpark-shaped program as ``__main__``; its queries are stopped at their batch's end when asked.

    ``mounted``: the file of ``spec.program.configMap``. ``hurry``: called before queries are stopped, so that nothing
    waits for executors that are not there.
    """
    program = job.manifest.spec.program
    assert program is not None
    if program.config_map is not None and mounted is None:
        raise TidemillError(
            "spec.program.configMap is for a cluster; on this machine give spec.program.file or inline"
        )
    over, stopping = threading.Event(), threading.Event()

    def attend() -> None:
        if _is_time(job, stop, over):
            stopping.set()
            hurry()
            stop_queries()

    waiting = threading.Thread(target=attend, daemon=True)
    waiting.start()
    file = mounted if program.config_map is not None else program.file
    sys.argv = [str(file or "program"), *(plain(job.secrets.resolve(a)) for a in program.args)]
    try:
        return _as_main(file, program.inline or "", job, stopping)
    finally:
        over.set()
        waiting.join()


def _is_time(job: Job, stop: threading.Event, over: threading.Event) -> bool:
    """Wait for a signal or the hour; not longer than the program runs, which then has nothing to be stopped."""
    deadline = job.deadline()
    while not stop.wait(TICK) and (deadline is None or job.clock.now() < deadline):
        if over.is_set():
            return False
    return True


def stop_queries() -> None:
    """Let every query of the process finish its batch and commit."""
    from tidemill.sql.session import open_sessions

    for session in open_sessions():
        for query in session.streams.active:
            query.stop()


def _as_main(file: str | Path | None, inline: str, job: Job, stopping: threading.Event) -> int:
    from tidemill.cli.job import importing_from

    path = job.directory / file if file is not None else None
    try:
        with importing_from(path.parent if path is not None else job.directory):
            if path is not None:
                runpy.run_path(str(path), run_name="__main__")
            else:
                exec(compile(inline, INLINE, "exec"), {"__name__": "__main__"})
            for query in job.spark.streams.active:
                query.awaitTermination()
    except Exception as error:
        if stopping.is_set() and is_for_want_of_executors(error):
            return 0
        return _failed(error, str(path) if path is not None else INLINE, job)
    return 0


def is_for_want_of_executors(error: BaseException) -> bool:
    """Whether a query has only failed because no executor was there for its batch: that is planned, and the next start
    runs it."""
    return isinstance(error, StreamingQueryException) and isinstance(error.cause, ExecutorLostError)


def _failed(error: Exception, program: str, job: Job) -> int:
    """Tell where in the program an error came from: by its line if it says all, else as Python does."""
    frames = traceback.extract_tb(error.__traceback__)
    depth = next((i for i, frame in enumerate(frames) if frame.filename == program), None)
    if isinstance(error, StreamingQueryException):
        termination.because(termination.of_query(error))
        if depth is None:
            return 1  # it is in the log already
    if isinstance(error, SyntaxError) and error.filename == program:
        raise TidemillError(f"{Path(program).name}, line {error.lineno}: {error.msg}") from error
    if depth is None:
        raise error
    if isinstance(error, TidemillError | OSError):
        line = [f.lineno for f in frames if f.filename == program][-1]
        raise TidemillError(f"{Path(program).name}, line {line}: {error}") from error
    shown = traceback.format_exception(error.with_traceback(_below(error.__traceback__, depth)))
    termination.because(termination.with_trace(error))
    typer.echo(job.secrets.mask("".join(shown)), err=True, nl=False)
    return 1


def _below(trace: TracebackType | None, depth: int) -> TracebackType | None:
    for _ in range(depth):
        trace = trace.tb_next if trace is not None else None
    return trace
