"""``tidemill validate``: everything that can be found wrong with manifests before anything starts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tidemill.clock import SYSTEM
from tidemill.errors import ManifestError

if TYPE_CHECKING:  # executors, which share this command line, load no models
    from tidemill.api import Problem, Restarts, Source, StreamingJob, Table

_IDENTITY = ("path", "subscribe", "subscribePattern", "assign", "topic", "host", "port", "rowsPerSecond")
"""Options that say what is read or written. Others are not shown: a user may have written a password in plain text."""


def command(
    files: list[str] = typer.Argument(help="Manifests; - reads the standard input.", show_default=False),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object for each file."),
) -> None:
    """Check manifests; print a summary of each, or all that is wrong with it. Exits with 2 if anything is."""
    wrong = False
    for file in files:
        where, job, problems = check(file)
        wrong = wrong or bool(problems)
        if as_json:
            typer.echo(json.dumps(_report(where, job, problems), ensure_ascii=False))
        elif problems:
            for problem in problems:
                typer.echo(f"{where}: {problem}", err=True)
        elif job is not None:
            typer.echo(f"{where}: ok\n{summary(job)}")
    raise typer.Exit(2 if wrong else 0)


def check(file: str) -> tuple[str, StreamingJob | None, list[Problem]]:
    """What a message calls the file, the job, and the problems (from its text, then from its queries)."""
    from tidemill.api import Problem

    try:
        text, where = text_of(file)
    except ManifestError as error:
        return file, None, [Problem((), said) for said in error.problems]
    return where, *check_text(text, file)


def text_of(file: str) -> tuple[str, str]:
    """A manifest, and what messages call it. Raises ManifestError."""
    from tidemill.api import manifest_text

    return (sys.stdin.read() + "\n", "stdin") if file == "-" else manifest_text(Path(file))


def check_text(text: str, file: str) -> tuple[StreamingJob | None, list[Problem]]:
    """The job, and its problems; with a job they are those that only analysis finds. ``file``: where the text is from."""
    from tidemill.api import inspect
    from tidemill.api.problems import line_of

    job, problems, lines = inspect(text)
    if job is None:
        return None, problems
    found = analysis(job, Path.cwd() if file == "-" else Path(file).resolve().parent)
    return job, [replace(p, line=line_of(p.path, lines)) for p in found]


def analysis(job: StreamingJob, directory: Path) -> list[Problem]:
    """What only analysis of the queries can find: the one call from here into the engine.

    ``directory``: the manifest's, where its program and the modules of its functions are looked for.
    """
    from tidemill.cli.analysis import analyse

    return analyse(job, directory)


# --- What is printed ------------------------------------------------------------------------------------------------


def summary(job: StreamingJob) -> str:
    """A few lines: what is read, what is computed, where it goes."""
    spec = job.spec
    rows = [("job", job.name), *(("source", _source(s)) for s in spec.sources)]
    rows += [("table", f"{t.name}: {_what(t)}") for t in spec.tables]
    rows += [("function", f"{f.name}: {f.from_} -> {f.returns} ({f.kind})") for f in spec.functions]
    rows += [
        ("query", f"{q.name}: {q.output_mode}, {_trigger(q.trigger)} -> {_what(q.sink)}")
        for q in spec.queries
    ]
    if spec.program:
        rows.append(
            ("program", spec.program.file or ("inline" if spec.program.inline else "from a ConfigMap"))
        )
    if spec.stop_at:
        rows.append(("stops at", spec.stop_at))
    if spec.restarts:
        rows.append(("restarts", _restarts(spec.restarts)))
    return "\n".join(f"  {title:<9} {told}" for title, told in rows)


def _what(part: Any) -> str:
    shown = [f"{key}={part.options[key]}" for key in _IDENTITY if key in part.options]
    return f"{part.format} {', '.join(shown)}".rstrip()


def _source(source: Source) -> str:
    told = f"{source.name}: {_what(source)}"
    if source.watermark:
        told += f", watermark {source.watermark.delay} on {source.watermark.event_time}"
    return told + (", without duplicates" if source.drop_duplicates else "")


def _trigger(trigger: Any) -> str:
    if trigger.processing_time is None:
        return "once" if trigger.once else "all there is"
    return f"every {trigger.processing_time}"


def _restarts(restarts: Restarts) -> str:
    """With the next one, since a schedule is easily misread."""
    from tidemill.api import parse_schedule

    now = datetime.fromtimestamp(SYSTEM.now(), UTC)
    to_come = parse_schedule(restarts.schedule, restarts.time_zone).after(now)
    return f"{restarts.schedule} {restarts.time_zone}, next {to_come:%a %Y-%m-%d %H:%M %Z}, on a cluster"


def _report(where: str, job: StreamingJob | None, problems: list[Problem]) -> dict[str, Any]:
    from tidemill.api.problems import dotted

    if problems or job is None:
        found = [{"path": dotted(p.path), "line": p.line, "message": p.message} for p in problems]
        return {"file": where, "ok": False, "problems": found}
    spec = job.spec
    return {
        "file": where,
        "ok": True,
        "job": job.name,
        "sources": [_entry(s) for s in spec.sources],
        "tables": [_entry(t) for t in spec.tables],
        "functions": [{"name": f.name, "from": f.from_} for f in spec.functions],
        "queries": [
            {"name": q.name, "outputMode": q.output_mode, "sink": {"format": q.sink.format} | _shown(q.sink)}
            for q in spec.queries
        ],
        "program": bool(spec.program),
    }


def _entry(part: Source | Table) -> dict[str, Any]:
    return {"name": part.name, "format": part.format} | _shown(part)


def _shown(part: Any) -> dict[str, str]:
    return {key: part.options[key] for key in _IDENTITY if key in part.options}
