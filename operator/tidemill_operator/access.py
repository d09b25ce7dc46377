"""How a person gets to a cluster: by kubectl's own configuration; and what to do where that fails."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from tidemill_operator.cluster import Cluster
from tidemill_operator.errors import ClusterError

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Of a pod."""
WRITING = {"fieldManager": "kubectl-client-side-apply", "fieldValidation": "Strict"}
"""As `kubectl apply` writes, whose bookkeeping `tidemill submit` keeps: either may go on where the other has been."""


class NoWayError(Exception):
    """There is no cluster to talk to; the message says why, and what to do."""


@dataclass(frozen=True)
class Place:
    """A cluster, and where in it one is."""

    cluster: Cluster
    host: str
    """The API server's address."""
    namespace: str


async def connect(kubeconfig: str = "", context: str = "", namespace: str = "") -> Place:
    """As kubectl does it: by --kubeconfig, KUBECONFIG, ~/.kube/config, or a pod's own account. Empty: what is usual there.

    Raises `NoWayError`.
    """
    made = Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    try:
        usual = await _configure(made, named, context)
        return Place(Cluster(ApiClient(configuration=made), writing=WRITING), made.host, namespace or usual)
    except NoWayError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads it to
        why = "it is no kubeconfig" if isinstance(error, TypeError | AttributeError) else str(error)
        told = f"{named or '~/.kube/config'} cannot be used: {' '.join(why.split())}"
        raise NoWayError(f"{told}; see `kubectl config view` and `kubectl config get-contexts`") from error


async def _configure(made: Configuration, named: str, context: str) -> str:
    """The namespace that is meant where none is named."""
    files = [Path(name).expanduser() for name in (named or "~/.kube/config").split(os.pathsep) if name]
    there = [str(file) for file in files if file.exists()]
    if there:
        loader = await config.load_kube_config(os.pathsep.join(there), context or None, made)
        return str(loader.current_context["context"].get("namespace") or "default")
    if named:
        raise NoWayError(f"there is no file {named}, which --kubeconfig or KUBECONFIG names")
    if not OWN_NAMESPACE.exists():
        raise NoWayError(
            "there is no cluster to talk to: KUBECONFIG is not set, and there is no ~/.kube/config; name the file that "
            "your cluster's tools write (`kind export kubeconfig`) by KUBECONFIG or --kubeconfig"
        )
    config.load_incluster_config(made)
    return OWN_NAMESPACE.read_text().strip()


def explained(error: ClusterError, place: Place) -> str:
    """What has gone wrong, and what to do about it."""
    host, namespace, message = place.host, place.namespace, error.message
    if error.status == 0:
        return (
            f"{host}: {message}; is the cluster up, and this the right context? `kubectl config get-contexts`"
        )
    if error.status == 401 or '"system:anonymous"' in message:
        return f"{host} does not know who you are: log in to the cluster again, as for kubectl (`kubectl auth whoami`)"
    if error.status == 403 and " cannot " in message:
        return f"{message}; ask for the role `edit` in namespace {namespace}, or for `view` to look only (docs/install.md)"
    if error.status == 404 and message.startswith("namespaces "):
        return f"{message}; make it: kubectl create namespace {namespace}"
    if error.status == 404 and '"' not in message:
        return f"{host} knows no StreamingJobs: the operator is not installed; docs/install.md tells how"
    return message
