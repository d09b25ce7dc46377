"""What goes wrong with pods, and how the job's status says it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operator.stories import Story
from tidemill_operator.cluster import DEPLOYMENT, POD

KAFKA = {
    "name": "access",
    "format": "kafka",
    "options": {
        "subscribe": "access",
        "kafka.bootstrap.servers": "kafka:9092",
        "kafka.sasl.password": {"secretRef": {"name": "kafka", "key": "password"}},
    },
}
UNPULLED = {"waiting": "ImagePullBackOff", "says": "repository does not exist"}


def told(story: Story) -> tuple[str, str, str]:
    """Phase, the Degraded condition's reason, and the message."""
    return story.phase, story.condition("Degraded"), story.message


class TestTheDriver:
    def test_an_image_that_cannot_be_pulled(self) -> None:
        story = Story(image="tidemil:1").fate("tidemil:1", **UNPULLED).settles()
        message = "image tidemil:1 cannot be pulled: repository does not exist"
        assert told(story) == ("Failing", "ImagePull", message)
        assert (story.condition("Ready"), story.condition("Progressing")) == ("", "")

    def test_a_secret_that_is_missing(self) -> None:
        phase, reason, message = told(Story(sources=[KAFKA]).settles())
        assert (phase, reason) == ("Failing", "CannotStart")
        assert message.endswith('cannot start: MountVolume.SetUp failed: secret "kafka" not found')

    def test_and_it_starts_once_the_secret_is_there(self) -> None:
        story = Story(sources=[KAFKA]).settles()
        meta = {"name": "kafka", "namespace": "shop"}
        story.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {}})
        assert told(story.settles()) == ("Running", "", "1 query on 1 executor")

    def test_no_node_has_room_for_it(self) -> None:
        story = Story().fate("driver", unschedulable=True, says="0/3 nodes: Insufficient memory").settles()
        phase, reason, message = told(story)
        assert (phase, reason) == ("Pending", "Unschedulable")
        assert "finds no node: 0/3 nodes: Insufficient memory" in message

    def test_it_takes_more_memory_than_it_may(self) -> None:
        phase, reason, message = told(Story().fate("driver", oom=True).settles())
        assert (phase, reason) == ("Failing", "OutOfMemory")
        assert "raise it in spec.*.resources" in message

    def test_it_crashes_with_a_message(self) -> None:
        story = (
            Story()
            .fate("driver", exits=1, says="no broker answers at kafka:9092\n")
            .lives()
            .passes()
            .lives(2)
            .passes()
        )
        phase, reason, message = told(story)
        assert (phase, reason) == ("Failing", "Crashed")
        assert message.startswith("no broker answers at kafka:9092 (pod web-logs-driver-")
        assert message.endswith("1 restarts, the next within 40s)")

    def test_of_what_it_says_the_causes_are_told_and_not_where_they_came_from(self) -> None:
        said = "KeyError: 'user'\nand another thing\n\nTraceback (most recent call last):\n  File ..."
        story = Story().fate("driver", exits=1, says=said).settles()
        assert story.message.startswith("KeyError: 'user'; and another thing (pod web-logs-driver-")

    def test_another_cause_is_told_too(self) -> None:
        story = Story().settles().fate("driver", exits=1, says="no").lives(2).passes()
        assert story.told == ["Failing"]
        story.fate("driver", **UNPULLED).lives().passes()
        assert (story.told, told(story)[:2]) == (["ImagePull"], ("Failing", "ImagePull"))
        assert story.lives().passes().told == []

    def test_it_fails_until_it_runs_again_and_not_only_waits(self) -> None:
        story = Story().settles().fate("driver", exits=1, says="no").lives(2).passes()
        story.cluster.fates.clear()
        story.lives().says("A", phase="standby").passes()
        assert (story.phase, story.told) == ("Failing", [])
        assert told(story.says("A").settles()) == ("Running", "", "1 query on 1 executor")

    def test_it_crashes_without_one(self) -> None:
        assert "it ended with 139" in Story().fate("driver", exits=139).settles().message

    def test_a_first_driver_that_does_not_fit_goes_on_trying(self) -> None:
        story = Story().fate("driver", exits=2, says="schema of access has changed").settles()
        assert told(story)[:2] == ("Failing", "Crashed")
        assert story.drivers == ["A"]

    def test_it_is_well_again(self) -> None:
        story = Story().settles().fate("driver", exits=1, says="no").lives(2).passes()
        assert (story.phase, story.told) == ("Failing", ["Failing"])
        story.cluster.fates.clear()
        assert told(story.settles()) == ("Running", "", "1 query on 1 executor")

    def test_a_query_that_has_failed(self) -> None:
        story = (
            Story()
            .settles()
            .says("A", queries=[{"name": "hits", "phase": "failed", "lastError": "division by zero"}])
        )
        assert told(story.passes()) == ("Failing", "QueryFailed", "division by zero")

    def test_a_pod_that_no_one_lets_be_made(self) -> None:
        story = Story().passes()
        said = {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota"}
        (driver,) = story.cluster.all(DEPLOYMENT)
        story.cluster.change(driver, lambda d: d.update(status={"conditions": [said]}))
        phase, reason, message = told(story.passes())
        assert (phase, reason) == ("Failing", "NoPod")
        assert message == "no pod of the driver can be made: pods is forbidden: exceeded quota"

    def test_a_container_that_comes_before_ours_fails(self) -> None:
        story = Story().passes().lives()
        ended = {"terminated": {"exitCode": 1, "message": "no model"}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        first = {"name": "first", "ready": False, "restartCount": 2, "state": waiting, "lastState": ended}
        (pod,) = (p for p in story.cluster.all(POD) if "driver" in p["metadata"]["name"])
        initial = {"ready": False, "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
        statuses = {"containerStatuses": [initial], "initContainerStatuses": [first]}
        story.cluster.change(pod, lambda p: p["status"].update(statuses))
        story.cluster.phases.clear()
        phase, reason, message = told(story.passes())
        assert (phase, reason) == ("Failing", "Crashed")
        assert message.startswith("no model")


class TestExecutors:
    @pytest.mark.parametrize(
        ("fate", "reason", "words"),
        [
            (UNPULLED, "ImagePull", "cannot be pulled: repository does not exist"),
            ({"unschedulable": True, "says": "no room"}, "Unschedulable", "finds no node: no room"),
            ({"oom": True}, "OutOfMemory", "pod web-logs-executor-1 was killed at its memory limit"),
            ({"exits": 1, "says": "no disk"}, "Crashed", "no disk (pod web-logs-executor-1"),
            ({"waiting": "CreateContainerError", "says": "bad mount"}, "CreateContainerError", "bad mount"),
        ],
    )
    def test_one_that_fails_is_told_while_the_job_runs_on(
        self, fate: dict[str, Any], reason: str, words: str
    ) -> None:
        story = Story(executor={"replicas": 2}).settles().fate("executor-1", **fate).lives().settles()
        assert told(story)[:2] == ("Running", reason)
        assert words in story.message
        assert (story.condition("Ready"), story.status["readyReplicas"]) == ("Running", 1)

    def test_when_none_works_the_job_does_not_run(self) -> None:
        story = Story().fate("logs-executor", exits=1, says="no disk").settles()
        assert told(story)[:2] == ("Starting", "Crashed")
        assert story.condition("Ready") == ""

    def test_while_none_has_come_yet(self) -> None:
        story = Story().fate("logs-executor", starts=False).settles()
        assert told(story) == ("Starting", "", "no executor has joined the driver yet")


QUOTA = "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"


class TestExecutorsThatNoOneLetsBeMade:
    """Their StatefulSet says so by events alone."""

    def test_none(self) -> None:
        story = Story(executor={"replicas": 2}).fate("executor", forbidden=True, says=QUOTA).settles()
        phase, reason, message = told(story)
        assert (phase, reason) == ("Starting", "NoPod")
        why = f'pods "web-logs-executor-1" is forbidden: {QUOTA}'
        assert message == f"no pod can be made for 2 of 2 executors: {why}"

    def test_some(self) -> None:
        story = Story(executor={"replicas": 3}).fate("executor-2", forbidden=True, says=QUOTA).settles()
        assert told(story)[:2] == ("Running", "NoPod")
        assert story.message.startswith(
            'no pod can be made for 1 of 3 executors: pods "web-logs-executor-2" is'
        )
        assert story.condition("Ready") == "Running"

    def test_it_is_well_once_they_are_made(self) -> None:
        story = Story(executor={"replicas": 2}).fate("executor", forbidden=True, says=QUOTA).settles()
        story.cluster.fates.clear()
        assert told(story.settles()) == ("Running", "", "1 query on 2 executors")

    def test_what_fails_in_those_there_are_is_told_first(self) -> None:
        story = Story(executor={"replicas": 2}).fate("executor-1", forbidden=True, says=QUOTA)
        assert told(story.fate("executor-0", exits=1, says="no disk").settles())[1] == "Crashed"

    def test_who_wants_fewer_is_well(self) -> None:
        story = Story(executor={"replicas": 2}).fate("executor-1", forbidden=True, says=QUOTA).settles()
        assert told(story.scale(1).settles()) == ("Running", "", "1 query on 1 executor")


class TestWrongSpecs:
    def test_nothing_is_made(self) -> None:
        story = Story(sources=[{"name": "access", "format": "kafak"}]).settles()
        assert (story.phase, story.condition("Degraded"), story.did) == ("Refused", "InvalidSpec", [])
        assert "kafak" in story.message and "kafka" in story.message

    def test_it_is_told_once(self) -> None:
        story = Story(sources=[{"name": "access", "format": "kafak"}]).passes()
        assert story.told == ["Refused"]
        story.passes()
        assert not story.wrote and story.decision is not None and story.decision.again is None

    def test_mending_it_starts_the_job(self) -> None:
        story = Story(sources=[{"name": "access", "format": "kafak"}]).settles()
        story.edit(sources=[{"name": "access", "format": "rate"}]).settles()
        assert told(story) == ("Running", "", "1 query on 1 executor")
        assert "refused" not in story.status

    def test_a_job_that_runs_goes_on_as_it_was(self) -> None:
        story = Story().settles().edit(sources=[{"name": "access", "format": "kafak"}]).settles()
        assert told(story)[:2] == ("Running", "ChangeRefused")
        assert (story.active, story.drivers) == ("A", ["A"])

    def test_and_heals_meanwhile(self) -> None:
        story = Story().settles().edit(sources=[{"name": "access", "format": "kafak"}]).settles()
        assert story.loses(DEPLOYMENT).settles().drivers == ["A"]

    def test_a_newer_operator_may_take_what_this_one_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        story = Story().settles()
        with monkeypatch.context() as older:
            older.setattr("tidemill_operator.decide.read", lambda raw: (None, "unknown field 'new'"))
            assert story.passes().phase == "Refused"
        assert told(story.settles()) == ("Running", "", "1 query on 1 executor")
        assert "refused" not in story.status


class TestTheApiServerRefuses:
    def test_the_job_says_so(self) -> None:
        story = Story()
        story.rejected = "spec.template.spec.containers: Invalid value"
        assert told(story.passes())[:2] == ("Pending", "Rejected")
        assert "Invalid value" in story.message

    def test_and_forgets_it_once_it_goes_well(self) -> None:
        story = Story()
        story.rejected = "spec.template.spec.containers: Invalid value"
        story.passes().rejected = ""
        assert told(story.settles()) == ("Running", "", "1 query on 1 executor")
