"""On the way to a cluster: configurations that lead nowhere, servers that are none, and ends of a log that is followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.operator.commandline import run
from tests.services.parts import free_ports
from tidemill_operator.cluster import POD, Item

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class Site:
    """An HTTP server; what it answers at a path is ``answers`` by that path's end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.read = threading.Event()
        """Set once a log has been asked for."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.host = f"http://127.0.0.1:{self._server.server_port}"

    def says(self, end: str, status: int, body: object, content: str = "application/json") -> Site:
        data = body if isinstance(body, str) else json.dumps(body)
        self.answers[end] = lambda: (status, content, data.encode())
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith("/log"):
                return self.goes_on()
            answer = next((a for end, a in site.answers.items() if path.endswith(end)), None)
            status, content, body = answer() if answer else (404, "text/plain", b"404 page not found\n")
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        do_POST = do_GET

        def goes_on(self) -> None:
            """Lines without end, until nobody reads them."""
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"a line of the log\n" * 100)
                    site.read.set()
            except OSError:
                return

        def log_message(self, *words: object) -> None:
            """Nothing."""

    return Handler


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def kubeconfig(
    folder: Path, host: str, context: str = "test", namespace: str = "shop", **user: object
) -> Path:
    path = folder / f"{context}.kubeconfig"
    there = {"cluster": "test", "user": "test", "namespace": namespace}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": context,
                "contexts": [{"name": context, "context": there}],
                "clusters": [{"name": "test", "cluster": {"server": host}}],
                "users": [{"name": "test", "user": user}],
            }
        )
    )
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No configuration at all."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


class TestWithoutAWay:
    def told(self, *words: str) -> str:
        done = run("status", *words)
        assert (done.code, done.out) == (1, "")
        return done.err

    def test_nothing_is_configured(self, nowhere: Path) -> None:
        assert self.told().startswith(
            "there is no cluster to talk to: KUBECONFIG is not set, and there is no"
        )

    def test_a_file_that_is_not_there(self, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told("--kubeconfig", "missing").startswith("there is no file missing, which --kubeconfig")
        monkeypatch.setenv("KUBECONFIG", "gone")
        assert self.told().startswith("there is no file gone, which --kubeconfig or KUBECONFIG names")

    @pytest.mark.parametrize("text", ["", "a: [", "just words", "{kind: Config, contexts: []}"])
    def test_a_file_that_is_no_configuration(self, nowhere: Path, text: str) -> None:
        path = nowhere / "config"
        path.write_text(text)
        told = self.told("--kubeconfig", str(path))
        assert told.startswith(f"{path} cannot be used: ")
        assert told.count("\n") == 1

    def test_a_context_that_is_not_there(self, nowhere: Path) -> None:
        path = str(kubeconfig(nowhere, "http://127.0.0.1:1"))
        told = self.told("--kubeconfig", path, "--context", "moon")
        assert "moon" in told
        assert "see `kubectl config view` and `kubectl config get-contexts`" in told

    def test_a_certificate_that_is_not_there(self, nowhere: Path) -> None:
        user = {"client-certificate": "/none.crt", "client-key": "/none.key"}
        path = str(kubeconfig(nowhere, "https://127.0.0.1:1", **user))
        assert f"{path} cannot be used: " in self.told("--kubeconfig", path)

    def test_nobody_answers(self, nowhere: Path) -> None:
        (port,) = free_ports(1)
        host = f"http://127.0.0.1:{port}"
        told = self.told("--kubeconfig", str(kubeconfig(nowhere, host)))
        assert told.startswith(f"{host}: the API server does not answer: ")
        assert "is the cluster up, and this the right context?" in told


class TestAServer:
    def test_the_first_of_several_configurations_that_has_the_context(
        self, nowhere: Path, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.says("/namespaces/bakery/streamingjobs", 200, {"items": [], "metadata": {}})
        files = [
            nowhere / "gone",
            kubeconfig(nowhere, site.host),
            kubeconfig(nowhere, site.host, "other", "bakery"),
        ]
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))
        done = run("status", "--context", "other")
        assert (done.code, done.err) == (0, "there are no streamingjobs in namespace bakery\n")

    @pytest.mark.parametrize(
        ("status", "body", "told"),
        [
            (404, "404 page not found\n", "knows no StreamingJobs: the operator is not installed; docs/install.md"),
            (401, {"message": "Unauthorized"}, "does not know who you are: log in to the cluster again"),
            (403, {"message": 'User "system:anonymous" cannot list'}, "does not know who you are"),
            (403, {"message": 'User "jane" cannot list'}, "ask for the role `edit` in namespace shop"),
            (403, {"message": "admission webhook says no"}, "admission webhook says no\n"),
            (500, "", "HTTP 500"),
            (502, "<html>Bad gateway</html>", "<html>Bad gateway</html>"),
            (200, "<html>Log in, please</html>", "the answer is no JSON; is there an API server?"),
        ],
    )  # fmt: skip
    def test_it_says_no(self, nowhere: Path, site: Site, status: int, body: object, told: str) -> None:
        site.says("/streamingjobs", status, body)
        done = run("status", "--kubeconfig", str(kubeconfig(nowhere, site.host)))
        assert done.code == 1
        assert told in done.err

    def test_without_an_operator_nothing_can_be_submitted(self, nowhere: Path, site: Site) -> None:
        path = nowhere / "job.yaml"
        path.write_text(JOB)
        done = run("submit", str(path), "--kubeconfig", str(kubeconfig(nowhere, site.host)))
        assert (done.code, "the operator is not installed" in done.err) == (1, True)

    def test_a_namespace_that_is_not_there(self, nowhere: Path, site: Site) -> None:
        site.says("/streamingjobs", 404, {"message": 'namespaces "shop" not found'})
        path = nowhere / "job.yaml"
        path.write_text(JOB)
        done = run("submit", str(path), "--kubeconfig", str(kubeconfig(nowhere, site.host)))
        assert (done.code, done.err) == (
            1,
            'namespaces "shop" not found; make it: kubectl create namespace shop\n',
        )


JOB = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: ticks}
spec:
  sources: [{name: ticks, format: rate}]
  queries: [{name: all_ticks, sql: SELECT * FROM ticks, sink: {format: noop}}]
"""
DRIVER: Item = {
    "metadata": {
        "name": "ticks-driver-1",
        "namespace": "shop",
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "labels": {"app.kubernetes.io/component": "driver"},
    },
    "spec": {"nodeName": "one"},
}


class TestALogWithoutEnd:
    def begin(self, site: Site) -> subprocess.Popen[bytes]:
        site.says(f"/{POD.plural}", 200, {"items": [DRIVER], "metadata": {}})
        path = str(kubeconfig(site.folder, site.host))
        command = [sys.executable, "-m", "tidemill", "logs", "ticks", "-f", "--kubeconfig", path]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_ctrl_c_ends_it_without_a_word(self, site: Site) -> None:
        process = self.begin(site)
        assert process.stdout is not None
        assert process.stdout.readline() == b"a line of the log\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (-signal.SIGINT, b"")

    def test_so_does_a_reader_who_has_enough(self, site: Site) -> None:
        process = self.begin(site)
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"a line of the log\n"
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=30)
        assert (process.returncode, err) == (1, b"")
