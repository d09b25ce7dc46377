"""Planned restarts: asked for, by a schedule, and for new certificates."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.operator.stories import BEGIN, PLATFORM, Story
from tidemill_operator.cluster import SECRET
from tidemill_operator.moments import iso, parsed
from tidemill_operator.names import name_of


def at(text: str) -> datetime:
    moment = parsed(text)
    assert moment is not None
    return moment


def awaken(story: Story, moment: datetime) -> Story:
    """Sleep until a moment, and pass."""
    story.now = moment
    return story.passes()


class TestAskedFor:
    def test_a_time_that_has_come_restarts_the_job(self) -> None:
        story = Story().settles()
        asked = story.now
        story.restart_at(asked).settles()
        restart = story.status["restart"]
        assert (story.active, story.phase, restart["cause"]) == ("B", "Running", "Requested")
        assert (restart["token"], restart["requestedAt"]) == (iso(asked), iso(asked))
        assert story.manifest("B") == story.job["spec"]

    def test_a_standby_is_there_before_the_old_driver_goes(self) -> None:
        story = Story().settles()
        story.restart_at(story.now).passes()
        assert (story.drivers, story.leads) == (["A", "B"], ["A"])

    def test_it_counts_by_its_cause(self) -> None:
        story = Story().settles()
        story.restart_at(story.now).passes().lives(2).passes()
        assert story.decision is not None and story.decision.restarted == "Requested"

    def test_its_pause_lasts_until_every_query_of_the_new_driver_has_read_its_checkpoint(self) -> None:
        story = Story().settles()
        reading = [{"name": "hits", "phase": "idle"}, {"name": "visits", "phase": "recovering"}]
        story.restart_at(story.now).says("B", queries=reading).settles()
        assert story.phase == "Restarting" and "finishedAt" not in story.status["restart"]
        story.says("B").waits(seconds=40).passes()
        restart = story.status["restart"]
        assert restart["finishedAt"] == iso(story.now)
        passed = at(restart["finishedAt"]) - at(restart["startedAt"])
        assert (restart["pauseSeconds"], passed.total_seconds() > 40) == (passed.total_seconds(), True)

    def test_it_is_done_once(self) -> None:
        story = Story().settles()
        story.restart_at(story.now).settles().waits(days=3).passes()
        assert (story.did, story.active) == ([], "B")

    def test_a_time_to_come_is_waited_for(self) -> None:
        story = Story().settles()
        later = story.now + timedelta(minutes=5)
        story.restart_at(later).passes()
        assert (story.drivers, story.status["restart"]["next"]) == (["A"], iso(later))
        assert story.decision is not None and story.decision.again == 15.0
        awaken(story, later - timedelta(seconds=4))
        assert story.decision.again == 4.5
        assert awaken(story, later).drivers == ["A", "B"]
        assert story.settles().status["restart"]["requestedAt"] == iso(later)

    def test_a_time_that_is_taken_back_does_not_come(self) -> None:
        story = Story().settles()
        story.restart_at(story.now + timedelta(minutes=5)).passes()
        story.cluster.change(story.job, lambda job: job["metadata"].pop("annotations"))
        story.passes()
        assert "next" not in story.status.get("restart", {})
        assert awaken(story, story.now + timedelta(minutes=6)).drivers == ["A"]

    def test_what_is_no_time_is_said_and_nothing_else(self) -> None:
        story = Story().settles().restart_at("tomorrow").passes()
        assert (story.phase, story.condition("Degraded"), story.drivers) == (
            "Running",
            "WrongAnnotation",
            ["A"],
        )
        assert story.message.startswith(
            "tidemill.dev/restart-at: 'tomorrow' is no time; write one like 2026-"
        )
        told = len(story.cluster.events)
        assert len(story.settles().waits(minutes=2).passes().cluster.events) == told

    def test_a_time_without_a_zone_is_none(self) -> None:
        assert (
            Story().settles().restart_at("2026-03-01T13:00:00").passes().condition("Degraded")
            == "WrongAnnotation"
        )

    def test_a_time_before_the_last_restart_asks_for_nothing(self) -> None:
        story = Story().settles()
        story.restart_at(story.now).settles().restart_at(BEGIN).settles()
        assert story.active == "B"

    def test_an_old_annotation_does_not_restart_a_new_job(self) -> None:
        story = Story()
        story.restart_at(BEGIN - timedelta(days=300)).settles()
        assert (story.active, story.phase) == ("A", "Running")
        story.edit(sql="SELECT 2 AS a FROM access").settles()
        assert story.status["restart"]["cause"] == "Changed"

    def test_a_suspended_job_only_starts(self) -> None:
        story = Story().settles().edit(suspend=True).settles()
        story.restart_at(story.now).settles()
        assert story.phase == "Suspended"
        story.edit(suspend=False).settles().waits(minutes=2).passes()
        assert (story.did, story.phase) == ([], "Running")


class TestSchedule:
    def nightly(self, zone: str = "UTC", schedule: str = "0 3 * * *") -> Story:
        return Story(restarts={"schedule": schedule, "timeZone": zone}).settles()

    def test_the_next_time_is_told(self) -> None:
        assert self.nightly().status["restart"] == {"next": "2026-03-02T03:00:00Z"}

    def test_the_job_restarts_then_and_tells_the_time_after(self) -> None:
        story = awaken(self.nightly(), at("2026-03-02T03:00:01Z"))
        assert story.drivers == ["A", "B"]
        restart = story.settles().status["restart"]
        assert (restart["cause"], restart["token"]) == ("Scheduled", "2026-03-02T03:00:00Z")
        assert restart["next"] == "2026-03-03T03:00:00Z"

    def test_once_each_time(self) -> None:
        story = awaken(self.nightly(), at("2026-03-02T03:00:01Z")).settles()
        assert awaken(story, at("2026-03-03T02:59:59Z")).drivers == ["B"]
        assert awaken(story, at("2026-03-03T03:00:00Z")).drivers == ["B", "C"]

    def test_an_operator_that_was_away_makes_up_for_one_restart(self) -> None:
        story = awaken(self.nightly(), at("2026-03-09T12:00:00Z")).settles()
        assert (story.active, story.status["restart"]["next"]) == ("B", "2026-03-10T03:00:00Z")

    def test_a_schedule_for_a_job_that_has_run_for_long_begins_now(self) -> None:
        story = awaken(Story().settles(), at("2026-05-01T12:00:00Z"))
        story.edit(restarts={"schedule": "0 3 * * *"}).settles()
        assert (story.active, story.status["restart"]["next"]) == ("A", "2026-05-02T03:00:00Z")

    def test_another_schedule_replaces_the_first(self) -> None:
        story = self.nightly().edit(restarts={"schedule": "0 5 * * *"}).settles()
        assert story.status["restart"]["next"] == "2026-03-02T05:00:00Z"
        assert awaken(story, at("2026-03-02T03:00:01Z")).drivers == ["A"]

    def test_without_a_schedule_there_is_no_next_time(self) -> None:
        story = self.nightly().edit(restarts=None).settles()
        assert "restart" not in story.status
        assert awaken(story, at("2026-03-02T03:00:01Z")).drivers == ["A"]

    def test_the_time_of_a_place(self) -> None:
        assert self.nightly("America/New_York").status["restart"]["next"] == "2026-03-02T08:00:00Z"

    @pytest.mark.parametrize(
        ("schedule", "before", "times"),
        [
            ("0 3 * * *", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
            # In the night of 29 March 02:30 does not exist, in that of 25 October it comes twice.
            ("30 2 * * *", "2026-03-28T12:00:00Z", ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]),
            ("30 2 * * *", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ],
    )
    def test_summer_time(self, schedule: str, before: str, times: list[str]) -> None:
        story = awaken(Story(), at(before)).edit(restarts={"schedule": schedule, "timeZone": "Europe/Paris"})
        first = story.settles().status["restart"]["next"]
        story = awaken(story, at(first)).settles()
        assert [first, story.status["restart"]["next"]] == times

    def test_a_time_that_a_suspended_job_sleeps_through_is_forgotten(self) -> None:
        story = self.nightly().edit(suspend=True).settles()
        story = awaken(story, at("2026-03-05T12:00:00Z")).edit(suspend=False).settles()
        first = story.active
        assert story.settles().status["restart"]["next"] == "2026-03-06T03:00:00Z"
        assert story.waits(minutes=2).passes().active == first

    def test_a_refused_edit_does_not_keep_it_from_restarting(self) -> None:
        story = self.nightly().edit(checkpoint={"id": "another"}).settles()
        awaken(story, at("2026-03-02T03:00:01Z")).settles()
        assert (story.active, story.phase, story.condition("Degraded")) == ("B", "Running", "ChangeRefused")
        assert "checkpoint" not in story.manifest("B")

    def test_whichever_comes_first(self) -> None:
        story = self.nightly().restart_at(at("2026-03-01T20:00:00Z")).passes()
        assert story.status["restart"]["next"] == "2026-03-01T20:00:00Z"
        awaken(story, at("2026-03-01T20:00:00Z")).settles()
        assert (story.active, story.status["restart"]["next"]) == ("B", "2026-03-02T03:00:00Z")
        assert awaken(story, at("2026-03-02T03:00:00Z")).drivers == ["B", "C"]


class TestCertificates:
    def secrets(self, story: Story) -> list[str]:
        return [name_of(s) for s in story.cluster.all(SECRET)]

    def test_they_are_made_before_the_status_names_them(self) -> None:
        story = Story().passes()
        calls = story.api.calls
        assert calls.index("apply Secret web-logs-tls-1") < calls.index("patch StreamingJob/status web-logs")
        assert story.status["certificates"] == {
            "secret": "web-logs-tls-1",
            "notAfter": "2027-03-01T12:00:00Z",
        }

    def test_they_are_renewed_when_a_third_of_their_time_is_left(self) -> None:
        story = Story(executor={"replicas": 2}).settles()
        due = BEGIN + PLATFORM.certificates * 2 / 3
        assert not awaken(story, due - timedelta(minutes=1)).did
        awaken(story, due + timedelta(minutes=1))
        assert story.did[0] == "apply Secret web-logs-tls-2"
        assert story.drivers == ["A", "B"]

    def test_by_a_planned_restart_in_which_executors_get_theirs_too(self) -> None:
        story = awaken(Story(executor={"replicas": 2}).settles(), BEGIN + timedelta(days=300)).settles()
        assert (story.phase, story.status["restart"]["cause"]) == ("Running", "Certificates")
        assert story.message == "1 query on 2 executors"
        assert story.status["certificates"]["secret"] == "web-logs-tls-2"

    def test_while_a_change_is_refused(self) -> None:
        story = (
            Story()
            .settles()
            .fate("SELECT 2", exits=2, says="no")
            .edit(sql="SELECT 2 AS a FROM access")
            .settles()
        )
        awaken(story, BEGIN + timedelta(days=300)).settles()
        assert (story.phase, story.condition("Degraded")) == ("Running", "ChangeRefused")
        assert story.manifest(story.active)["queries"][0]["sql"] == "SELECT * FROM access"
        assert story.status["certificates"]["secret"] == "web-logs-tls-2"

    def test_a_suspended_job_needs_none_until_it_goes_on(self) -> None:
        story = awaken(Story().settles().edit(suspend=True).settles(), BEGIN + timedelta(days=400))
        assert self.secrets(story) == ["web-logs-tls-1"]
        story.edit(suspend=False).settles()
        assert (story.phase, story.status["certificates"]["secret"]) == ("Running", "web-logs-tls-2")

    def test_a_status_that_was_lost_does_not_change_certificates_that_are_in_use(self) -> None:
        story = Story().settles()
        before = story.cluster.find(SECRET, "shop", "web-logs-tls-1")
        story.cluster.change(story.job, lambda job: job.pop("status"))
        story.settles()
        assert (story.phase, story.status["certificates"]["secret"]) == ("Running", "web-logs-tls-2")
        assert story.cluster.find(SECRET, "shop", "web-logs-tls-1") == before
