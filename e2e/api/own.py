"""A Kubernetes API server of our own with its etcd: processes on 127.0.0.1, and no controller, scheduler or kubelet.

Every question of an account's rights is written down, as the API server itself puts it: not only one for each request, but
also those within a request, such as for a server-side apply that makes its object, or for being named as its owner.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from e2e.api.server import Json, Refused
from tests.services.parts import dies_with_us, free_ports, unavailable

START_SECONDS = 60
"""3 are usual."""
ANSWER_SECONDS = 30
ADMIN = "admin-of-a-test"
"""A token that may do everything."""
REMEDY = "put kube-apiserver (1.32 or newer) and etcd on PATH, or set KUBEBUILDER_ASSETS to the folder that setup-envtest made"
FILES = "key.pem", "tokens.csv", "authorization.yaml"
ACCOUNTS = "system:serviceaccount:"


@dataclass(frozen=True, order=True)
class Question:
    """Whether an account may do something."""

    user: str
    verb: str
    group: str
    resource: str
    """With its subresource: ``streamingjobs/status``."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else " in all namespaces"
        return (
            f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''} {self.name}".rstrip()
            + where
        )


@dataclass
class Questions:
    """What was asked, and what of it nobody allows. The API server asks us before it looks at its roles, and those that no
    role allows once more after that; we have no opinion."""

    asked: set[Question] = field(default_factory=set)
    refused: set[Question] = field(default_factory=set)


class ApiServer:
    """As long as it is entered. ``questions`` are those of service accounts about resources."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.questions = folder, Questions()
        self._programs = {name: _program(name) for name in ("etcd", "kube-apiserver")}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port, self._etcd, self._peer = free_ports(3)
        self._listens = ThreadingHTTPServer(("127.0.0.1", 0), _hears(self.questions))

    def __enter__(self) -> ApiServer:
        threading.Thread(target=self._listens.serve_forever, daemon=True).start()
        try:
            self._start_etcd()
            self._prepare()
            self.starts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._listens.shutdown()
        self._listens.server_close()

    # What a test asks of it

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content: str = "application/json"
    ) -> Json:
        """As an admin. Raises `Refused`."""
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": content}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"https://127.0.0.1:{self._port}{path}", data, headers, method=method)
        trusted = ssl.create_default_context(cafile=self._certificate)
        try:
            with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS, context=trusted) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            told = error.read().decode(errors="replace")
            message = json.loads(told)["message"] if told.startswith("{") else told
            raise Refused(error.code, message) from None
        return dict(json.loads(said)) if said.startswith(b"{") else {}

    def kubeconfig(self, token: str = ADMIN) -> Path:
        """A file for one who has this token."""
        path = self.folder / f"kubeconfig-{abs(hash(token))}"
        cluster = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self._certificate),
        }
        path.write_text(_config(cluster, {"token": token}))
        return path

    def token(self, namespace: str, account: str) -> str:
        """Of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self.call("POST", path, body)["status"]["token"])

    # Its processes

    def dies(self) -> None:
        """But not its etcd."""
        process = self._processes.pop()
        process.kill()
        process.wait()

    def starts(self) -> None:
        """Returns once it answers."""
        self._start()
        self._wait()
        self.questions.refused.clear()  # before it was ready it knew no roles

    @property
    def _certificate(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd, self._peer))
        self._run(
            "etcd", "--data-dir", str(self.folder / "etcd"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        )  # fmt: skip

    def _prepare(self) -> None:
        key, tokens, rights = (self.folder / name for name in FILES)
        pem = ec.generate_private_key(ec.SECP256R1())
        key.write_bytes(pem.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        tokens.write_text(f"{ADMIN},admin,1,system:masters\n")
        rights.write_text(json.dumps(self._authorization()))

    def _start(self) -> None:
        key, tokens, rights = (self.folder / name for name in FILES)
        self._run(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd}", f"--secure-port={self._port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--cert-dir={self._certificate.parent}", f"--token-auth-file={tokens}",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/16",
            f"--authorization-config={rights}", "--disable-admission-plugins=ServiceAccount",
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        )  # fmt: skip

    def _authorization(self) -> Json:
        return {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthorizationConfiguration",
            "authorizers": [
                self._webhook("asked"),
                {"type": "RBAC", "name": "rbac"},
                self._webhook("refused"),
            ],
        }

    def _webhook(self, name: str) -> Json:
        path = self.folder / f"{name}.yaml"
        path.write_text(_config({"server": f"http://127.0.0.1:{self._listens.server_port}/{name}"}, {}))
        hook = {
            "timeout": "10s",
            "authorizedTTL": "1s",
            "unauthorizedTTL": "1s",
            "subjectAccessReviewVersion": "v1",
            "matchConditionSubjectAccessReviewVersion": "v1",
            "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(path)},
            "matchConditions": [{"expression": f"request.user.startsWith('{ACCOUNTS}')"}],
        }
        return {"type": "Webhook", "name": name, "webhook": hook}

    def _run(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.log", "wb") as log:
            command = [*dies_with_us(), self._programs[name], *arguments]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.call("GET", "/readyz")
                return
            except (OSError, Refused) as error:
                ended = [p.args for p in self._processes if p.poll() is not None]
                if ended or time.monotonic() > end:
                    log = (self.folder / "kube-apiserver.log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(
                        f"the API server does not start ({error}), ended: {ended}\n{log}"
                    ) from None
            time.sleep(0.2)


def _hears(questions: Questions) -> type[BaseHTTPRequestHandler]:
    class Hears(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            about = review["spec"].get("resourceAttributes", {"resource": "*"})
            if not about["resource"].startswith(
                "*"
            ):  # a shortcut of an admission plugin; what is needed is asked next
                written = questions.asked if self.path.startswith("/asked") else questions.refused
                written.add(_question(review["spec"]))
            review["status"] = {"allowed": False}
            answer = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return Hears


def _question(spec: Json) -> Question:
    about = spec["resourceAttributes"]
    resource = "/".join(part for part in (about["resource"], about.get("subresource", "")) if part)
    return Question(
        spec["user"], about["verb"], about.get("group", ""), resource,
        about.get("namespace", ""), about.get("name", ""),
    )  # fmt: skip


def _config(cluster: Json, user: Json) -> str:
    """A kubeconfig; JSON is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "own", "cluster": cluster}],
            "users": [{"name": "own", "user": user}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
            "current-context": "own",
        }
    )


def _program(name: str) -> str:
    """Its path."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    found = shutil.which(name) or (shutil.which(name, path=assets) if assets else None)
    return found or unavailable("a Kubernetes API server", f"`{name}` is not on PATH", REMEDY)
