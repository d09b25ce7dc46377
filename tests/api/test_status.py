"""What an operator writes about a job."""

from __future__ import annotations

import json
from typing import Any, get_args

from tidemill.api import Certificates, Condition, Phase, QueryStatus, Restart, Status
from tidemill.api.crd import structural
from tidemill.api.status import MOST_QUERIES


def written(status: Status) -> dict[str, Any]:
    """As JSON has it."""
    found: dict[str, Any] = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))
    return found


def test_a_status_is_written_and_read_again() -> None:
    status = Status(
        phase="Running",
        observed_generation=3,
        replicas=2,
        ready_replicas=1,
        revision="0a1b2c3d",
        generation=7,
        lag_rows=12,
        last_batch=41,
        last_commit="2013-07-01T03:00:00Z",
        queries=[QueryStatus(name="hits", phase="idle", batch_id=41, input_rows_per_second=1500)],
        conditions=[Condition(type="Ready", status="True", last_transition_time="2013-07-01T02:00:00Z")],
        restart=Restart(next="2013-07-02T01:00:00Z", pause_seconds=0.7),
        certificates=Certificates(secret="web-logs-tls-1", not_after="2013-08-01T00:00:00Z"),
    )
    data = written(status)
    assert data["queries"][0] == {
        "name": "hits",
        "phase": "idle",
        "batchId": 41,
        "inputRowsPerSecond": 1500.0,
    }
    assert (data["lagRows"], data["restart"]["pauseSeconds"]) == (12, 0.7)
    assert Status.model_validate(data) == status


def test_everything_may_be_absent_and_what_a_newer_operator_wrote_is_passed_over() -> None:
    assert Status.model_validate({}).phase is None
    data = {"phase": "Running", "mood": "good", "queries": [{"name": "hits", "mood": "good"}]}
    assert Status.model_validate(data) == Status(phase="Running", queries=[QueryStatus(name="hits")])


def test_a_long_error_is_cut_so_that_the_status_can_be_written() -> None:
    longest = structural(Status)["properties"]["message"]["maxLength"]
    status = Status(message="x" * 10_000, queries=[QueryStatus(name="hits", last_error="y" * 10_000)])
    assert status.message is not None
    assert len(status.message) == longest
    assert status.message.endswith("x…")
    assert len(status.queries[0].last_error or "") == longest


def test_a_program_with_very_many_queries_has_a_status_too() -> None:
    queries = [{"name": f"q{n % 150}", "batchId": n} for n in range(300)]
    status = Status.model_validate({"queries": queries})
    assert structural(Status)["properties"]["queries"]["maxItems"] == MOST_QUERIES
    assert [query.batch_id for query in status.queries] == list(range(MOST_QUERIES))


def test_a_full_status_fits_into_etcd() -> None:
    """Which takes 1.5 MB; a spec has its share of it."""
    queries = [QueryStatus(name=f"{n:0253}", last_error="é" * 4096) for n in range(MOST_QUERIES)]
    status = Status(message="é" * 4096, queries=queries)
    assert len(status.model_dump_json(by_alias=True).encode()) < 1_000_000


def test_the_phases_of_the_definition_are_those_of_the_models() -> None:
    assert structural(Status)["properties"]["phase"]["enum"] == list(get_args(Phase))
