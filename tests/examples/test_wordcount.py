"""The socket word count, against a real socket."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.examples.lives import EXAMPLES, life, until

PROGRAM = EXAMPLES / "wordcount" / "wordcount.py"
LINES = ["to be or not to be", "that is the question", "to die to sleep"]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        yield listening


def accepted(server: socket.socket, process: subprocess.Popen[str]) -> socket.socket:
    """The program's connection."""
    found: list[socket.socket] = []

    def come() -> bool:
        with contextlib.suppress(TimeoutError):
            found.append(server.accept()[0])
        return bool(found)

    until(come, process, "its connection")
    found[0].settimeout(None)
    return found[0]


def counts_until(process: subprocess.Popen[str], wanted: Counter[str]) -> list[int]:
    """Read the console's tables until one of them is `wanted`; the numbers of the batches that were shown."""
    assert process.stdout is not None
    batches: list[int] = []
    shown: Counter[str] = Counter()
    for line in process.stdout:
        if line.startswith("Batch: "):
            batches.append(int(line.removeprefix("Batch: ")))
            shown = Counter()
        elif line.startswith("|"):
            word, count = (cell.strip() for cell in line.strip().strip("|").split("|"))
            if word != "word":  # the header
                shown[word] = int(count)
        if shown == wanted:
            return batches
    raise AssertionError(
        f"ended with {process.wait()} before {wanted} was shown: {process.stderr and process.stderr.read()}"
    )


def test_all_counts_are_shown_after_every_batch(server: socket.socket) -> None:
    port = server.getsockname()[1]
    told: Counter[str] = Counter()
    batches: list[int] = []
    with life(PROGRAM, "127.0.0.1", port) as process, accepted(server, process) as connection:
        for line in LINES:
            connection.sendall(line.encode() + b"\n")
            told.update(line.split())
            batches += counts_until(process, told)
    assert batches == sorted(set(batches))
