"""The operator's process, and an API server that lacks something or goes away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.api.operated import DEFINITION, RIGHTS, Replica, holder, install, prepare, replica
from e2e.api.own import ApiServer
from e2e.api.played import Played
from e2e.cluster import until
from tests.charts.chart import Item, of, render
from tests.operator.stories import PLACE, job
from tidemill_operator.cluster import DEPLOYMENT


@pytest.fixture
def items() -> list[Item]:
    """The chart's."""
    return render({"jobs": {"checkpoint": {"location": "redis://redis:6379/0"}}, "replicas": 2})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as made:
        prepare(made)
        yield made


def is_ready(operator: Replica) -> None:
    """For `until`."""
    assert operator.served("/readyz").strip() == "ok"


def test_it_waits_for_the_definition_of_its_jobs(server: ApiServer, items: list[Item]) -> None:
    install(server, items, *RIGHTS)
    with replica(server, items, "first") as first:
        until(lambda: first.tells("waiting for the definition of StreamingJob (crds/)"))
        assert "the definition of StreamingJob (crds/)" in first.served("/readyz")
        install(server, items, DEFINITION)
        until(lambda: first.tells("jobs found: 0"))
        is_ready(first)


def test_a_right_that_is_missing_is_named_before_it_ends(server: ApiServer, items: list[Item]) -> None:
    for role in of(items, "ClusterRole"):
        for rule in role["rules"]:
            if rule["resources"] == ["deployments"]:
                rule["verbs"].remove("list")
    install(server, items, DEFINITION, *RIGHTS)
    with replica(server, items, "first") as first:
        assert first.process.wait(60) == 1
        (error,) = [line for line in first.said() if line.get("level") != "info"]
        assert error["level"] == "error"
        assert error["message"].startswith("list apps/v1/deployments: deployments.apps is forbidden")
    assert holder(server) == ""  # the next one need not wait


def test_a_replica_that_waits_ends_and_takes_nothing_away(server: ApiServer, items: list[Item]) -> None:
    install(server, items, DEFINITION, *RIGHTS)
    with replica(server, items, "first") as first:
        until(lambda: first.tells("jobs found: 0"))
        with replica(server, items, "second") as second:
            until(lambda: second.tells("replica first leads; waiting"))
            is_ready(second)
            assert second.ends() == 0
        assert holder(server) == "first"
        assert first.process.poll() is None


def test_an_api_server_that_is_started_again_changes_nothing(server: ApiServer, items: list[Item]) -> None:
    """Watches end with it, and what happens afterwards is seen all the same. Without a lease, whose time might run out."""
    install(server, items, DEFINITION, *RIGHTS)
    with replica(server, items, "first", POD_NAMESPACE="") as first, Played(server, PLACE) as cluster:
        until(lambda: first.tells("jobs found: 0"))
        server.dies()
        server.starts()
        cluster.create(job())
        cluster.until(lambda: bool(cluster.all(DEPLOYMENT)), "the new job has a driver")
        assert first.process.poll() is None
        # What others say of their trouble is in lines like ours.
        loggers = {line.get("logger", "none").partition(".")[0] for line in first.said()}
        assert loggers == {"tidemill", "kopf"}


def test_who_cannot_reach_the_api_server_ends_and_begins_anew(server: ApiServer, items: list[Item]) -> None:
    install(server, items, DEFINITION, *RIGHTS)
    with replica(server, items, "first") as first:
        until(lambda: first.tells("jobs found: 0"))
        server.dies()
        assert first.process.wait(60) == 1
        assert first.said()[-1]["message"] == "this replica no longer leads; ending, to begin anew"
