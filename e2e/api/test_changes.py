"""What may change in a job that runs: everything but the place of its checkpoint."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.api.server import Json, Refused, Server
from e2e.api.test_defaults import job

RAN: Json = {"generation": 1, "lastBatch": 0}
FROM = {"location": "redis://redis/0", "id": "mine"}
MOVES: list[Json] = [
    {"location": "redis://other/0"},
    {"location": None},
    {"id": "other"},
    {"id": None},
    {"location": "redis://other/0", "id": "other"},
]


@pytest.fixture
def moved(server: Server, request: pytest.FixtureRequest) -> Any:
    """Makes a job with a status, and changes its spec."""
    made: list[str] = []

    def move(status: Json, *changes: Json) -> Json:
        name = f"moved-{len(made)}"
        server.create(job(name, checkpoint=FROM))
        made.append(name)
        server.merge(name, {"status": status}, "status")
        after: Json = {}
        for change in changes:
            after = server.merge(name, {"spec": change})
        return after

    yield move
    for name in made:
        server.delete(name)


@pytest.mark.parametrize("move", MOVES, ids=str)
@pytest.mark.parametrize("phase", ["Running", "Failing", "Suspending", "Completed"])
def test_the_checkpoint_of_a_job_that_has_run_stays(moved: Any, phase: str, move: Json) -> None:
    with pytest.raises(Refused) as refused:
        moved(RAN | {"phase": phase}, {"checkpoint": move})
    assert refused.value.status == 422
    assert "spec.checkpoint: Forbidden" in refused.value.message
    for remedy in ("set suspend: true", "wait for the phase Suspended", "tidemill checkpoint copy"):
        assert remedy in refused.value.message


def test_to_ask_for_a_pause_is_not_enough(moved: Any) -> None:
    """The last batch may not be committed yet, and a copy would lack it."""
    with pytest.raises(Refused, match="wait for the phase Suspended"):
        moved(RAN | {"phase": "Running"}, {"suspend": True, "checkpoint": {"id": "other"}})


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_the_checkpoint_of_a_suspended_job_may_move(moved: Any, move: Json) -> None:
    after = moved(RAN | {"phase": "Suspended"}, {"checkpoint": move, "suspend": False})
    assert {key: after["spec"]["checkpoint"].get(key) for key in move} == move


@pytest.mark.parametrize("status", [{}, {"phase": "Failing"}, {"phase": "Starting"}], ids=str)
def test_a_slip_is_mended_before_a_job_has_run(moved: Any, status: Json) -> None:
    """A wrong address: no driver has ever held that checkpoint."""
    after = moved(status, {"checkpoint": {"location": "redis://right/0"}})
    assert after["spec"]["checkpoint"]["location"] == "redis://right/0"


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": {"onExisting": "Fail"}},
        {"executor": {"replicas": 5}},
        {"suspend": True},
        {"image": "other"},
        {"queries": [{"name": "new", "sql": "SELECT 1", "sink": {"format": "noop"}}]},
        {"restarts": {"schedule": "0 3 * * *"}},
        {"deletionPolicy": "Delete"},
        {"conf": {"a": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_else_may_change_while_it_runs(moved: Any, change: Json) -> None:
    assert moved(RAN | {"phase": "Running"}, change)["metadata"]["generation"] == 2


def test_the_operator_may_write_its_status_whatever_the_checkpoint(server: Server) -> None:
    server.create(job("no-checkpoint"))
    server.merge("no-checkpoint", {"status": RAN | {"phase": "Running"}}, "status")
    after = server.merge("no-checkpoint", {"status": {"phase": "Failing"}}, "status")
    assert after["status"]["phase"] == "Failing"
    with pytest.raises(Refused, match="Forbidden"):
        server.merge("no-checkpoint", {"spec": {"checkpoint": {"id": "now-one"}}})
