"""`spec.suspend`, and what may be changed meanwhile."""

from __future__ import annotations

from tests.operator.stories import Story

ELSEWHERE = {"location": "redis://:hidden@other:6379/0"}


def suspended() -> Story:
    return Story(executor={"replicas": 2}).settles().edit(suspend=True).settles()


def test_the_driver_finishes_its_batch_first_and_executors_leave_then() -> None:
    story = (
        Story(executor={"replicas": 2}).settles().fate("driver", unfinished=True).edit(suspend=True).passes()
    )
    assert story.did == ["delete Deployment web-logs-driver-A"]
    story.lives().passes()
    assert (story.phase, story.message, story.did) == ("Suspending", "the driver finishes its batch", [])
    story.cluster.fates.clear()
    story.lives().passes()
    assert story.did == ["patch StatefulSet web-logs-executor"]
    assert (story.phase, story.message) == ("Suspending", "the executors leave")


def test_nothing_runs_then() -> None:
    story = suspended()
    assert (story.phase, story.drivers, story.executors) == ("Suspended", [], {})
    assert (story.condition("Ready"), story.condition("Progressing"), story.condition("Degraded")) == (
        "",
        "",
        "",
    )
    assert story.passes().did == []
    assert story.decision is not None and story.decision.again is None


def test_a_job_may_be_born_suspended() -> None:
    story = Story(suspend=True).settles()
    assert (story.phase, story.drivers, [c for c in story.api.writes if "apply" in c]) == (
        "Suspended",
        [],
        [],
    )


def test_it_goes_on() -> None:
    story = suspended().edit(suspend=False).settles()
    assert (story.phase, story.message) == ("Running", "1 query on 2 executors")


def test_no_restart_is_told_of_when_it_goes_on() -> None:
    assert "startedAt" not in suspended().edit(suspend=False).settles().status.get("restart", {})


def test_what_it_was_changed_to_meanwhile_runs() -> None:
    story = suspended().edit(sql="SELECT 2 AS a FROM access").settles()
    assert story.phase == "Suspended"
    story.edit(suspend=False).settles()
    assert story.manifest(story.active)["queries"][0]["sql"] == "SELECT 2 AS a FROM access"


def test_where_its_checkpoint_is_kept_may_change() -> None:
    story = suspended().edit(checkpoint=ELSEWHERE).settles().edit(suspend=False).settles()
    assert (story.phase, story.manifest(story.active)["checkpoint"]) == ("Running", ELSEWHERE)


def test_it_may_change_in_the_edit_that_suspends() -> None:
    story = Story().settles().edit(suspend=True, checkpoint=ELSEWHERE).settles()
    assert (story.phase, story.condition("Degraded")) == ("Suspended", "")


def test_while_the_job_runs_it_may_not() -> None:
    for change in (ELSEWHERE, {"id": "another"}):
        story = Story().settles().edit(checkpoint=change).settles()
        assert (story.phase, story.active, story.condition("Degraded")) == ("Running", "A", "ChangeRefused")
        assert "tidemill checkpoint copy" in story.message
        assert story.told == [] and "ChangeRefused" in [e.get("reason") for e in story.cluster.events]


def test_a_job_that_has_never_held_its_checkpoint_may_keep_it_elsewhere() -> None:
    story = (
        Story(checkpoint={"location": "redis://wrong:6379/0"})
        .fate("wrong", exits=1, says="no such host")
        .settles()
    )
    assert story.phase == "Failing"
    story.edit(checkpoint={"location": "redis://right:6379/0"}).settles()
    assert (story.phase, story.condition("Degraded")) == ("Running", "")


def test_no_password_is_told() -> None:
    story = Story().settles().edit(checkpoint=ELSEWHERE).settles()
    assert "redis://***@other:6379/0" in story.message
    assert "hidden" not in str(story.status) + str(story.cluster.events)


def test_taking_it_back_clears_it() -> None:
    story = Story().settles().edit(checkpoint=ELSEWHERE).settles().edit(checkpoint=None).settles()
    assert (story.active, story.condition("Degraded"), "refused" in story.status) == ("A", "", False)


def test_suspending_a_job_whose_change_was_refused_forgets_the_change() -> None:
    story = Story().settles().edit(checkpoint=ELSEWHERE).settles().edit(suspend=True).settles()
    assert (story.phase, "refused" in story.status) == ("Suspended", False)


def test_an_edit_that_is_tried_ends_with_it() -> None:
    story = Story().settles().fate("SELECT 2", starts=False).edit(sql="SELECT 2 AS a FROM access").settles()
    assert story.edit(suspend=True).settles().drivers == []


def test_a_failing_job_can_be_suspended() -> None:
    story = Story().fate("driver", exits=1, says="broken").settles().edit(suspend=True).settles()
    assert (story.phase, story.drivers, story.condition("Degraded")) == ("Suspended", [], "")
