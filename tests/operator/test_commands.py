"""`tidemill status` and `logs`, on an API server in memory and with the operator at work."""

from __future__ import annotations

import json

import pytest

from tests.operator import stories
from tests.operator.commandline import World, run
from tests.operator.stories import NAME, PLACE
from tidemill_operator import commands
from tidemill_operator.cluster import DEPLOYMENT


class TestStatus:
    def test_all_jobs_have_the_columns_of_kubectl(self, world: World) -> None:
        world.story.settles()
        titles, line = run("status").out.splitlines()
        assert titles.split("   ")[0] == "NAME"
        assert line.split()[:4] == [NAME, "Running", "1/1", "10"]
        assert line.endswith("   1 query on 1 executor")

    def test_of_all_namespaces(self, world: World) -> None:
        other = stories.job()
        other["metadata"] = {"name": "bread", "namespace": "bakery"}
        world.cluster.create(other)
        assert [line.split()[:2] for line in run("status", "-A").out.splitlines()] == [
            ["NAMESPACE", "NAME"],
            ["bakery", "bread"],
            [PLACE, NAME],
        ]
        assert "bread" not in run("status").out

    def test_one_job_with_its_queries_and_its_last_transition(self, world: World) -> None:
        world.story.settles().waits(minutes=12)
        told = run("status", NAME).out.split("\n\n")
        assert told[0].splitlines()[1].startswith(NAME)
        assert told[1].splitlines()[0].split() == [
            "QUERY", "PHASE", "BATCH", "COMMITTED", "WATERMARK", "LAG", "ROWS/S", "IN", "ROWS/S", "DONE", "STATE",
        ]  # fmt: skip
        assert told[1].splitlines()[1].split() == ["hits", "idle", "4", "12m", "10"]
        assert "last transition: Ready became True (Running) 12m ago" in told[2]
        assert "image tidemill:1" in told[2]

    def test_a_querys_error_has_a_line_of_its_own(self, world: World) -> None:
        failed = {"name": "hits", "phase": "failed", "lastError": "AnalysisException:\n  no flour"}
        world.story.settles().says("A", queries=[failed]).passes()
        assert "\nhits: AnalysisException: no flour\n" in run("status", NAME).out

    def test_restarts_past_and_to_come(self, world: World) -> None:
        world.story.edit(restarts={"schedule": "0 3 * * *"}).settles()
        world.story.restart_at(world.story.now).settles().waits(minutes=30)
        told = run("status", NAME).out
        assert "last restart: Requested 30m ago, paused for " in told
        assert "next restart: 2026-03-02T03:00:00Z" in told

    def test_an_edit_that_nobody_has_looked_at(self, world: World) -> None:
        world.story.settles().edit(sql="SELECT 2 AS a")
        assert "how it was before the last edit" in run("status", NAME).out

    def test_a_job_that_nobody_has_looked_at(self, world: World) -> None:
        assert "no operator has looked at it yet" in run("status").out

    def test_programs_read_json(self, world: World) -> None:
        world.story.settles()
        whole = {"namespace": PLACE, "name": NAME, **world.story.status}
        assert json.loads(run("status", NAME, "--json").out) == whole
        assert json.loads(run("status", "--json").out) == [whole]

    def test_there_are_none(self, world: World) -> None:
        world.without_job()
        done = run("status", "-n", "bakery")
        assert (done.code, done.out, done.err) == (
            0,
            "",
            "there are no streamingjobs in namespace bakery\n",
        )
        assert run("status", "--json").out == "[]\n"

    def test_a_name_that_is_misspelt(self, world: World) -> None:
        done = run("status", "web-log")
        assert (done.code, done.err) == (
            1,
            f"there is no streamingjob web-log in namespace {PLACE}; did you mean '{NAME}'?\n",
        )

    def test_one_job_of_all_namespaces_makes_no_sense(self, world: World) -> None:
        assert run("status", NAME, "-A").code == 2


class TestLogs:
    @pytest.fixture
    def running(self, world: World) -> World:
        world.story.settles()
        for pod in world.cluster.all(commands.POD):
            world.cluster.change(pod, lambda p: p["spec"].update(nodeName="one"))
        world.api.log = (b"first\nsec", b"ond\n")
        return world

    def test_of_the_driver(self, running: World) -> None:
        done = run("logs", NAME)
        (call,) = (c for c in running.api.calls if c.startswith("log of"))
        assert (done.code, done.out) == (0, "first\nsecond\n")
        assert call.startswith(f"log of {NAME}-driver-")
        assert call.endswith("[('container', 'tidemill'), ('follow', 'false'), ('previous', 'false')]")

    def test_of_an_executor_with_all_that_kubectl_takes(self, running: World) -> None:
        words = ("--executor", "0", "-f", "-p", "--tail", "5", "--since", "2m")
        assert run("logs", NAME, *words).code == 0
        (call,) = (c for c in running.api.calls if c.startswith("log of"))
        assert call == (
            f"log of {NAME}-executor-0 [('container', 'tidemill'), ('follow', 'true'), ('previous', 'true'), "
            "('sinceSeconds', '120'), ('tailLines', '5')]"
        )

    def test_of_the_newest_driver(self, running: World) -> None:
        running.story.waits(seconds=5).edit(sql="SELECT 2 AS a").passes().lives()
        assert len(running.cluster.all(DEPLOYMENT)) == 2
        for pod in running.cluster.all(commands.POD):
            running.cluster.change(pod, lambda p: p["spec"].update(nodeName="one"))
        run("logs", NAME)
        (call,) = (c for c in running.api.calls if c.startswith("log of"))
        assert running.story.lettered(call).startswith(f"log of {NAME}-driver-B-")

    def test_a_pod_without_a_node(self, world: World) -> None:
        world.story.fate("driver", unschedulable=True, says="0/1 nodes are available").settles()
        done = run("logs", NAME)
        assert (done.code, "finds no node: 0/1 nodes are available" in done.err) == (1, True)

    def test_an_executor_too_many(self, running: World) -> None:
        done = run("logs", NAME, "--executor", "7")
        assert done.code == 1
        assert f"{NAME} has no pod of executor 7 (Running: 1 query on 1 executor); pods: {NAME}-driver-" in (
            done.err
        )
        assert f", {NAME}-executor-0\n" in done.err

    def test_a_job_without_pods(self, world: World) -> None:
        world.story.edit(suspend=True).settles()
        done = run("logs", NAME)
        assert (done.code, "(Suspended: spec.suspend is true" in done.err) == (1, True)

    def test_a_job_that_is_not_there(self, world: World) -> None:
        done = run("logs", "web-log")
        assert (done.code, "did you mean 'web-logs'?" in done.err) == (1, True)
