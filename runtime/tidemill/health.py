"""A small HTTP server for whoever watches a process: ``/livez``, ``/readyz``, ``/metrics`` and ``/api/v1/status``.

It is plain HTTP and answers GET alone. What it tells holds no rows and no secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tidemill.errors import TidemillError

log = logging.getLogger("tidemill.health")

BEAT = 1.0
"""Seconds between two beats of an event loop."""
DEAD = 30.0
"""Seconds without a beat after which an event loop counts as stuck: no work of ours runs on it, so even a machine that
is short of everything turns it far more often."""
PATIENCE = 10.0
"""Seconds that a client may take to ask."""


class Heartbeat:
    """Tells from outside whether an event loop still turns."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last = monotonic()

    async def keep(self) -> None:
        """Beat for ever, on the loop."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT)

    def beat(self) -> None:
        self._last = self._monotonic()

    @property
    def trouble(self) -> str:
        """Empty, or since when it has stood still."""
        age = self._monotonic() - self._last
        return f"the event loop has not turned for {age:.0f} s" if age > DEAD else ""


@dataclass(frozen=True)
class Probes:
    """What the server asks. ``live`` and ``ready`` give the reason why not, or nothing."""

    live: Callable[[], str] = lambda: ""
    ready: Callable[[], str] = lambda: ""
    status: Callable[[], Mapping[str, Any]] = dict
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


class HealthServer:
    """Answers on a thread of its own until `close`. ``port`` 0 takes any that is free; see ``port`` afterwards."""

    def __init__(self, probes: Probes, port: int, host: str = "127.0.0.1") -> None:
        class Handler(_Handler):
            asked = probes

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        try:
            self._server = Server((host, port), Handler)
        except OSError as error:
            raise TidemillError(
                f"health and metrics cannot be served at {host}:{port}: {error.strerror or error}; choose another port"
            ) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="tidemill-health", daemon=True
        )
        self._thread.start()
        log.info("health and metrics at http://%s:%d", f"[{host}]" if ":" in host else host, self.port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    asked: Probes
    timeout = PATIENCE
    server_version = "tidemill"
    sys_version = ""

    def do_GET(self) -> None:
        answers = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": self._metrics,
            "/api/v1/status": self._status,
        }
        path = urlsplit(self.path).path
        answer = answers.get(path)
        if answer is None:
            self._say(404, f"{path} is not one of {', '.join(answers)}\n")
            return
        try:
            answer()
        except (BrokenPipeError, ConnectionResetError):
            pass  # who asked has gone
        except Exception:
            log.exception("%s could not be answered", path)
            with contextlib.suppress(OSError):
                self._say(500, "the log says what went wrong\n")

    def _live(self) -> None:
        self._probe(self.asked.live())

    def _ready(self) -> None:
        self._probe(self.asked.live() or self.asked.ready())

    def _probe(self, trouble: str) -> None:
        self._say(503 if trouble else 200, f"{trouble or 'ok'}\n")

    def _metrics(self) -> None:
        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        self._send(200, kind, encode(self.asked.registry))

    def _status(self) -> None:
        text = json.dumps(self.asked.status(), default=str, ensure_ascii=False, indent=2)
        self._send(200, "application/json", f"{text}\n".encode())

    def _say(self, code: int, text: str) -> None:
        self._send(code, "text/plain; charset=utf-8", text.encode())

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; nobody wants to read of them."""
