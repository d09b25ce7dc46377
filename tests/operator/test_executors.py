"""How many executors there are, and how they are replaced."""

from __future__ import annotations

from tests.operator.stories import Story
from tidemill_operator.cluster import STATEFUL_SET

BIGGER = {"replicas": 3, "resources": {"requests": {"memory": "4Gi"}}}


def three() -> Story:
    story = Story(executor={"replicas": 3}).settles()
    assert story.executors == {"0": "x1", "1": "x1", "2": "x1"}
    return story


class TestScaling:
    def test_it_changes_a_number_and_restarts_nothing(self) -> None:
        story = three().scale(5).passes()
        assert story.did == ["patch StatefulSet web-logs-executor"]
        story.settles()
        assert (story.active, story.message) == ("A", "1 query on 5 executors")

    def test_down_again(self) -> None:
        story = three().scale(1).settles()
        assert (story.executors, story.status["replicas"], story.active) == ({"0": "x1"}, 1, "A")

    def test_to_nothing(self) -> None:
        story = three().scale(0).settles()
        assert (story.executors, story.phase) == ({}, "Starting")
        assert story.message == "spec.executor.replicas is 0: there is nobody to compute"

    def test_while_an_edit_is_tried(self) -> None:
        story = three().fate("SELECT 2", starts=False).edit(sql="SELECT 2 AS a FROM access").settles()
        assert story.scale(4).passes().did == ["patch StatefulSet web-logs-executor"]

    def test_what_somebody_else_has_scaled_is_scaled_back(self) -> None:
        story = three()
        story.cluster.change(story.cluster.all(STATEFUL_SET)[0], lambda s: s["spec"].update(replicas=9))
        assert story.settles().executors == {"0": "x1", "1": "x1", "2": "x1"}

    def test_autoscalers_find_its_pods(self) -> None:
        selector = three().status["labelSelector"]
        assert selector == "tidemill.dev/job=web-logs,app.kubernetes.io/component=executor"


class TestANodeThatIsGone:
    """Its pod stays, for nobody there ends it."""

    def away(self) -> Story:
        story = three().fate("executor-1", unfinished=True)
        story.cluster.remove(story.cluster.find_pod("web-logs-executor-1"), now=False)
        return story.settles()

    def force_deleted(self, story: Story) -> Story:
        story.cluster.fates.clear()
        story.cluster.remove(story.cluster.find_pod("web-logs-executor-1"))
        return story.settles()

    def test_the_others_go_on_and_it_is_left_to_people(self) -> None:
        story = self.away()
        assert (story.did, story.message) == ([], "1 query on 2 executors")
        assert self.force_deleted(story).message == "1 query on 3 executors"

    def test_new_resources_wait_for_it(self) -> None:
        story = self.away().edit(executor=BIGGER).settles()
        assert story.executors == {"0": "x1", "1": "x1-", "2": "x1"}
        assert self.force_deleted(story).executors == {"0": "x2", "1": "x2", "2": "x2"}

    def test_and_so_does_who_suspends(self) -> None:
        story = self.away().edit(suspend=True).settles()
        assert (story.phase, story.drivers) == ("Suspending", [])
        assert self.force_deleted(story).phase == "Suspended"


class TestNewResources:
    def test_the_driver_goes_on_and_one_executor_leaves(self) -> None:
        story = three().edit(executor=BIGGER).passes()
        assert story.did == ["apply StatefulSet web-logs-executor", "delete Pod web-logs-executor-2"]
        assert story.drivers == ["A"]

    def test_the_next_leaves_only_once_the_first_is_back_and_works(self) -> None:
        story = three().fate("executor-2", starts=False).edit(executor=BIGGER).passes()
        for _ in range(5):
            assert story.lives().passes().did == []
        assert story.executors == {"0": "x1", "1": "x1", "2": "x2?"}
        story.cluster.fates.clear()
        assert story.lives().passes().did == ["delete Pod web-logs-executor-1"]

    def test_not_while_the_first_is_gone_and_not_yet_made_again(self) -> None:
        story = three().edit(executor=BIGGER).passes()
        gone = story.cluster.find_pod("web-logs-executor-2")
        story.cluster.remove(gone)
        assert story.executors == {"0": "x1", "1": "x1"}
        assert story.passes().did == []

    def test_in_the_end_all_are_new(self) -> None:
        story = three().edit(executor=BIGGER).settles()
        assert story.executors == {"0": "x2", "1": "x2", "2": "x2"}
        assert story.template(STATEFUL_SET)["spec"]["containers"][0]["resources"] == {
            "requests": {"memory": "4Gi"}
        }

    def test_one_that_is_broken_holds_nobody_up(self) -> None:
        story = three().fate("executor-0", exits=1, says="no disk").lives().passes()
        story.cluster.fates.clear()
        story.fate("executor-1", unfinished=True).edit(executor=BIGGER).passes()
        assert "delete Pod web-logs-executor-0" in story.did

    def test_they_wait_for_nobody_when_the_driver_changes_too(self) -> None:
        story = three().edit(sql="SELECT 2 AS a FROM access", executor=BIGGER).passes()
        assert story.executors == {"0": "x1", "1": "x1", "2": "x1"}
        story.lives(2).passes()
        assert story.executors == {"0": "x1-", "1": "x1-", "2": "x1-"}

    def test_a_new_template_does_the_same(self) -> None:
        template = {"spec": {"nodeSelector": {"disk": "fast"}}}
        story = three().edit(executor={"replicas": 3, "podTemplate": template}).settles()
        assert (story.executors, story.drivers) == ({"0": "x2", "1": "x2", "2": "x2"}, ["A"])

    def test_taken_back_half_way(self) -> None:
        story = three().fate("executor-2", starts=False).edit(executor=BIGGER).passes().lives(3).passes()
        assert story.executors == {"0": "x1", "1": "x1", "2": "x2?"}
        story.edit(executor={"replicas": 3}).passes()
        assert story.did == ["apply StatefulSet web-logs-executor", "delete Pod web-logs-executor-2"]

    def test_a_container_that_a_mesh_puts_first_is_not_ours(self) -> None:
        story = three()

        def meshed(pod: dict[str, object]) -> None:
            spec = pod["spec"]
            assert isinstance(spec, dict)
            spec["containers"] = [{"name": "proxy", "image": "mesh:1"}, *spec["containers"]]

        for number in range(3):
            story.cluster.change(story.cluster.find_pod(f"web-logs-executor-{number}"), meshed)
        story.edit(executor=BIGGER).passes()
        assert story.executors == {"0": "x1", "1": "x1", "2": "x1-"}
