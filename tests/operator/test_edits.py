"""A job is edited while it runs."""

from __future__ import annotations

from tests.operator.stories import PLATFORM, Story
from tidemill_operator.cluster import CONFIG_MAP, DEPLOYMENT, POD


def edited(**fate: object) -> Story:
    """A job that runs, and a new query whose driver has just been made."""
    story = Story(executor={"replicas": 2}).settles()
    if fate:
        story.fate("SELECT 2", **fate)
    return story.edit(sql="SELECT 2 AS a FROM access").passes()


class TestAGoodEdit:
    def test_a_new_driver_starts_beside_the_old_one(self) -> None:
        story = edited()
        assert story.did == ["apply ConfigMap web-logs-B", "apply Deployment web-logs-driver-B"]
        assert (story.drivers, story.leads, story.active) == (["A", "B"], ["A"], "A")
        assert (story.phase, story.condition("Progressing")) == ("Running", "ChangeTried")

    def test_the_old_one_goes_on_until_the_new_one_has_looked_at_the_checkpoint(self) -> None:
        story = edited(starts=False).lives(20).passes()
        assert (story.did, story.drivers, story.leads) == ([], ["A", "B"], ["A"])

    def test_a_crash_of_the_new_one_is_said_to_be_one_of_a_try(self) -> None:
        story = edited(exits=1, says="no such topic").lives().passes()
        assert (story.phase, story.condition("Degraded")) == ("Running", "Crashed")
        told = "the job goes on as it was while a change is tried: no such topic (pod "
        assert story.message.startswith(told)

    def test_once_it_fits_executors_are_led_to_the_new_one_and_the_old_one_goes(self) -> None:
        story = edited().lives(2).passes()
        assert story.did == ["apply Service web-logs-driver", "delete Deployment web-logs-driver-A"]
        assert (story.active, story.leads, story.drivers) == ("B", ["B"], ["B"])
        assert "Restarting" in story.told

    def test_it_says_what_it_waits_for(self) -> None:
        story = edited().fate("driver-", unfinished=True).lives(2).passes().lives(2).passes()
        assert (story.phase, story.message) == ("Restarting", "the old driver finishes its batch")

    def test_in_the_end_it_runs_and_the_old_manifest_is_gone(self) -> None:
        story = edited().settles()
        assert (story.phase, story.active, story.condition("Progressing")) == ("Running", "B", "")
        assert [c["metadata"]["name"] for c in story.cluster.all(CONFIG_MAP)] == [story.name_of_config("B")]

    def test_the_pause_is_measured(self) -> None:
        story = edited().settles()
        restart = story.status["restart"]
        assert (restart["cause"], restart["pauseSeconds"] > 0) == ("Changed", True)
        assert restart["startedAt"] < restart["finishedAt"]

    def test_executors_stay_where_only_the_query_changes(self) -> None:
        story = Story(executor={"replicas": 2}).settles()
        before = [
            p["metadata"]["uid"] for p in story.cluster.all(POD, {"app.kubernetes.io/component": "executor"})
        ]
        story.edit(sql="SELECT 2 AS a FROM access").settles()
        after = [
            p["metadata"]["uid"] for p in story.cluster.all(POD, {"app.kubernetes.io/component": "executor"})
        ]
        assert (story.active, before) == ("B", after)

    def test_an_executor_that_dies_later_finds_what_it_mounts(self) -> None:
        story = edited().settles().loses(POD, "web-logs-executor-0").settles()
        assert story.executors == {"0": "x1", "1": "x1"}

    def test_executors_of_another_image_are_replaced_at_once_with_the_driver(self) -> None:
        story = Story(executor={"replicas": 3}).settles().edit(image="tidemill:2").passes().lives(2)
        assert story.executors == {"0": "x1", "1": "x1", "2": "x1"}
        story.passes()
        assert story.executors == {"0": "x1-", "1": "x1-", "2": "x1-"}
        assert story.settles().executors == {"0": "x2", "1": "x2", "2": "x2"}
        assert story.status["image"] == "tidemill:2"


