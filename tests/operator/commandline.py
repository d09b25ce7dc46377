"""`tidemill submit`, `status` and `logs` as somebody at a terminal has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.testing import CliRunner

from tests.operator import stories
from tests.operator.apiserver import Cluster
from tests.operator.stories import Story
from tidemill_operator import commands
from tidemill_operator.cluster import Item

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


class Api(Cluster):
    """With what only commands ask for."""

    log: tuple[bytes, ...] = ()

    async def log_of(self, pod: Item, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        self.calls.append(f"log of {pod['metadata']['name']} {sorted(query.items())}")
        for piece in self.log:
            yield piece

    async def close(self) -> None:
        self.calls.append("close")


class World:
    """A story that goes on while a command waits; ``meanwhile`` may interfere, once for each look."""

    def __init__(self, folder: Path) -> None:
        self.story, self.folder = Story(), folder
        self.cluster = self.story.cluster
        self.api = Api(self.cluster)
        self.operated = True
        self.meanwhile: Callable[[], object] = lambda: None

    def goes_on(self) -> None:
        self.meanwhile()
        self.story.waits(seconds=1)
        if self.operated:
            self.story.passes()
        self.story.lives()

    def without_job(self) -> World:
        self.cluster.remove(self.story.job)
        return self

    def manifest(self, *beside: Item, **spec: Any) -> str:
        """A file with a job, and what lies beside it."""
        ours = stories.job(**spec)
        del ours["metadata"]["namespace"]
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump_all([ours, *beside]))
        return str(path)

    def submit(self, *words: str, beside: tuple[Item, ...] = (), **spec: Any) -> Ran:
        return run("submit", self.manifest(*beside, **spec), *words)
