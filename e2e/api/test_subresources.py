"""`/scale` and `/status`: each does its part of a job and no more."""

from __future__ import annotations

import pytest

from e2e.api.server import Refused, Server, kubectl
from e2e.api.test_defaults import job
from tidemill.api import (
    Certificates,
    Completion,
    Condition,
    QueryStatus,
    Refusal,
    Restart,
    Status,
)

SELECTOR = "tidemill.dev/job=scaled,app.kubernetes.io/component=executor"

FULL = Status(
    phase="Running",
    message="all is well",
    observed_generation=2,
    replicas=3,
    ready_replicas=2,
    label_selector=SELECTOR,
    revision="0a1b2c3d",
    image="ghcr.io/tidemill/tidemill:0.1.0",
    checkpoint="redis://:${secret:redis/password}@redis:6379/0",
    generation=7,
    lag_rows=2**40,
    last_batch=41,
    last_commit="2024-05-01T12:00:00.123456Z",
    figures_at="2024-05-01T12:00:01Z",
    queries=[
        QueryStatus(
            name="hits",
            phase="idle",
            batch_id=41,
            committed_at="2024-05-01T12:00:00Z",
            watermark="2024-05-01T11:59:00Z",
            lag_rows=12,
            input_rows_per_second=1500.5,
            processed_rows_per_second=20_000,
            state_rows=10**9,
            last_error="AnalysisException: no",
        ),
        QueryStatus(name="a query of a program, named as it likes"),
    ],
    conditions=[
        Condition(
            type="Ready",
            status="True",
            reason="Running",
            message="2 of 3 executors",
            last_transition_time="2024-05-01T12:00:00Z",
            observed_generation=2,
        ),
        Condition(type="Degraded", status="Unknown"),
    ],
    restart=Restart(
        token="2024-05-01T12:00:00Z",
        cause="schedule",
        requested_at="2024-05-01T12:00:00Z",
        started_at="2024-05-01T12:00:01Z",
        finished_at="2024-05-01T12:00:02Z",
        pause_seconds=0.75,
        next="2024-05-02T03:00:00Z",
    ),
    certificates=Certificates(secret="scaled-tls-1", not_after="2024-08-01T00:00:00Z"),
    refused=Refusal(revision="11111111", observed_generation=1, reason="the plan does not fit"),
    completed=Completion(revision="0a1b2c3d", at="2024-05-01T12:00:00Z"),
)


@pytest.fixture(scope="module")
def scaled(server: Server) -> str:
    """A job without a word on executors."""
    server.create(job("scaled"))
    return "scaled"


def test_a_job_without_a_word_on_executors_can_be_scaled(server: Server, scaled: str) -> None:
    """Without a default the API server would answer 500."""
    assert server.get(scaled, "scale")["spec"] == {"replicas": 1}
    before = server.get(scaled)
    kubectl("scale", "sj", scaled, "--replicas=3", f"--namespace={server.namespace}")
    after = server.get(scaled)
    assert after["spec"] == before["spec"] | {"executor": {"replicas": 3}}
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_an_autoscaler_finds_the_executors_by_their_labels(server: Server, scaled: str) -> None:
    server.merge(scaled, {"status": {"replicas": 2, "labelSelector": SELECTOR}}, "status")
    assert server.get(scaled, "scale")["status"] == {"replicas": 2, "selector": SELECTOR}


def test_a_job_cannot_be_scaled_beyond_its_shards(server: Server, scaled: str) -> None:
    with pytest.raises(Refused, match="less than or equal to 1000"):
        server.merge(scaled, {"spec": {"replicas": 1001}}, "scale")


def test_a_manifest_does_not_change_the_status_and_a_status_not_the_spec(server: Server) -> None:
    created = server.create(job("two-sides") | {"status": {"phase": "Running"}})
    assert "status" not in created
    both = {"spec": {"suspend": True}, "status": {"phase": "Suspended"}}
    after = server.merge("two-sides", both, "status")
    assert (after["spec"]["suspend"], after["status"]["phase"]) == (False, "Suspended")
    assert after["metadata"]["generation"] == created["metadata"]["generation"]
    after = server.merge("two-sides", both | {"status": {"phase": "Running"}})
    assert (after["spec"]["suspend"], after["status"]["phase"]) == (True, "Suspended")


def test_everything_that_an_operator_can_say_is_kept(server: Server) -> None:
    server.create(job("told"))
    said = {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "StreamingJob",
        "metadata": {"name": "told"},
        "status": FULL.model_dump(by_alias=True, exclude_none=True),
    }
    stored = server.apply(said, "tidemill-operator", "status")["status"]
    assert stored == said["status"]
    assert Status.model_validate(stored) == FULL
    assert all(getattr(FULL, field) not in (None, []) for field in Status.model_fields)


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ({"phase": "Runing"}, "Unsupported value"),
        ({"replicas": -1}, "greater than or equal to 0"),
        ({"queries": [{"phase": "idle"}]}, "name: Required value"),
        ({"queries": [{"name": "a"}, {"name": "a"}]}, "Duplicate value"),
        ({"lastCommit": "yesterday"}, "date-time"),
    ],
    ids=str,
)
def test_a_status_that_makes_no_sense_is_refused(
    server: Server, scaled: str, status: dict[str, object], complaint: str
) -> None:
    with pytest.raises(Refused, match=complaint):
        server.merge(scaled, {"status": status}, "status")