class TestABadEdit:
    def test_a_driver_that_says_that_it_does_not_fit_is_refused(self) -> None:
        story = edited(exits=2, says="query hits: the checkpoint counts by host\n").lives(2).passes()
        assert story.did == ["delete Deployment web-logs-driver-B"]
        story.settles()
        assert (story.phase, story.active, story.drivers) == ("Running", "A", ["A"])
        assert story.condition("Degraded") == "ChangeRefused"
        assert story.message == (
            "the change was refused, and the job goes on as it was: query hits: the checkpoint counts by host"
        )
        assert story.status["refused"]["reason"] == "query hits: the checkpoint counts by host"

    def test_it_is_told_once(self) -> None:
        story = edited(exits=2, says="no").lives(2).passes()
        assert story.told == ["ChangeRefused"]
        told = len(story.cluster.events)
        assert len(story.settles().passes().cluster.events) == told

    def test_a_driver_that_only_crashes_is_tried_a_few_times(self) -> None:
        story = edited(exits=1, says="no route to the broker")
        for _ in range(PLATFORM.attempts):
            assert story.passes().drivers == ["A", "B"]
            story.lives()
        assert story.passes().drivers == ["A"]
        assert story.status["refused"]["reason"] == "no route to the broker"

    def test_meanwhile_its_trouble_is_told(self) -> None:
        story = edited(exits=1, says="no route to the broker").lives(2).passes()
        assert (story.phase, story.condition("Degraded"), story.condition("Ready")) == (
            "Running",
            "Crashed",
            "Running",
        )
        assert "no route to the broker" in story.message

    def test_one_that_is_stopped_or_out_of_memory_is_not_refused_for_it(self) -> None:
        for code in (143, 137):
            story = edited(exits=code).lives(20).passes()
            assert (story.drivers, "refused" in story.status) == (["A", "B"], False)

    def test_live_fields_of_the_same_edit_take_effect(self) -> None:
        story = Story().settles().fate("SELECT 2", exits=2, says="no")
        story.edit(sql="SELECT 2 AS a FROM access", executor={"replicas": 3}).settles()
        assert (story.active, story.wanted_replicas) == ("A", 3)
        story.scale(2).settles()
        assert (story.wanted_replicas, story.condition("Degraded")) == (2, "ChangeRefused")
        assert story.edit(suspend=True).settles().phase == "Suspended"

    def test_taking_the_edit_back_clears_it(self) -> None:
        story = edited(exits=2, says="no").settles()
        story.edit(sql="SELECT * FROM access").passes()
        assert (story.did, story.phase, story.condition("Degraded")) == ([], "Running", "")
        assert "refused" not in story.status

    def test_another_edit_is_tried(self) -> None:
        story = edited(exits=2, says="no").settles().edit(sql="SELECT 3 AS a FROM access").settles()
        assert (story.active, "refused" in story.status) == ("C", False)

    def test_asking_for_a_restart_tries_it_again(self) -> None:
        story = edited(exits=2, says="no").settles()
        story.cluster.fates.clear()
        story.restart_at(story.now).settles()
        assert (story.active, story.condition("Degraded"), "refused" in story.status) == ("C", "", False)
        assert story.manifest("C")["queries"][0]["sql"] == "SELECT 2 AS a FROM access"

    def test_the_manifest_that_goes_on_is_not_the_one_that_was_refused(self) -> None:
        story = Story().settles().edit(driver={"podTemplate": {"spec": {"hostNetwork": True}}}).settles()
        assert (story.active, story.condition("Degraded")) == ("A", "ChangeRefused")
        story.restart_at(story.now).settles()
        assert story.active == "B"
        assert "driver" not in story.manifest("B")

    def test_a_refused_job_whose_driver_crashes_stays_with_its_old_revision(self) -> None:
        story = edited(exits=2, says="no").settles()
        story.fate("driver", exits=1, says="broken").lives(2).passes()
        assert (story.did, story.drivers, story.active) == ([], ["A"], "A")
        assert (story.phase, "broken" in story.message, "no" in story.message) == ("Failing", True, True)


