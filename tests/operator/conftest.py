"""What tests of commands share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.operator.commandline import World
from tests.operator.stories import PLACE
from tidemill import clock
from tidemill.cli import validate
from tidemill_operator import commands
from tidemill_operator.access import Place


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)

    async def connect(kubeconfig: str, context: str, namespace: str) -> Place:
        return Place(found.api, "https://cluster.test", namespace or PLACE)  # type: ignore[arg-type]

    async def sleep(seconds: float) -> None:
        await asyncio.to_thread(found.goes_on)

    monkeypatch.setattr(commands, "connect", connect)
    monkeypatch.setattr(commands, "asyncio", SimpleNamespace(run=asyncio.run, sleep=sleep))
    for what in ("now", "monotonic"):
        monkeypatch.setattr(clock.SYSTEM, what, lambda: found.story.now.timestamp())
    return found


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine: what analysis finds has tests of its own."""
    monkeypatch.setattr(validate, "analysis", lambda job, directory: [])
