"""The status: transitions at once, figures now and then, and nothing when nothing has changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.stories import BEGIN, Story
from tidemill.api import Status
from tidemill_operator.errors import ClusterError
from tidemill_operator.memory import Memory
from tidemill_operator.moments import iso
from tidemill_operator.status import patch


def query(**figures: Any) -> dict[str, Any]:
    return {"name": "hits", "phase": "idle", "batchId": 5, "committedAt": "2026-03-01T12:00:30Z", **figures}


def running() -> Story:
    """For more than a minute, so that figures are due."""
    return Story().settles().waits(minutes=2)


class TestWhenItIsWritten:
    def test_figures_once_a_minute(self) -> None:
        story = running().says("A", queries=[query(lagRows=1)]).passes()
        assert (story.wrote, story.status["lagRows"], story.status["lastBatch"]) == (True, 1, 5)
        story.waits(seconds=59).says("A", queries=[query(lagRows=2)]).passes()
        assert (story.wrote, story.status["lagRows"]) == (False, 1)
        assert story.waits(seconds=1).passes().status["lagRows"] == 2

    def test_a_transition_at_once_and_figures_with_it(self) -> None:
        story = running().says("A", queries=[query(lagRows=1)]).passes()
        story.waits(seconds=5).says(
            "A", queries=[query(lagRows=2, phase="failed", lastError="no disk")]
        ).passes()
        assert (story.phase, story.status["lagRows"]) == ("Failing", 2)

    def test_an_executor_that_becomes_ready_at_once(self) -> None:
        story = running().passes().scale(2).passes().lives().passes()
        assert (story.status["replicas"], story.status["readyReplicas"]) == (2, 2)

    def test_nothing_when_nothing_has_changed(self) -> None:
        assert not running().passes().waits(days=1).passes().wrote

    def test_a_driver_that_does_not_answer_once_changes_nothing_of_what_it_said(self) -> None:
        story = running().passes()
        before = story.status
        story.cluster.phases.clear()
        story.passes()
        kept = ("generation", "queries", "lagRows", "lastBatch", "lastCommit")
        assert {k: story.status[k] for k in kept} == {k: before[k] for k in kept}

    def test_a_driver_that_has_not_held_the_checkpoint_has_no_generation(self) -> None:
        story = Story().fate("driver", starts=False).passes().lives(3).passes()
        assert "generation" not in story.status

    def test_when_the_api_server_answers_late_a_stale_status_is_not_written_over_a_newer_one(self) -> None:
        story = Story().settles().says("A", generation=9)
        seen = story.observed()
        story.edit(suspend=True).passes()
        story.seen = seen
        with pytest.raises(ClusterError, match="modified"):
            story.waits(minutes=2).passes()
        assert story.phase == "Suspending"


class TestWhatIsInIt:
    def test_lag_is_of_all_queries_and_the_last_batch_of_any(self) -> None:
        queries = [
            query(lagRows=1),
            query(name="raw", lagRows=2, batchId=9, committedAt="2026-03-01T12:01:00Z"),
        ]
        status = running().says("A", queries=queries).passes().status
        assert (status["lagRows"], status["lastBatch"], status["lastCommit"]) == (
            3,
            9,
            "2026-03-01T12:01:00Z",
        )

    def test_a_query_that_ended_and_began_again_is_told_once(self) -> None:
        story = running().says("A", queries=[query(phase="stopped"), query(phase="idle")]).passes()
        assert [q["phase"] for q in story.status["queries"]] == ["idle"]

    def test_long_words_of_others_are_cut(self) -> None:
        queries = [query(phase="failed", lastError="x" * 9999), *(query(name=f"q{n}") for n in range(300))]
        story = running().says("A", queries=queries).passes()
        assert (len(story.status["queries"]), len(story.status["queries"][0]["lastError"])) == (100, 4096)

    def test_a_long_verdict_too(self) -> None:
        story = (
            Story().settles().fate("SELECT 2", exits=2, says="x" * 9999).edit(sql="SELECT 2 AS a FROM access")
        )
        assert len(story.settles().status["refused"]["reason"]) == 4096

    def test_conditions_keep_the_time_since_which_they_hold(self) -> None:
        story = Story().settles()
        since = {c["type"]: c["lastTransitionTime"] for c in story.status["conditions"]}
        story.waits(minutes=5).edit(suspend=True).passes()
        now = {c["type"]: c["lastTransitionTime"] for c in story.status["conditions"]}
        assert now["Degraded"] == since["Degraded"]
        assert now["Ready"] == now["Progressing"] == iso(story.now)

    def test_what_is_over_is_gone_at_every_depth(self) -> None:
        story = Story().settles()
        story.restart_at(story.now).settles()
        assert story.status["restart"]["pauseSeconds"] > 0
        story.fate("driver-", unfinished=True).edit(sql="SELECT 2 AS a FROM access").passes().lives(
            3
        ).passes()
        assert story.phase == "Restarting"
        assert not {"finishedAt", "pauseSeconds"} & story.status["restart"].keys()
        story.lives().passes().passes()
        assert not story.wrote


Plain = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)
Nested = st.dictionaries(st.sampled_from("defg"), Plain | st.integers(0, 2), max_size=4)


def merged(value: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    result = dict(value) if isinstance(value, dict) else {}
    for key, part in change.items():
        if part is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), part)
    return result


class TestPatch:
    @given(Nested, Nested)
    def test_it_makes_one_of_the_other(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        change = patch(before, after, BEGIN, 60)
        assert (change is None) == (before == after)
        if change is not None:
            assert merged(before, change) == {**after, "figuresAt": iso(BEGIN)}

    def test_figures_wait_and_transitions_do_not(self) -> None:
        before = {"phase": "Running", "lagRows": 1, "figuresAt": iso(BEGIN)}
        soon = BEGIN + timedelta(seconds=59)
        assert patch(before, {"phase": "Running", "lagRows": 2}, soon, 60) is None
        assert patch(before, {"phase": "Running"}, soon, 60) is None
        assert patch(before, {"phase": "Failing", "lagRows": 2}, soon, 60) == {
            "phase": "Failing",
            "lagRows": 2,
            "figuresAt": iso(soon),
        }


class TestMemory:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Story().settles(),
            lambda: Story(restarts={"schedule": "0 3 * * *"}).settles(),
            lambda: (s := Story().settles()).restart_at(s.now).settles(),
            lambda: Story().settles().edit(checkpoint={"id": "other"}).settles(),
            lambda: Story().fate("driver", completes=True).settles(),
            lambda: Story().settles().edit(suspend=True).settles(),
        ],
    )
    def test_it_comes_back_from_a_status_as_it_went(self, make: Any) -> None:
        status = make().status
        kept = Memory.of(status).to_status("web-logs")
        assert kept == {k: status[k] for k in kept}
        assert kept.keys() == status.keys() & {
            "revision", "image", "checkpoint", "restart", "certificates", "refused", "completed",
        }  # fmt: skip

    @given(
        st.dictionaries(
            st.sampled_from(sorted(f.alias or n for n, f in Status.model_fields.items())),
            st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(
                st.sampled_from(["secret", "notAfter", "token", "startedAt", "next", "revision", "observedGeneration"]),
                st.none() | st.integers() | st.text(),
            ),
        )
    )  # fmt: skip
    def test_it_bears_what_anybody_writes_there(self, status: dict[str, Any]) -> None:
        kept = Memory.of(status).to_status("web-logs")
        assert Memory.of(kept).to_status("web-logs") == kept
