"""The API server: plain objects in and out, and nothing decided."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException

from tidemill.api import GROUP, KIND, VERSION
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import MANAGER

Item = dict[str, Any]
"""An object as JSON has it."""

PAGE = 500
"""Objects in one answer of a list."""
TIMEOUT = 30.0
"""Seconds for an answer."""
BY_US = {"fieldManager": MANAGER}


@dataclass(frozen=True)
class Kind:
    """A resource of the API."""

    api_version: str
    name: str
    plural: str

    @property
    def group(self) -> str:
        return self.api_version.partition("/")[0] if "/" in self.api_version else ""

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None, name: str = "", sub: str = "") -> str:
        """Of one object, or of all of them."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{root}{within}/{self.plural}", name, sub) if part)


JOB = Kind(f"{GROUP}/{VERSION}", KIND, "streamingjobs")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
POD = Kind("v1", "Pod", "pods")
SERVICE = Kind("v1", "Service", "services")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
PURGE = Kind("batch/v1", "Job", "jobs")
EVENT = Kind("v1", "Event", "events")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

WATCHED = (DEPLOYMENT, STATEFUL_SET, POD, SERVICE, CONFIG_MAP, BUDGET, PURGE)
"""What we make and look at again. Secrets are written and never read."""
BY_NAME = {kind.name: kind for kind in (JOB, SECRET, EVENT, NAMESPACE, LEASE, *WATCHED)}


class Cluster:
    """One connection pool. ``count`` hears of every call: its verb and the resource.

    ``writing``: what is said with whatever is created, updated or patched: on whose behalf, how strictly.
    """

    def __init__(
        self,
        api: ApiClient,
        count: Callable[[str, str], None] = lambda verb, plural: None,
        writing: Mapping[str, str] = BY_US,
    ) -> None:
        self.api, self._count, self._writing = api, count, writing

    @classmethod
    async def connect(cls, count: Callable[[str, str], None] = lambda verb, plural: None) -> Cluster:
        """By the service account of this pod, or by KUBECONFIG."""
        made = Configuration()
        try:
            config.load_incluster_config(client_configuration=made)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=made)
        return cls(ApiClient(configuration=made), count)

    async def close(self) -> None:
        await self.api.close()

    async def listed(
        self, kind: Kind, namespace: str | None = None, labels: str = ""
    ) -> tuple[list[Item], int]:
        """All of them, page by page, and the version of the whole that the answer shows."""
        found: list[Item] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        while True:
            answer = await self._call("list", kind, "GET", kind.path(namespace), query)
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **i} for i in answer["items"]]
            if not (rest := answer["metadata"].get("continue")):
                return found, int(answer["metadata"].get("resourceVersion") or 0)
            query["continue"] = rest

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Item | None:
        try:
            return await self._call("get", kind, "GET", kind.path(namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def events_of(self, item: Item) -> list[Item]:
        """What Kubernetes tells of an object."""
        meta = item["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
        answer = await self._call("list", EVENT, "GET", EVENT.path(meta["namespace"]), query)
        return list(answer["items"])

    async def log_of(self, pod: Item, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """A pod's log, in pieces as they come; followed for as long as that takes."""
        meta = pod["metadata"]
        path = POD.path(meta["namespace"], meta["name"], "log")
        what = f"log of {meta['name']}"
        try:
            asked = await self.api.param_serialize(
                "GET", path, query_params=list(query.items()), header_params={}, auth_settings=["BearerToken"]
            )
            endless = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT)
            answer = await self.api.call_api(*asked, _request_timeout=endless)
            if not 200 <= answer.status <= 299:
                raise ClusterError(answer.status, what, _said(await answer.read(), answer.status))
            async for piece in answer.response.content.iter_any():
                yield piece
        except _UNANSWERED as error:
            raise ClusterError(0, what, _why(error)) from error

    async def apply(self, item: Item) -> Item:
        """Server-side apply: the fields in ``item`` are ours from now on, those we had before and left out are gone."""
        kind, meta = BY_NAME[item["kind"]], item["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        query = {**self._writing, "force": "true"}
        return await self._call("apply", kind, "PATCH", path, query, item, "application/apply-patch+yaml")

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], sub: str = ""
    ) -> Item:
        """Merge patch: what it names changes, and null takes away."""
        path, content = kind.path(namespace, name, sub), "application/merge-patch+json"
        return await self._call("patch", kind, "PATCH", path, self._writing, patch, content)

    async def create(self, item: Item) -> Item:
        kind = BY_NAME[item["kind"]]
        path = kind.path(item["metadata"].get("namespace"))
        return await self._call("create", kind, "POST", path, self._writing, item)

    async def update(self, kind: Kind, item: Item) -> Item:
        """The whole object anew; ``ClusterError`` 409 if it is no longer of the version that ``item`` has."""
        meta = item["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._call("update", kind, "PUT", path, self._writing, item)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str = "") -> None:
        """In the background; one that is gone already, or is another one by now, is no matter."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._call("delete", kind, "DELETE", kind.path(namespace, name), None, options)
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    async def _call(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> Item:
        self._count(verb, kind.plural)
        headers = {"Accept": "application/json"} | ({"Content-Type": content} if body is not None else {})
        what = f"{verb} {path.removeprefix('/apis/').removeprefix('/api/')}"
        try:
            asked = await self.api.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer = await self.api.call_api(*asked, _request_timeout=TIMEOUT)
            data = await answer.read()
        except _UNANSWERED as error:
            raise ClusterError(0, what, f"the API server does not answer: {_why(error)}") from error
        if not 200 <= answer.status <= 299:
            raise ClusterError(answer.status, what, _said(data, answer.status))
        try:
            return dict(json.loads(data or b"{}"))
        except ValueError as error:
            raise ClusterError(0, what, "the answer is no JSON; is there an API server?") from error


_UNANSWERED = (TimeoutError, ApiException, aiohttp.ClientError, OSError)


def _why(error: BaseException) -> str:
    """Of a call that came to nothing: in the system's words, if it has any."""
    return str(getattr(error, "strerror", "") or error or type(error).__name__)


def _said(data: bytes, status: int) -> str:
    """What the API server says of an error. Of a path that it does not know it says so in plain text."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, TypeError, KeyError):
        return data.decode(errors="replace").strip()[:500] or f"HTTP {status}"
