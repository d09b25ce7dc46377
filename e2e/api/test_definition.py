"""The definition itself: that an API server takes it, and what kubectl makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from e2e.api.conftest import DEFINITION
from e2e.api.server import Server, kubectl
from tests.api.manifests import web_logs
from tidemill.api import Certificates, QueryStatus, Restart, Status
from tidemill.api.crd import definition as generated

WIDTH = 100
"""Of a terminal that lists jobs."""


def named(name: str) -> dict[str, Any]:
    job = web_logs()
    job["metadata"]["name"] = name
    return job


def told(status: Status) -> dict[str, Any]:
    return {"status": status.model_dump(by_alias=True, exclude_none=True)}


def test_a_new_cluster_takes_it_without_a_warning(cluster: None) -> None:
    """Structural, and every rule within the budget that the API server has for it."""
    crd = generated()
    crd["metadata"]["name"] = crd["metadata"]["name"].replace("tidemill.dev", "new.tidemill.dev")
    crd["spec"]["group"] = "new.tidemill.dev"
    told = kubectl("create", "--dry-run=server", "--warnings-as-errors", "--filename=-", text=json.dumps(crd))
    assert "Warning" not in told


def test_it_is_established_and_structural(definition: None) -> None:
    crd = yaml.safe_load(kubectl("get", "crd", DEFINITION, "--output=yaml"))
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


def test_kubectl_explains_every_field_that_it_is_asked_for(definition: None) -> None:
    restarts = kubectl("explain", "sj.spec.restarts")
    assert "schedule\t<string> -required-" in restarts
    assert "the zone that `schedule` is meant in" in " ".join(restarts.lower().split())
    assert "Rows that wait in the sources" in kubectl("explain", "sj.status.lagRows")
    assert "how many" in kubectl("explain", "streamingjob.spec.executor.replicas").lower()


def test_jobs_are_among_all_that_a_namespace_has(server: Server) -> None:
    server.create(named("among-all"))
    assert "streamingjob.tidemill.dev/among-all" in kubectl("get", "all", f"--namespace={server.namespace}")


RUNNING = Status(
    phase="Running",
    observed_generation=1,
    replicas=20,
    ready_replicas=20,
    revision="0a1b2c3d",
    image="ghcr.io/tidemill/tidemill:0.1.0",
    generation=3,
    lag_rows=1_234_567,
    last_batch=41,
    last_commit="2024-05-01T12:00:00Z",
    queries=[QueryStatus(name="hits", phase="idle", batch_id=41)],
    restart=Restart(next="2024-05-02T03:00:00Z"),
    certificates=Certificates(secret="web-logs-tls-1"),
)


@pytest.fixture(scope="module")
def listed(server: Server) -> str:
    """A namespace with a job that is well, one that is not, and one that nobody has looked at."""
    server.create(named("page-views-of-the-shop"))
    server.merge("page-views-of-the-shop", told(RUNNING), "status")
    failing = Status(
        phase="Failing",
        replicas=2,
        ready_replicas=0,
        message="executor 0: image nowhere/tidemill:1 cannot be pulled: not found\nLook at its name.",
    )
    server.create(named("orders"))
    server.merge("orders", told(failing), "status")
    server.create(named("unseen"))
    return server.namespace


def lines(namespace: str, *words: str) -> dict[str, str]:
    """What `kubectl get sj` prints, by the job."""
    printed = kubectl("get", "sj", f"--namespace={namespace}", *words).splitlines()
    return {line.split()[0]: line.rstrip() for line in printed}


def test_a_list_of_jobs_says_whether_each_is_well(listed: str) -> None:
    rows = lines(listed)
    assert rows["NAME"].split("  ")[0] == "NAME"
    titles = [title.strip() for title in rows["NAME"].split("   ") if title.strip()]
    assert titles == ["NAME", "PHASE", "READY", "WANTED", "LAG", "LAST BATCH", "AGE", "MESSAGE"]
    name, phase, ready, wanted, lag, last_batch, *_ = rows["page-views-of-the-shop"].split()
    assert (name, phase, ready, wanted, lag) == ("page-views-of-the-shop", "Running", "20", "2", "1234567")
    assert last_batch.endswith(("d", "h", "y"))  # how long ago
    assert len(rows["page-views-of-the-shop"]) <= WIDTH


def test_a_list_of_jobs_says_what_is_wrong_with_one(listed: str) -> None:
    """In the first line of its message; the rest is for `kubectl describe`."""
    row = lines(listed)["orders"]
    assert row.split()[1:4] == ["Failing", "0", "2"]
    assert row.endswith("image nowhere/tidemill:1 cannot be pulled: not found...")
    described = kubectl("describe", "sj", "orders", f"--namespace={listed}")
    assert "Look at its name." in described


def test_a_wide_list_says_what_runs_and_when_it_restarts(listed: str) -> None:
    row = lines(listed, "--output=wide")["page-views-of-the-shop"]
    for part in ("0a1b2c3d", "ghcr.io/tidemill/tidemill:0.1.0", "2024-05-02T03:00:00Z"):
        assert part in row


def test_a_job_that_no_operator_has_seen_is_listed_too(listed: str) -> None:
    assert lines(listed)["unseen"].split()[:2] == ["unseen", "2"]