class TestEditsAtOtherTimes:
    def test_an_edit_of_a_job_that_crashes_is_not_tried_beside_it(self) -> None:
        story = Story().settles().fate("SELECT *", exits=1, says="broken").lives(2).passes()
        assert story.phase == "Failing"
        story.edit(sql="SELECT 2 AS a FROM access").passes()
        assert (story.active, story.drivers) == ("B", ["B"])
        assert story.settles().phase == "Running"

    def test_a_driver_that_crashed_once_and_runs_again_counts_as_well(self) -> None:
        story = Story().settles().fate("driver", exits=1).lives().passes()
        story.cluster.fates.clear()
        story.settles().fate("logs-executor", starts=False).lives().passes()
        story.edit(sql="SELECT 2 AS a FROM access").passes()
        assert (story.active, story.drivers) == ("A", ["A", "B"])

    def test_an_edit_of_an_edit_leaves_two_drivers_at_most(self) -> None:
        story = edited(starts=False).lives(2).edit(sql="SELECT 3 AS a FROM access").passes()
        assert story.drivers == ["A", "C"]
        assert story.settles().active == "C"

    def test_an_edit_that_is_taken_back_at_once_leaves_the_old_driver(self) -> None:
        story = edited(starts=False).lives(2).edit(sql="SELECT * FROM access").passes()
        assert (story.did, story.drivers) == (["delete Deployment web-logs-driver-B"], ["A"])

    def test_an_edit_while_the_one_before_takes_over(self) -> None:
        story = edited().lives(2).passes().edit(sql="SELECT 3 AS a FROM access").settles()
        assert (story.active, story.drivers, story.phase) == ("C", ["C"], "Running")

    def test_a_driver_that_somebody_deletes_is_replaced_by_the_edited_one(self) -> None:
        story = Story().settles().loses(DEPLOYMENT).edit(sql="SELECT 2 AS a FROM access").passes()
        assert (story.active, story.drivers) == ("B", ["B"])

    def test_a_standby_whose_image_is_missing_harms_nobody(self) -> None:
        story = Story().settles().fate("tidemill:9", waiting="ImagePullBackOff", says="not found")
        story.edit(image="tidemill:9").settles()
        assert (story.phase, story.active, story.drivers) == ("Running", "A", ["A", "B"])
        assert (story.condition("Degraded"), "tidemill:9" in story.message) == ("ImagePull", True)


class TestImages:
    def test_another_default_restarts_nothing(self) -> None:
        story = (
            Story().settles().upgrades(PLATFORM.__class__(image="tidemill:2", checkpoint=PLATFORM.checkpoint))
        )
        assert not story.passes().wrote

    def test_it_comes_with_the_next_restart(self) -> None:
        story = (
            Story().settles().upgrades(PLATFORM.__class__(image="tidemill:2", checkpoint=PLATFORM.checkpoint))
        )
        story.edit(sql="SELECT 2 AS a FROM access").settles()
        (executor,) = story.cluster.all(POD, {"app.kubernetes.io/component": "executor"})
        assert story.status["image"] == executor["spec"]["containers"][0]["image"] == "tidemill:2"

    def test_a_job_that_no_longer_names_its_image_gets_the_default(self) -> None:
        story = Story(image="own:1").settles().edit(image=None).settles()
        assert (story.active, story.status["image"]) == ("B", "tidemill:1")

    def test_a_job_that_names_the_image_it_has_is_not_restarted(self) -> None:
        story = Story().settles().edit(image="tidemill:1").settles()
        assert story.active == "A"


def test_a_newer_operator_that_makes_other_pods_changes_nothing(monkeypatch: object) -> None:
    story = Story(executor={"replicas": 2}).settles()
    from tidemill_operator.desired import pods

    monkeypatch.setattr(pods, "USER", 20002)  # type: ignore[attr-defined]
    monkeypatch.setattr(pods, "CONFIG", "/elsewhere")  # type: ignore[attr-defined]
    story.upgrades().passes()
    assert not story.wrote
    story.edit(sql="SELECT 2 AS a FROM access").settles()
    assert story.template()["spec"]["securityContext"]["runAsUser"] == 20002
