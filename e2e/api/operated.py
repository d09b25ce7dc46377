"""The operator on an API server of our own, installed as the chart says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.api.own import ApiServer
from e2e.api.server import Refused
from tests.charts.chart import NAMESPACE, Item, container, of, one, variables
from tests.operator.stories import PLACE
from tests.services.parts import dies_with_us, free_ports
from tidemill_operator import leader
from tidemill_operator.cluster import LEASE

DEFINITION = "CustomResourceDefinition"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def install(server: ApiServer, items: list[Item], *kinds: str) -> None:
    """The chart's objects of these kinds."""
    for item in (i for kind in kinds for i in of(items, kind)):
        root = "apis" if "/" in item["apiVersion"] else "api"
        space = item["metadata"].get("namespace")
        within = f"/namespaces/{space}" if space else ""
        server.call("POST", f"/{root}/{item['apiVersion']}{within}/{item['kind'].lower()}s", item)


def prepare(server: ApiServer) -> None:
    """The namespaces of the operator and of its jobs."""
    for name in (NAMESPACE, PLACE):
        server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})


@dataclass(frozen=True)
class Replica:
    """A process of the operator."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def said(self) -> list[Item]:
        """Its log so far; what is no JSON as a message."""
        return [json.loads(x) if x[:1] == "{" else {"message": x} for x in self.log.read_text().splitlines()]

    def tells(self, words: str) -> None:
        """For `until`."""
        assert any(words in line["message"] for line in self.said()), self.log.read_text()

    def served(self, path: str) -> str:
        """By its health server, also with an error; an empty text where none answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    def ends(self) -> int:
        """In good order; its exit code."""
        self.process.terminate()
        return self.process.wait(30)


@contextmanager
def replica(server: ApiServer, items: list[Item], name: str, **environment: str) -> Iterator[Replica]:
    """As the chart's Deployment starts it; what it says is printed at the end."""
    account = one(items, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = server.kubeconfig(server.token(NAMESPACE, account))
    given = {key: value for key, value in variables(items).items() if isinstance(value, str)}
    given |= {"KUBECONFIG": str(kubeconfig), "POD_NAMESPACE": NAMESPACE, "HOSTNAME": name, **environment}
    (port,) = free_ports(1)
    own = ["--health-host", "127.0.0.1", "--health-port", str(port)]
    command = [*dies_with_us(), sys.executable, "-m", "tidemill", *container(items)["args"], *own]
    log = server.folder / f"{name}.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **given}, stdout=file, stderr=file)
    try:
        yield Replica(process, log, port)
    finally:
        process.kill()
        process.wait()
        print(f"--- {name} ---\n{log.read_text()}")


def holder(server: ApiServer) -> str:
    """Of the Lease; an empty text if nobody holds it."""
    try:
        lease = server.call("GET", LEASE.path(NAMESPACE, leader.NAME))
    except Refused:
        return ""
    return str(lease["spec"].get("holderIdentity", ""))
