"""A cluster's API server, with the definition of this tree and a namespace of our own.

KUBECONFIG says which cluster. The definition is put there as it is in `crds/`, whatever version of it was there before,
and stays if it was there or if other namespaces use it; use a cluster that may be used so.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.api.server import SECONDS, Server, kubectl, unavailable
from tidemill.api import GROUP
from tidemill.api.crd import PLURAL

CRDS = Path(__file__).parents[2] / "crds"
DEFINITION = f"{PLURAL}.{GROUP}"

SETTLING = 3
"""Seconds after a change of the definition until each API server answers by it; nothing tells when."""


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skips unless there is one."""
    if not os.environ.get("KUBECONFIG"):
        unavailable(
            "KUBECONFIG is not set", "set it to the configuration of a cluster for tests, such as kind's"
        )
    try:
        from kubernetes import client, config
    except ImportError:
        unavailable(
            "the Kubernetes client is not installed", "install the extra: pip install 'tidemill[operator]'"
        )
    try:
        config.load_kube_config()
        client.VersionApi().get_code(_request_timeout=SECONDS)
    except Exception as error:
        unavailable(f"it does not answer: {error}", "start it, or set KUBECONFIG to one that does")


@pytest.fixture(scope="session")
def definition(cluster: None) -> Iterator[None]:
    """The definition of StreamingJobs, as it is in this tree."""
    there = generation()
    kubectl(
        "apply", "--server-side", "--force-conflicts", "--field-manager=tidemill-e2e", f"--filename={CRDS}"
    )
    if there and there != generation():
        time.sleep(SETTLING)
    kubectl("wait", "--for=condition=Established", f"crd/{DEFINITION}", f"--timeout={SECONDS}s")
    yield
    if not there and not kubectl("get", DEFINITION, "--all-namespaces", "--output=name").strip():
        kubectl("delete", "crd", DEFINITION)


def generation() -> str:
    """Of the definition in the cluster; empty where there is none."""
    return kubectl("get", "crd", DEFINITION, "--ignore-not-found", "--output=jsonpath={.metadata.generation}")


@pytest.fixture(scope="session")
def server(definition: None) -> Iterator[Server]:
    """The API server, for jobs in a namespace that is deleted at the end."""
    namespace = f"tidemill-api-{secrets.token_hex(4)}"
    kubectl("create", "namespace", namespace)
    yield Server(namespace)
    kubectl("delete", DEFINITION, "--all", f"--namespace={namespace}")
    kubectl("delete", "namespace", namespace, "--wait=false")
