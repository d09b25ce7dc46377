"""`tidemill submit`, on an API server in memory and with the operator at work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator import stories
from tests.operator.commandline import World, run
from tests.operator.stories import NAME, PLACE, SPEC, Story
from tidemill.cli import validate
from tidemill_operator import commands
from tidemill_operator.cluster import CONFIG_MAP, SECRET, Item
from tidemill_operator.errors import ClusterError

HINT = f"see: kubectl describe sj {NAME} -n {PLACE}; tidemill logs {NAME} -n {PLACE}\n"


def edited(sql: str) -> list[Item]:
    return [{**SPEC["queries"][0], "sql": sql}]


@pytest.mark.usefixtures("desk")
class TestSubmit:
    def test_a_job_is_applied_and_waited_for(self, world: World) -> None:
        done = world.without_job().submit()
        assert done.code == 0
        assert done.err.splitlines() == [
            f"streamingjob {PLACE}/{NAME} created",
            "Pending: no pod of the driver yet",
            "Starting: the driver is starting",
            "Running: 1 query on 1 executor",
        ]
        assert done.out.splitlines()[1].split() == [
            NAME, "Running", "1/1", "10", "5s", "3s", "1", "query", "on", "1", "executor",
        ]  # fmt: skip
        assert world.api.calls[-1] == "close"

    def test_a_job_that_is_there_already_is_left_alone(self, world: World) -> None:
        world.without_job().submit()
        before = world.story.job
        done = world.submit()
        assert (done.code, done.err.splitlines()[0]) == (0, f"streamingjob {PLACE}/{NAME} unchanged")
        assert world.story.job is before

    def test_an_edit_is_waited_for_until_the_new_driver_runs(self, world: World) -> None:
        world.without_job().submit()
        (before,) = world.story.drivers
        done = world.submit(queries=edited("SELECT 2 AS a"))
        (after,) = world.story.drivers
        assert (done.code, before != after) == (0, True)
        assert done.err.splitlines()[0] == f"streamingjob {PLACE}/{NAME} configured"
        assert "Restarting: the new driver takes over (Changed)" in done.err.splitlines()

    def test_without_waiting(self, world: World) -> None:
        done = world.without_job().submit("--no-wait")
        assert (done.code, done.err, done.out) == (0, f"streamingjob {PLACE}/{NAME} created\n", "")

    def test_a_suspended_job_has_come_to_rest(self, world: World) -> None:
        done = world.without_job().submit(suspend=True)
        assert (done.code, done.out.splitlines()[1].split()[1]) == (0, "Suspended")

    def test_so_has_one_whose_queries_have_ended(self, world: World) -> None:
        world.story.fate("driver", completes=True)
        world.without_job().submit()
        world.story.settles()
        done = world.submit()
        assert (done.code, done.out.splitlines()[1].split()[1]) == (0, "Completed")


@pytest.mark.usefixtures("desk")
class TestAJobThatDoesNotRun:
    def test_its_cause_is_told_and_where_to_look(self, world: World) -> None:
        world.story.fate("driver", exits=1, says="there is no flour left")
        done = world.without_job().submit()
        assert (done.code, done.out) == (1, "")
        assert "\nFailing: there is no flour left (pod " in done.err
        assert done.err.endswith(HINT)

    def test_a_change_that_does_not_fit(self, world: World) -> None:
        world.story.settles().fate("BAD", exits=2, says="the plan does not fit")
        done = world.submit(queries=edited("SELECT BAD"))
        assert done.code == 1
        assert "the change was refused, and the job goes on as it was: " in done.err
        assert "the plan does not fit" in done.err

    def test_a_new_image_that_cannot_be_had(self, world: World) -> None:
        """The job runs on, and not as it was asked to."""
        world.story.settles().fate("nowhere/tidemill", waiting="ErrImagePull", says="no such image")
        done = world.submit(image="nowhere/tidemill:2")
        assert done.code == 1
        assert "image nowhere/tidemill:2 cannot be pulled: no such image" in done.err
        assert "s still: " not in done.err

    def test_executors_that_cannot_start(self, world: World) -> None:
        world.story.fate("executor-0", waiting="ErrImagePull", says="no such image")
        done = world.without_job().submit()
        assert (done.code, "s still: " in done.err) == (1, False)

    def test_a_node_may_yet_come(self, world: World) -> None:
        world.story.fate("driver", unschedulable=True, says="0/1 nodes are available")
        waits = iter(range(100))

        def meanwhile() -> None:
            if next(waits) == 20:
                world.cluster.fates.clear()

        world.meanwhile = meanwhile
        done = world.without_job().submit()
        assert done.code == 0
        assert "0/1 nodes are available" in done.err

    def test_time_is_over(self, world: World) -> None:
        world.story.fate("driver", unschedulable=True, says="0/1 nodes are available")
        done = world.without_job().submit("--timeout", "1m")
        assert done.code == 1
        told = done.err.splitlines()[-2]
        assert told.startswith(f"streamingjob {PLACE}/{NAME}: after 60 s still: Pending: pod ")
        assert "0/1 nodes are available" in told
        assert done.err.endswith(HINT)

    def test_there_is_no_operator(self, world: World) -> None:
        world.operated = False
        done = world.without_job().submit("--timeout", "30s")
        asked = "is one installed, and does it look after namespace shop?"
        assert done.code == 1
        assert done.err.count(asked) == 2  # soon, and at the end

    def test_an_operator_that_has_gone_says_nothing_of_an_edit(self, world: World) -> None:
        world.story.settles()
        world.operated = False
        done = world.submit("--timeout", "30s", queries=edited("SELECT 2 AS a"))
        assert done.code == 1
        assert "no operator has looked at it yet" in done.err
        assert "Running" not in done.err

    def test_it_is_deleted_meanwhile(self, world: World) -> None:
        world.meanwhile = lambda: world.story.exists and world.story.delete()
        done = world.without_job().submit()
        assert (done.code, done.err.splitlines()[-1]) == (
            1,
            f"streamingjob {PLACE}/{NAME} has been deleted meanwhile",
        )

    def test_it_is_being_deleted(self, world: World) -> None:
        world.story.edit(deletionPolicy="Delete").settles().delete()
        done = world.submit()
        assert done.code == 1
        assert f"is being deleted; submit it again after: kubectl wait --for=delete streamingjobs/{NAME}" in (
            done.err
        )


class TestAWrongFile:
    """It says what `tidemill validate` says, ends as that does, and sends nothing."""

    @pytest.mark.parametrize(
        "spec",
        [{"sauces": []}, {"queries": edited("SELECT nope FROM access")}, {"program": {"inline": "x = ("}}],
    )
    def test_as_validate_has_it(
        self, world: World, capsys: pytest.CaptureFixture[str], spec: dict[str, Any]
    ) -> None:
        done = world.submit(**spec)
        file = str(world.folder / "job.yaml")
        _, _, problems = validate.check(file)
        assert problems
        assert (done.code, done.err) == (2, "".join(f"{file}: {p}\n" for p in problems))
        assert world.api.calls == []

    def test_a_file_that_is_not_there(self, world: World) -> None:
        done = run("submit", str(world.folder / "jbo.yaml"))
        assert (done.code, "there is no such file" in done.err) == (2, True)

    def test_what_only_a_cluster_refuses(self, world: World) -> None:
        done = world.submit(executor={"podTemplate": {"spec": {"hostNetwork": True}}})
        assert done.code == 2
        assert "spec.executor.podTemplate.spec.hostNetwork: true shares the node's own" in done.err
        assert world.api.calls == []

    def test_a_program_beside_the_manifest_does_not_come_along(self, world: World) -> None:
        (world.folder / "job.py").write_text("print(1)\n")
        done = run("submit", program(world, {"file": "job.py"}))
        assert done.code == 2
        assert "spec.program.file: 'job.py' is beside the manifest" in done.err
        assert "/app/job.py" in done.err

    def test_who_applies_that_with_kubectl_hears_it_from_the_operator(self) -> None:
        story = Story(sources=[], queries=[], program={"file": "job.py"}).passes()
        assert (story.phase, "'job.py' is beside the manifest" in story.message) == ("Refused", True)

    def test_another_namespace_than_its_own(self, world: World) -> None:
        path = Path(world.manifest())
        path.write_text(path.read_text().replace(f"name: {NAME}", f"name: {NAME}\n  namespace: bakery"))
        done = run("submit", str(path), "-n", PLACE)
        assert done.code == 2
        assert f"StreamingJob {NAME} is for namespace bakery, and --namespace says {PLACE}" in done.err
        assert world.api.calls == []

    @pytest.mark.parametrize("text", ["5", "5m", "1h30m"])
    def test_durations_are_kubectls(self, text: str) -> None:
        assert commands.seconds(text) == {"5": 5, "5m": 300, "1h30m": 5400}[text]

    @pytest.mark.parametrize("text", ["", "m", "5x", "5 m", "-5s", "1.2.3s"])
    def test_a_duration_that_is_none(self, world: World, text: str) -> None:
        done = world.submit("--timeout", text)
        assert (done.code, "is no duration" in done.err) == (2, True)


def program(world: World, given: Item) -> str:
    ours = stories.job()
    ours["metadata"], ours["spec"] = {"name": NAME}, {"program": given}
    path = world.folder / "program.yaml"
    path.write_text(yaml.safe_dump(ours))
    return str(path)


class TestWhatThisMachineDoesNotHave:
    """A program or a module may be in the image alone."""

    def test_a_program(self, world: World) -> None:
        done = run("submit", program(world.without_job(), {"file": "/app/job.py"}), "--no-wait")
        assert done.code == 0
        assert "not checked on this machine: line " in done.err
        assert "'/app/job.py' cannot be read" in done.err
        assert world.story.job["spec"]["program"] == {"file": "/app/job.py"}

    def test_a_function(self, world: World) -> None:
        function = {"name": "f", "from": "only_in_the_image:f", "returns": "INT"}
        done = world.without_job().submit("--no-wait", functions=[function])
        assert done.code == 0
        assert "not checked on this machine: line " in done.err


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prog"}, "data": {"a.py": "print(1)"}}
PASSWORD = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pw"}, "stringData": {"a": "b"}}


@pytest.mark.usefixtures("desk")
class TestWhatLiesBesideTheJob:
    def test_it_is_there_before_the_job(self, world: World) -> None:
        done = world.without_job().submit("--no-wait", beside=(CONFIG, PASSWORD))
        assert done.err.splitlines() == [
            f"configmap {PLACE}/prog created",
            f"secret {PLACE}/pw created",
            f"streamingjob {PLACE}/{NAME} created",
        ]
        found = world.cluster.find(CONFIG_MAP, PLACE, "prog")
        assert found is not None and found["data"] == CONFIG["data"]
        assert world.cluster.find(SECRET, PLACE, "pw") is not None

    @pytest.mark.parametrize(
        ("beside", "told"),
        [
            ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, "Namespace is none of"),
            ({"some": "text"}, "this is none of StreamingJob, ConfigMap, Secret; apply it with kubectl"),
            ({**CONFIG, "metadata": {}}, "metadata.name: a ConfigMap needs a name"),
        ],
    )
    def test_other_things_are_for_kubectl(self, world: World, beside: Item, told: str) -> None:
        done = world.submit(beside=(CONFIG, beside))
        assert (done.code, told in done.err) == (2, True)
        assert world.api.calls == []

    def test_it_is_read_as_strictly_as_the_job(self, world: World) -> None:
        path = Path(world.manifest())
        path.write_text(path.read_text() + "---\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: on}\n")
        done = run("submit", str(path))
        assert (done.code, "on without quotes may be" in done.err) == (2, True)

    def test_it_all_may_come_through_a_pipe(self, world: World) -> None:
        text = Path(world.without_job().manifest(CONFIG)).read_text()
        assert run("submit", "-", "--no-wait", given=text).code == 0
        assert world.cluster.find(CONFIG_MAP, PLACE, "prog") is not None


@pytest.mark.usefixtures("desk")
class TestApplying:
    def test_what_the_file_says_no_longer_goes_and_what_others_have_set_stays(self, world: World) -> None:
        world.without_job().submit("--no-wait", stopAt="03:00 UTC", conf={"a": "1", "b": "2"})
        world.story.scale(3)
        world.submit("--no-wait", conf={"b": "3"})
        spec = world.story.job["spec"]
        assert "stopAt" not in spec
        assert (spec["conf"], spec["executor"]["replicas"]) == ({"b": "3"}, 3)

    def test_a_null_in_a_pod_template_is_kept(self, world: World) -> None:
        world.without_job().submit("--no-wait")
        template = {"spec": {"priorityClassName": None}}
        world.submit("--no-wait", executor={"podTemplate": template})
        assert world.story.job["spec"]["executor"]["podTemplate"] == template

    def test_the_output_of_kubectl_can_be_submitted(self, world: World) -> None:
        world.without_job().submit("--no-wait", stopAt="03:00 UTC")
        got = world.story.job | {"status": {"phase": "Running"}}
        got["metadata"]["managedFields"] = [{"manager": "kubectl"}]
        done = run("submit", "-", "--no-wait", given=yaml.safe_dump(got))
        assert done.code == 0
        world.submit("--no-wait")
        assert "stopAt" not in world.story.job["spec"]

    def test_a_job_that_was_made_in_another_way(self, world: World) -> None:
        world.story.edit(stopAt="03:00 UTC")
        done = world.submit("--no-wait")
        assert "what it has besides stays" in done.err
        assert world.story.job["spec"]["stopAt"] == "03:00 UTC"

    def test_somebody_writes_at_the_same_time(self, world: World) -> None:
        world.without_job().submit("--no-wait")
        lost = iter([None, (ClusterError(409, "update", "the object has been modified"), False)])
        world.api.fails = lambda call: next(lost, None) if call.startswith("update") else None
        assert next(lost) is None
        assert world.submit("--no-wait", stopAt="03:00 UTC").code == 0
        assert world.story.job["spec"]["stopAt"] == "03:00 UTC"

    def test_the_cluster_says_no(self, world: World) -> None:
        refusal = ClusterError(422, "create", 'StreamingJob "web-logs" is invalid: spec: no')
        world.api.fails = lambda call: (refusal, False) if call.startswith("create") else None
        done = world.without_job().submit()
        assert (done.code, done.err) == (1, 'StreamingJob "web-logs" is invalid: spec: no\n')
