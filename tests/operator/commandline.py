"""`tidemill submit`, `status` and `logs` as somebody at a terminal has them."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from typer.testing import CliRunner

from tidemill_operator import commands

app = typer.Typer()
for name in ("submit", "status", "logs"):
    app.command(name)(getattr(commands, name))


@dataclass(frozen=True)
class Ran:
    """What a command has left."""

    code: int
    out: str
    err: str


def run(*words: str, given: str | None = None) -> Ran:
    """In this process; ``given`` is its standard input."""
    done = CliRunner().invoke(app, list(words), input=given)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)
