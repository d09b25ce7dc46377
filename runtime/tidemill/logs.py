"""Log lines for people or for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the rest are fields that the caller added."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the call's ``extra`` fields, and the error if there is one."""

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
    handler = logging.StreamHandler(stream or sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(Masked(JsonFormatter() if form == "json" else text, mask))
    root = logging.getLogger("tidemill")
    root.handlers = [handler]
    root.setLevel(level)
    root.propagate = False
