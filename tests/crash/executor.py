"""The executor that is killed or stopped where no step of the driver's is: ``python -m tests.crash.executor SWITCH ...``.

``SWITCH`` is a file. It lies there while something is to happen, and says what: ``<place> <signal>``. Whichever executor
comes to the place first takes the file away and sends the signal to itself, so that it happens once. What follows are
the words of ``tidemill executor``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.crash.matrix import KILL_BATCH
from tidemill.__main__ import main
from tidemill.executor import worker
from tidemill.executor.host import Host
from tidemill.executor.journal import Journal
from tidemill.executor.work import Attempt, Place

FRAME = 400
"""Bytes of rows in a frame, so that even few rows go in several."""


def here(switch: Path, place: str, batch: int) -> None:
    """Come to a place: the end, if it is the one."""
    if batch < KILL_BATCH:
        return
    try:
        wanted, name = switch.read_text().split()
        if wanted != place:
            return
        os.unlink(switch)
    except (FileNotFoundError, ValueError):
        return
    os.kill(os.getpid(), getattr(signal, name))


def arm(switch: Path) -> None:
    """Make an executor of this process that looks at ``switch`` in each of the places of `tests.crash.matrix.PLACES`."""
    worker.FRAME = FRAME
    _in_the_exchange(switch)
    _around(
        Host,
        "_restore",
        lambda host, query, chains: any(chains.values()) and here(switch, "restoring", KILL_BATCH),
        None,
    )
    _around(Host, "_accept", lambda host, query, attempt: here(switch, "accepting", attempt.batch), None)
    _around(
        Journal,
        "write",
        lambda journal, attempt, made: here(switch, "storing", attempt.batch),
        lambda journal, attempt, made: here(switch, "stored", attempt.batch),
    )


def _in_the_exchange(switch: Path) -> None:
    plain = worker.PeerExchange._send
    encoded = worker._encoded
    sending: dict[int, int] = {}

    async def send(
        exchange: worker.PeerExchange, attempt: Attempt, place: Place, stage: int, side: int, member: int, rows: pa.Table
    ) -> None:  # fmt: skip
        here(switch, "sending", attempt.batch)
        sending[0] = attempt.batch
        await plain(exchange, attempt, place, stage, side, member, rows)
        here(switch, "sent", attempt.batch)

    def counted(piece: pa.Table) -> pa.Buffer:
        sending[1] = sending.get(1, 0) + 1
        if sending[1] % 2 == 0:
            here(switch, "between-frames", sending[0])
        return encoded(piece)

    worker.PeerExchange._send = send  # type: ignore[method-assign]
    worker._encoded = counted
    rows = worker.ExecutorPlugin.rows

    async def receive(plugin: worker.ExecutorPlugin, head: bytes, last: bool, frame: Any) -> dict[str, Any]:
        answer = await rows(plugin, head, last, frame)
        here(switch, "receiving", worker.pickle.loads(head)[0].batch)
        return answer

    worker.ExecutorPlugin.rows = receive  # type: ignore[method-assign]


def _around(owner: type, name: str, before: Callable[..., None], after: Callable[..., None] | None) -> None:
    plain = getattr(owner, name)

    @wraps(plain)
    def wrapped(*arguments: Any) -> Any:
        before(*arguments)
        answer = plain(*arguments)
        if after is not None:
            after(*arguments)
        return answer

    setattr(owner, name, wrapped)


def run(words: Sequence[str]) -> None:
    arm(Path(words[0]))
    sys.argv = ["tidemill", "executor", *words[1:]]
    main()


if __name__ == "__main__":
    run(sys.argv[1:])
