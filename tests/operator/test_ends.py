"""Jobs that have nothing left to do, and jobs that are deleted."""

from __future__ import annotations

from datetime import timedelta

from tests.operator.stories import BEGIN, PLACE, Story
from tidemill_operator.cluster import CONFIG_MAP, PURGE
from tidemill_operator.names import FINALIZER


class TestCompletion:
    def once(self, **spec: object) -> Story:
        return Story(**spec).fate("driver", completes=True).settles()

    def test_the_driver_goes_and_then_the_executors(self) -> None:
        story = self.once(executor={"replicas": 2})
        assert (story.phase, story.drivers, story.executors) == ("Completed", [], {})
        assert story.condition("Ready") == story.condition("Progressing") == story.condition("Degraded") == ""
        assert story.letter(story.status["completed"]["revision"]) == "A"

    def test_what_it_has_done_stays_in_its_status(self) -> None:
        assert self.once().status["queries"][0]["batchId"] == 4

    def test_it_stays_so(self) -> None:
        story = self.once().waits(days=3).passes()
        assert (story.did, story.phase, story.drivers) == ([], "Completed", [])

    def test_an_edit_runs_it_again(self) -> None:
        story = self.once()
        story.cluster.fates.clear()
        story.edit(sql="SELECT 2 AS a FROM access").settles()
        assert (story.phase, story.active, "completed" in story.status) == ("Running", "B", False)

    def test_so_does_a_restart_that_is_asked_for(self) -> None:
        story = self.once()
        story.restart_at(story.now).passes()
        assert (story.drivers, story.active) == (["B"], "B")
        assert story.settles().phase == "Completed"

    def test_and_a_schedule_each_time(self) -> None:
        story = self.once(restarts={"schedule": "0 3 * * *"})
        story.now += timedelta(days=1)
        assert story.passes().drivers == ["B"]
        assert story.settles().phase == "Completed"

    def test_more_executors_do_not(self) -> None:
        story = self.once().scale(5).settles()
        assert (story.phase, story.executors) == ("Completed", {})

    def test_new_certificates_do_not(self) -> None:
        story = self.once()
        story.now = BEGIN + timedelta(days=300)
        assert (story.passes().did, story.phase) == ([], "Completed")
        story.restart_at(story.now).settles()
        assert story.status["certificates"]["secret"] == "web-logs-tls-2"

    def test_suspending_and_resuming_runs_it_again(self) -> None:
        story = self.once().edit(suspend=True).settles()
        assert story.phase == "Suspended"
        assert story.edit(suspend=False).passes().drivers == ["A"]


class TestDeletion:
    def purging(self) -> Story:
        return Story(deletionPolicy="Delete").settles()

    def test_by_default_nothing_holds_a_job_back(self) -> None:
        story = Story().settles()
        assert "finalizers" not in story.job["metadata"]
        assert not story.delete().exists
        assert not story.lives(4).cluster.objects

    def test_a_job_whose_checkpoint_is_to_go_is_held_back(self) -> None:
        assert self.purging().job["metadata"]["finalizers"] == [FINALIZER]

    def test_others_finalizers_stay(self) -> None:
        story = Story()
        story.cluster.change(story.job, lambda job: job["metadata"].update(finalizers=["other/one"]))
        story.edit(deletionPolicy="Delete").settles()
        assert story.job["metadata"]["finalizers"] == ["other/one", FINALIZER]
        assert story.edit(deletionPolicy="Retain").settles().job["metadata"]["finalizers"] == ["other/one"]

    def test_the_checkpoint_goes_once_nobody_writes_it(self) -> None:
        story = self.purging().delete().fate("driver", unfinished=True).passes().lives().passes()
        assert (story.phase, story.did) == ("Terminating", [])
        story.cluster.fates.clear()
        story.lives(3).passes().lives(2).passes()
        assert story.did == ["apply Job web-logs-purge"]

    def test_then_the_job_is_gone_with_all_it_had(self) -> None:
        story = self.purging().delete().settles()
        assert not story.exists
        assert not story.lives(4).cluster.objects

    def test_a_purge_that_fails_is_told_and_holds_the_job_back(self) -> None:
        story = self.purging().delete().fate("purge", exits=1, says="no route to redis").settles()
        assert (story.phase, story.condition("Degraded")) == ("Terminating", "PurgeFailed")
        assert "web-logs-purge" in story.message and "no route to redis" in story.message

    def test_deleting_its_kubernetes_job_tries_again(self) -> None:
        story = self.purging().delete().fate("purge", exits=1, says="no route to redis").settles()
        story.cluster.fates.clear()
        assert not story.loses(PURGE).settles().exists

    def test_keeping_the_checkpoint_after_all_lets_the_job_go(self) -> None:
        story = self.purging().delete().fate("purge", exits=1).settles()
        assert not story.edit(deletionPolicy="Retain").settles().exists

    def test_where_the_namespace_ends_nothing_can_be_purged(self) -> None:
        story = self.purging().delete()
        story.cluster.ending.add(PLACE)
        assert not story.settles().exists
        assert not [c for c in story.api.writes if "purge" in c]

    def test_a_suspended_job_is_purged_too(self) -> None:
        story = self.purging().edit(suspend=True).settles().delete().settles()
        assert not story.exists
        assert "apply Job web-logs-purge" in story.api.writes

    def test_what_is_purged_is_what_the_job_has_written(self) -> None:
        story = (
            self.purging()
            .edit(checkpoint={"id": "another"})
            .settles()
            .delete()
            .fate("purge", exits=1)
            .settles()
        )
        (purge,) = story.cluster.all(PURGE)
        mounted = purge["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"]
        config = story.cluster.find(CONFIG_MAP, PLACE, mounted)
        assert config is not None and "another" not in config["data"]["job.yaml"]

    def test_also_when_its_spec_is_wrong_by_now(self) -> None:
        story = (
            self.purging()
            .edit(driver={"podTemplate": {"spec": {"hostPID": True}}})
            .settles()
            .delete()
            .settles()
        )
        assert not story.exists
        assert "apply Job web-logs-purge" in story.api.writes

    def test_a_job_that_never_was_one_is_let_go(self) -> None:
        story = Story(deletionPolicy="Delete", sources=[{"name": "access", "format": "nonsense"}])
        story.cluster.change(story.job, lambda job: job["metadata"].update(finalizers=[FINALIZER]))
        assert not story.delete().settles().exists
