"""The command line: ``tidemill validate``, ``run``, ``driver`` and ``executor``, ``checkpoint`` and ``state``.

Exit codes: 0 done, 1 a job failed while running, 2 the command or its manifest is wrong.
"""

from __future__ import annotations

import sys

import typer

import tidemill
from tidemill.cli import checkpoint, driver, executor, others, run, termination, validate

app = typer.Typer(
    help="Streaming jobs in PySpark's API, without a JVM.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, and a local variable may hold a secret.
    pretty_exceptions_enable=False,
)
app.command("run")(run.command)
app.command("driver")(driver.command)
app.command("executor")(executor.command)
app.command("validate")(validate.command)
app.add_typer(checkpoint.checkpoint, name="checkpoint")
app.add_typer(checkpoint.state, name="state")


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        typer.echo(f"tidemill {tidemill.__version__}")
        raise typer.Exit()


def main() -> None:
    """The console script."""
    with termination.told():
        others.add(app, sys.argv[1:])
        app()
