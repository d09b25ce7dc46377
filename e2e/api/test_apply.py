"""Server-side apply: several hands at one job, and none loses what another wrote."""

from __future__ import annotations

from typing import Any

from e2e.api.server import Json, Server
from e2e.api.test_defaults import job

OURS = "tidemill-operator"


def part(name: str, **said: Any) -> Json:
    """What one applier says of a job."""
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "StreamingJob",
        "metadata": {"name": name},
        **said,
    }


def rate(name: str, **options: Any) -> Json:
    return {"name": name, "format": "rate", "options": options}


def names(items: list[Json], key: str = "name") -> list[str]:
    return sorted(item[key] for item in items)


def test_sources_of_two_appliers_stand_side_by_side(server: Server) -> None:
    whole = job("two-hands")
    server.apply(whole, "base")
    server.apply(part("two-hands", spec={"sources": [rate("more")]}), "layer")
    after = server.apply(whole, "base")
    assert names(after["spec"]["sources"]) == ["more", "ticks"]
    after = server.apply(part("two-hands", spec={}), "layer")
    assert names(after["spec"]["sources"]) == ["ticks"]


def test_options_of_two_appliers_stand_side_by_side(server: Server) -> None:
    whole = job("two-options", sources=[rate("ticks", rowsPerSecond=5)])
    server.apply(whole, "base")
    after = server.apply(
        part("two-options", spec={"sources": [rate("ticks", numPartitions=2)]}), "layer", force=True
    )
    assert after["spec"]["sources"][0]["options"] == {"rowsPerSecond": 5, "numPartitions": 2}


def test_the_operators_status_leaves_the_spec_and_others_conditions_alone(server: Server) -> None:
    server.apply(job("told-twice"), "kubectl")
    theirs = [{"type": "Audited", "status": "True"}]
    server.apply(part("told-twice", status={"conditions": theirs}), "auditor", "status")
    for count in (1, 2):
        ours = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Degraded", "status": "False"}],
            "queries": [{"name": "hits", "batchId": count}, {"name": "raw", "batchId": count}],
        }
        after = server.apply(part("told-twice", status=ours), OURS, "status")
        assert names(after["status"]["conditions"], "type") == ["Audited", "Degraded", "Ready"]
        assert [query["batchId"] for query in after["status"]["queries"]] == [count, count]
    assert names(after["spec"]["sources"]) == ["ticks"]
    again = server.apply(part("told-twice", status=ours), OURS, "status")
    assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_what_the_operator_no_longer_says_goes(server: Server) -> None:
    server.apply(job("fewer"), "kubectl")
    queries = [{"name": "hits", "batchId": 1}, {"name": "raw", "batchId": 1}]
    server.apply(part("fewer", status={"message": "why", "queries": queries}), OURS, "status")
    after = server.apply(part("fewer", status={"queries": queries[:1]}), OURS, "status")
    assert after["status"] == {"queries": queries[:1]}


def test_a_job_of_kubectl_and_a_scaler_that_owns_its_executors(server: Server) -> None:
    """A manifest that says nothing of `replicas` does not take back what a scaler has set."""
    server.apply(job("scaled-by-another"), "kubectl")
    server.merge("scaled-by-another", {"spec": {"replicas": 4}}, "scale")
    after = server.apply(job("scaled-by-another", suspend=True), "kubectl")
    assert (after["spec"]["executor"]["replicas"], after["spec"]["suspend"]) == (4, True)
