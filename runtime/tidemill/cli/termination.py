"""What a process says at its end: the file that Kubernetes shows as its pod's termination message."""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tidemill.errors import StreamingQueryException, TidemillError

VARIABLE = "TIDEMILL_TERMINATION_LOG"
"""Names the file. The operator sets it to what Kubernetes reads."""
MOST = 4_000
"""Bytes of a message; Kubernetes keeps 4,096."""

log = logging.getLogger("tidemill.cli")

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""What a terminal would act on."""


@dataclass
class _Ending:
    causes: list[str] = field(default_factory=list)
    mask: Callable[[str], str] = str


_ending = _Ending()
"""Of this process, which has one."""


def because(*causes: str) -> None:
    """Why the process is about to end with an error, in words for people."""
    _ending.causes.extend(causes)


def masked_by(mask: Callable[[str], str]) -> None:
    """What takes secrets out of messages from now on."""
    _ending.mask = mask


def of_query(error: StreamingQueryException) -> str:
    """Why a query has failed, without its run's number: the cause comes early, where a line is cut off."""
    if error.cause is None:
        return str(error)
    return f"{error.desc.partition(' [runId')[0]}: {of(error.cause)}"


def of(error: BaseException) -> str:
    """An error in one piece: ours say all, of others the type says most."""
    return str(error) if isinstance(error, TidemillError) else f"{type(error).__name__}: {error}".rstrip(": ")


def with_trace(error: BaseException) -> str:
    """An error that nobody expected, and below it where it came from."""
    trace = "".join(traceback.format_exception(error))
    return f"{of(error)}\n\n{trace}"


@contextmanager
def told() -> Iterator[None]:
    """Around a command: if it ends because of an error, and the environment names a file, says there what it was."""
    _ending.causes, _ending.mask = [], str
    try:
        yield
    except SystemExit as end:
        if end.code not in (None, 0):
            _tell(_ending.causes or [_reason(end)])
        raise
    except Exception as error:
        _tell([*_ending.causes, with_trace(error)])
        raise


def _reason(end: SystemExit) -> str:
    """What an exit says of itself: words of its own, or those of the error that the command line was refused with."""
    words = getattr(end.__context__, "format_message", None)
    if words is not None:
        return str(words())
    return end.code if isinstance(end.code, str) else f"it has ended itself with exit code {end.code}"


def _tell(causes: list[str]) -> None:
    path = os.environ.get(VARIABLE)
    if not path:
        return
    text = _CONTROL.sub("", _ending.mask("\n".join(causes)))
    try:
        # Not by a rename: in a pod the file is a mount.
        with open(path, "wb") as file:
            file.write(shortened(text))
    except OSError as error:
        log.warning("%s=%s cannot be written: %s", VARIABLE, path, error.strerror or error)


def shortened(text: str) -> bytes:
    """The text as UTF-8, of at most `MOST` bytes: its beginning, and a mark that there was more.

    >>> shortened("é" * 4000).decode()[-3:], len(shortened("é" * 4000))
    ('éé…', 3999)
    """
    data = text.strip().encode("utf-8", "replace")
    if len(data) < MOST:
        return data + b"\n"
    mark = "…".encode()
    return data[: MOST - len(mark)].decode("utf-8", "ignore").encode() + mark
