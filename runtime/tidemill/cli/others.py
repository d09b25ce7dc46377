"""Commands that other packages bring, by the entry point group ``tidemill.commands``: this one knows only their names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

GROUP = "tidemill.commands"


def add(app: typer.Typer, asked: list[str]) -> None:
    """Add the command that is asked for, or all of them where help is; loading one takes a while."""
    known = {command.name for command in app.registered_commands} | {g.name for g in app.registered_groups}
    first = next((word for word in asked if not word.startswith("-")), "")
    if first in known:
        return
    points = {point.name: point for point in entry_points(group=GROUP)}
    for point in [points[first]] if first in points else points.values():
        app.command(point.name)(_loaded(point))


def _loaded(point: EntryPoint) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = point.load()
        return found
    except ImportError as error:
        said = f"tidemill {point.name} needs: pip install 'tidemill[operator]' ({error})"

    def missing() -> None:
        typer.echo(said, err=True)
        raise typer.Exit(2)

    missing.__doc__ = "Not installed: pip install 'tidemill[operator]'."
    return missing
