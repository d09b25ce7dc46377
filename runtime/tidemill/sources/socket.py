"""Lines of text from a TCP server: for trying things out, since lines read are gone from the server.

As in Spark, nothing is kept across restarts: a query that restarts does not see again what its last life had read.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping

import pyarrow as pa

from tidemill.errors import AnalysisException, SourceError
from tidemill.sources.base import Limits, Offset, Partition, Rows, Source
from tidemill.sources.options import Options
from tidemill.types import StringType, StructField, StructType, TimestampType, to_arrow_schema

log = logging.getLogger(__name__)

KNOWN = ("host", "port", "includeTimestamp", "numPartitions")
CONNECT_SECONDS = 5.0


def socket_schema(options: Mapping[str, str]) -> StructType:
    """``value STRING``, and ``timestamp`` (when the line arrived) with ``includeTimestamp``."""
    checked = Options("socket", options, KNOWN)
    for name, condition in (("host", "_LEGACY_ERROR_TEMP_1295"), ("port", "_LEGACY_ERROR_TEMP_1296")):
        if checked.text(name) is None:
            raise AnalysisException(f'Set a {name} to read from with option("{name}", ...).', condition)
    fields = [StructField("value", StringType())]
    if checked.flag("includeTimestamp"):
        fields.append(StructField("timestamp", TimestampType()))
    return StructType(fields)


class SocketSource(Source):
    """Connects when made, and raises `SourceError` at once if nobody listens; an offset is the number of lines read.

    When the server hangs up, what has arrived is still read, and then the source stays silent.
    """

    anywhere = False

    def __init__(self, options: Mapping[str, str]) -> None:
        checked = Options("socket", options, KNOWN)
        self.host = checked.required("host", "localhost")
        checked.required("port", "9999")
        self.port = checked.whole("port") or 0
        self.schema = socket_schema(options)
        self._arrow = to_arrow_schema(self.schema)
        self._lines: list[tuple[str, int]] = []
        self._dropped = 0
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None
        self._frozen: int | None = None
        log.warning(
            "the socket source is for testing only: it cannot recover, lines read before a restart are lost"
        )
        self._connection = self._connected()
        self._reader = threading.Thread(
            target=self._receive, name=f"socket-{self.host}:{self.port}", daemon=True
        )
        self._reader.start()

    def _connected(self) -> socket.socket:
        try:
            connection = socket.create_connection((self.host, self.port), timeout=CONNECT_SECONDS)
        except OSError as error:
            raise SourceError(
                f"nobody answers at {self.host}:{self.port} ({error}); start the server first, "
                f"for example with: nc -lk {self.port}"
            ) from error
        connection.settimeout(None)
        return connection

    def _receive(self) -> None:
        try:
            with self._connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as stream:
                for line in stream:
                    with self._lock:
                        self._lines.append((line.rstrip("\r\n"), time.time_ns() // 1000))
                    self._wake()
        except (OSError, ValueError):
            pass  # closed, by us or by the server
        log.info("socket %s:%s was closed", self.host, self.port)

    def initial(self) -> Offset:
        return 0

    def latest(self, start: Offset, limits: Limits) -> Offset:
        with self._lock:
            if start > self._dropped + len(self._lines):
                # After a restart: offsets go on from the checkpoint, the lines before it are gone.
                self._dropped = start - len(self._lines)
            end = self._dropped + len(self._lines)
        return max(start, end if self._frozen is None else self._frozen)

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        return [Partition(0, {"start": start, "end": end}, end - start)] if end > start else []

    def read(self, partition: Partition) -> Rows:
        start, end = partition.spec["start"], partition.spec["end"]
        with self._lock:
            if start < self._dropped or end > self._dropped + len(self._lines):
                log.warning("socket lines %s to %s are gone with the process that read them", start, end)
            lines = self._lines[max(0, start - self._dropped) : max(0, end - self._dropped)]
        columns = [pa.array([text for text, _ in lines], pa.string())]
        if len(self._arrow) > 1:
            columns.append(pa.array([at for _, at in lines], pa.int64()).cast(pa.timestamp("us")))
        return Rows(pa.table(columns, schema=self._arrow), bytes=sum(len(text) + 1 for text, _ in lines))

    def freeze(self) -> None:
        self._frozen = self._dropped + len(self._lines)

    def on_arrival(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def committed(self, end: Offset) -> None:
        with self._lock:
            done = min(max(0, end - self._dropped), len(self._lines))
            del self._lines[:done]
            self._dropped += done

    def close(self) -> None:
        self._wake = lambda: None
        with contextlib.suppress(OSError):  # the server may have been faster
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._reader.join(1)
