"""``tidemill checkpoint`` and ``tidemill state``: look into what a job keeps, carry it elsewhere, or remove it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from tidemill.cli import termination
from tidemill.errors import ManifestError, TidemillError

if TYPE_CHECKING:
    from tidemill.checkpoint.removal import Removed
    from tidemill.driver.contents import Contents, StateTable

checkpoint = typer.Typer(
    help="Look into a checkpoint, carry it to another place, or remove it.", no_args_is_help=True
)
state = typer.Typer(help="Look into the state of a query.", no_args_is_help=True)

LOCATION = typer.Argument(
    help="A directory, or redis://host:6379/0/<name>; all checkpoints at it and below it.", show_default=False
)
AS_JSON = typer.Option(False, "--json", help="Print one JSON object a line.")


@checkpoint.command("show")
def show_checkpoint(location: str = LOCATION, as_json: bool = AS_JSON) -> None:
    """Queries, batches, operators, and what they take. Changes nothing; the job may run meanwhile."""
    with complaints():
        from tidemill.driver.contents import checkpoints, describe

        _print((describe(each) for each in checkpoints(location)), as_json, _show_contents)


@checkpoint.command("copy")
def copy_checkpoint(
    source: str = typer.Argument(help="A directory or redis:// location.", show_default=False),
    destination: str = typer.Argument(help="Where to; it must hold nothing yet.", show_default=False),
) -> None:
    """Carry all checkpoints of a job to another place. The job has to be stopped."""
    with complaints():
        from tidemill.driver.contents import copy

        for made in copy(source, destination):
            typer.echo(
                f"{made.source} -> {made.destination}: {made.entries} entries, {made.blobs} blobs, {_bytes(made.bytes)}"
            )


@checkpoint.command("delete")
def delete_checkpoint(
    location: str | None = typer.Argument(
        None,
        help="A directory, or redis://host:6379/0/<name>; all checkpoints at it and below it.",
        show_default=False,
    ),
    manifest: Path | None = typer.Option(
        None,
        help="In place of a location: where `tidemill run` and `driver` keep this job.",
        show_default=False,
    ),
    kept_at: str | None = typer.Option(
        None,
        "--checkpoint",
        help="With --manifest: what they were given as --checkpoint; TIDEMILL_CHECKPOINT, as for a driver.",
        show_default=False,
    ),
    yes: bool = typer.Option(False, "--yes", help="Do not ask; needed where nobody can be asked."),
) -> None:
    """Remove checkpoints for ever: entries, state, leases. The job has to be stopped; its next start begins anew."""
    if (location is None) == (manifest is None) or (kept_at is not None and manifest is None):
        _refuse("give a LOCATION, or --manifest FILE and, if the job was started with it, --checkpoint")
    with complaints():
        from tidemill import logs
        from tidemill.checkpoint import found, shown
        from tidemill.checkpoint.removal import remove

        logs.configure()
        where = location if manifest is None else _location_of(manifest, kept_at)
        assert where is not None
        all_of_them = found(where)
        if not all_of_them:
            typer.echo(f"there is no checkpoint at {shown(where)} or below it: nothing to remove")
            return
        if not yes:
            _ask([shown(each) for each in all_of_them])
        for removed in remove(where):
            typer.echo(_said(removed))


def _location_of(file: Path, kept_at: str | None) -> str:
    """Where a job is kept. Of its secrets none but that of the location need be here."""
    from tidemill.api import load
    from tidemill.cli.job import PROGRAMS_CHECKPOINTS, checkpoint_of
    from tidemill.secrets import SecretResolver

    job = load(file)
    elsewhere = job.spec.conf.get(PROGRAMS_CHECKPOINTS) if job.spec.program is not None else None
    if elsewhere is not None:
        typer.echo(
            f"{file}: what its program keeps in {PROGRAMS_CHECKPOINTS} ({elsewhere}) stays: others may be kept there, too; "
            "give that location to remove it",
            err=True,
        )
    given = kept_at or os.environ.get("TIDEMILL_CHECKPOINT")
    return checkpoint_of(job, file.resolve().parent, SecretResolver(), given)


def _ask(locations: list[str]) -> None:
    """Let the person at the terminal decide; ends the command if that is no, or nobody is there."""
    listed = "\n".join(f"  {each}" for each in locations)
    if not _is_a_person_there():
        _refuse(f"this would remove for ever:\n{listed}\ngive --yes to do it")
    typer.echo(f"This removes for ever:\n{listed}")
    if not typer.confirm("Remove them?"):
        raise typer.Exit(1)


def _is_a_person_there() -> bool:
    return sys.stdin.isatty()


def _refuse(text: str) -> NoReturn:
    typer.echo(text, err=True)
    termination.because(text)
    raise typer.Exit(2)


def _said(removed: Removed) -> str:
    counted = f"{removed.entries} entries, {removed.blobs} blobs, {_bytes(removed.bytes)}"
    left = f"; what else is there stays: {removed.left} files" if removed.left else ""
    return f"removed {removed.location}: {counted}{left}"


@state.command("show")
def show_state(
    location: str = LOCATION,
    operator: str | None = typer.Option(
        None, help="One operator, such as op0; by default all.", show_default=False
    ),
    shard: int | None = typer.Option(None, min=0, help="One shard; by default all.", show_default=False),
    rows: int = typer.Option(10, min=0, help="How many rows of each table to print."),
    as_json: bool = AS_JSON,
) -> None:
    """The tables of a query's state as of its last batch: how many rows, and the first of them."""
    with complaints():
        from tidemill.driver.contents import checkpoints, state

        tables = (t for each in checkpoints(location) for t in state(each, operator, shard, rows))
        _print(tables, as_json, _show_table)


