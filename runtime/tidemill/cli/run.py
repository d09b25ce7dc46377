"""``tidemill run``: a manifest on this machine."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import typer

from tidemill.api import load
from tidemill.errors import ManifestError, TidemillError


class LogFormat(StrEnum):
    """How log lines are written."""

    text = "text"
    json = "json"


def command(
    file: Path = typer.Argument(help="The manifest.", show_default=False),
    log_format: LogFormat = typer.Option(LogFormat.text, help="How log lines are written."),
    metrics_port: int = typer.Option(
        0, min=0, max=65_535, help="Serve Prometheus metrics on this port of 127.0.0.1; 0: do not."
    ),
) -> None:
    """Run a job on this machine until it ends, its hour comes, or Ctrl-C; then finish the batch and commit."""
    try:
        job = load(file, os.environ)
        from tidemill import launch

        code = launch.run_job(
            job, file.resolve().parent, log_format=log_format.value, metrics_port=metrics_port
        )
    except ManifestError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except TidemillError as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)
