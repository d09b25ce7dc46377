"""The API server of the cluster that KUBECONFIG names: jobs by its API, and what kubectl shows of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from tidemill.api import GROUP, VERSION
from tidemill.api.crd import PLURAL

Json = dict[str, Any]

SECONDS = 30
"""For one call, and for whatever follows from one."""


def unavailable(reason: str, remedy: str) -> NoReturn:
    """Skip what asked for the cluster; with CI=true fail instead, since what is left out proves nothing."""
    told = f"cluster: {reason}. Remedy: {remedy}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"CI=true allows no skipped test. {told}", pytrace=False)
    pytest.skip(told)


def kubectl(*words: str, text: str | None = None, fails: bool = False) -> str:
    """What kubectl prints, with its warnings; ``fails``: it has to fail, and its complaint is what is wanted."""
    program = shutil.which("kubectl")
    if program is None:
        unavailable("there is no kubectl on PATH", "install kubectl of the cluster's version")
    done = subprocess.run(
        [program, *words], input=text, text=True, capture_output=True, timeout=2 * SECONDS, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(eq=False)
class Refused(Exception):
    """The API server's answer to what it does not take."""

    status: int
    message: str

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.message}"


class Server:
    """StreamingJobs in one namespace."""

    def __init__(self, namespace: str) -> None:
        from kubernetes import client

        self.namespace = namespace
        self._api = client.CustomObjectsApi()

    def create(self, job: Json, dry_run: bool = False, validation: str = "Strict") -> Json:
        """As kubectl does it: an unknown field is an error."""
        more = {"dry_run": "All"} if dry_run else {}
        return self._call("create", body=job, field_validation=validation, **more)

    def get(self, name: str, part: str = "") -> Json:
        """A job, or its subresource ``part``."""
        return self._call("get", part, name=name)

    def merge(self, name: str, change: Json, part: str = "") -> Json:
        """A job with a merge patch applied."""
        kind = "application/merge-patch+json"
        return self._call("patch", part, name=name, body=change, _content_type=kind)

    def apply(self, job: Json, manager: str, part: str = "", force: bool = False) -> Json:
        """Server-side apply: ``manager`` owns what ``job`` says, and gives up what it no longer says."""
        return self._call(
            "patch",
            part,
            name=job["metadata"]["name"],
            body=job,
            field_manager=manager,
            force=force,
            field_validation="Strict",
            _content_type="application/apply-patch+yaml",
        )

    def delete(self, name: str) -> None:
        self._call("delete", name=name)

    def _call(self, verb: str, part: str = "", **said: Any) -> Json:
        from kubernetes.client import ApiException

        call = getattr(self._api, f"{verb}_namespaced_custom_object{'_' + part if part else ''}")
        try:
            found: Json = call(GROUP, VERSION, self.namespace, PLURAL, _request_timeout=SECONDS, **said)
        except ApiException as error:
            raise Refused(error.status, json.loads(error.body)["message"]) from None
        return found
