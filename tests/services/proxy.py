"""A TCP proxy that loses answers, cuts connections, and can be led to another server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Listens on ``port`` of 127.0.0.1 and leads to ``target``."""

    def __init__(self, target: int) -> None:
        self.target: int | None = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._swallow = 0

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def swallow_answers(self, count: int) -> None:
        """The next answers do not arrive: their connections break in place of them."""
        with self._lock:
            self._swallow = count

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            sockets, self._open = self._open, set()
        for each in sockets:
            _close(each)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Nobody gets through, neither on old connections nor on new ones."""
        target, self.target = self.target, None
        self.cut()
        try:
            yield
        finally:
            self.target = target

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.target is None:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for here, there, answers in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(here, there, answers), daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(1 << 16):
                if answers and self._is_swallowed():
                    break
                there.sendall(data)
        with self._lock:
            self._open -= {here, there}
        _close(here)
        _close(there)

    def _is_swallowed(self) -> bool:
        with self._lock:
            self._swallow -= 1
            return self._swallow >= 0


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