@contextmanager
def complaints() -> Iterator[None]:
    """Errors of ours as one line, and exit code 1; 2 if the manifest is wrong."""
    try:
        yield
    except TidemillError as error:
        typer.echo(str(error), err=True)
        termination.because(str(error))
        raise typer.Exit(2 if isinstance(error, ManifestError) else 1) from None


def _print(items: Iterable[Any], as_json: bool, show: Callable[[Any], None]) -> None:
    for item in items:
        if as_json:
            typer.echo(json.dumps(item.to_json(), default=str, ensure_ascii=False))
        else:
            show(item)


def _show_contents(c: Contents) -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(f"{c.location}\n  query {c.query}")
    for source in c.sources:
        typer.echo(f"  reads {source}")
    for operator in c.operators:
        typer.echo(f"  {operator['id']}: {operator['kind']} {', '.join(map(str, operator['what']))}")
    newest = f"planned {_n(c.planned)}, prepared {_n(c.prepared)}, committed {_n(c.committed)}"
    typer.echo(f"  batches: {newest}; kept from {_n(c.oldest)}")
    if c.watermark:
        typer.echo(f"  watermark {datetime.fromtimestamp(c.watermark / 1e6, UTC).isoformat()}")
    typer.echo(f"  {c.blobs} blobs, {_bytes(c.bytes)}, in {c.shards} shards")
    if c.state:
        table = Table("state", "shards", "blobs", "bytes", box=None, padding=(0, 2))
        for row in c.state:
            table.add_row(row["operator"], str(row["shards"]), str(row["blobs"]), _bytes(row["bytes"]))
        Console().print(table)


def _show_table(t: StateTable) -> None:
    from rich.console import Console
    from rich.table import Table

    typer.echo(f"{t.location} {t.operator}: {t.rows} rows in {len(t.shards)} shards as of batch {t.version}")
    if t.first.num_rows:
        table = Table(*t.first.column_names, box=None, padding=(0, 2))
        for row in t.first.to_pylist():
            table.add_row(*map(str, row.values()))
        Console().print(table)


def _n(batch: int | None) -> str:
    return "none" if batch is None else str(batch)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
