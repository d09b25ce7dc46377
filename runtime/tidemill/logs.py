"""Log lines for people or for programs. Each carries what it is about: `FIELDS`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

FIELDS = ("job", "executor", "query", "batch", "generation")
"""What lines carry where it is known: fields of a JSON line, the prefix of one for people."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the rest are fields that the caller added."""
_form = "text"
_process: dict[str, Any] = {}
_bound: ContextVar[Mapping[str, Any]] = ContextVar("tidemill_log_fields", default={})  # noqa: B039


def form() -> str:
    """How this process writes its lines, so that those it starts can do the same."""
    return _form


def of_process(**fields: Any) -> None:
    """What all lines of this process carry from now on."""
    _process.update(fields)


def bind(**fields: Any) -> None:
    """What the lines of this thread (or task) carry from now on, with those of the `CarryingPool`s that work for it."""
    _bound.set({**_bound.get(), **fields})


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """`bind` for a while."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class CarryingPool(ThreadPoolExecutor):
    """Threads whose lines carry what those of whoever gave them the work do."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(copy_context().run, fn, *args, **kwargs)


class Fields(logging.Filter):
    """Puts the fields on records; what a call gave as ``extra`` stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in {**_process, **_bound.get()}.items():
            if name not in vars(record):
                setattr(record, name, value)
        return True


class TextFormatter(logging.Formatter):
    """``<time> <level> <logger>: [job=logs query=hits batch=7 generation=2] <message>``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        found = [f"{name}={vars(record)[name]}" for name in FIELDS if name in vars(record)]
        vars(record)["about"] = f"[{' '.join(found)}] " if found else ""
        try:
            return super().format(record)
        finally:
            del record.__dict__["about"]


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, `FIELDS`, the call's ``extra``, and the error if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{k: v for k, v in vars(record).items() if k not in _STANDARD},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Masked(logging.Formatter):
    """Lines as another formatter writes them, with secrets taken out."""

    def __init__(self, inner: logging.Formatter, mask: Callable[[str], str]) -> None:
        super().__init__()
        self.inner, self.mask = inner, mask

    def format(self, record: logging.LogRecord) -> str:
        return self.mask(self.inner.format(record))


def configure(
    form: str = "text",
    level: int = logging.INFO,
    stream: TextIO | None = None,
    mask: Callable[[str], str] = str,
) -> None:
    """Send Tidemill's log lines to ``stream`` (standard error), as ``text`` or ``json``.

    ``mask`` takes secrets out of messages and errors.
    """
    global _form
    _form = form
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Masked(JsonFormatter() if form == "json" else TextFormatter(), mask))
    handler.addFilter(Fields())
    root = logging.getLogger("tidemill")
    root.handlers = [handler]
    root.setLevel(level)
    root.propagate = False
