"""When a job is looked at though nothing has changed."""

from __future__ import annotations

import pytest

from tests.operator.stories import Story

BAD = {"exits": 1, "says": "broken"}


def pace(story: Story) -> float | None:
    assert story.passes().decision is not None
    return story.decision.again


def tried() -> Story:
    return Story().settles().fate("SELECT 2", starts=False).edit(sql="SELECT 2 AS a FROM access").settles()


@pytest.mark.parametrize(
    ("what", "make", "seconds"),
    [
        ("it runs", lambda: Story().settles(), 15),
        ("it has just been begun", lambda: Story(), 1),
        ("it waits for pods", lambda: Story().passes(), 15),
        ("its driver starts", lambda: Story().passes().lives(), 1),
        (
            "its driver's image comes",
            lambda: Story().fate("driver", waiting="ContainerCreating").passes().lives(),
            5,
        ),
        ("its driver cannot start yet", lambda: Story(sources=[_with_a_secret()]).passes().lives(), 15),
        ("its driver crashes", lambda: Story().fate("driver", **BAD).settles(), 15),
        ("a change is tried", tried, 1),
        ("a change is refused", lambda: Story().settles().edit(checkpoint={"id": "b"}).settles(), 15),
        ("the old driver ends", lambda: _suspending(), 1),
        ("it is suspended", lambda: Story(suspend=True).settles(), None),
        ("it is done", lambda: Story().fate("driver", completes=True).settles(), None),
        ("it is no job", lambda: Story(sources=[{"name": "a", "format": "b"}]).settles(), None),
    ],
)
def test_the_next_look(what: str, make: object, seconds: float | None) -> None:
    assert pace(make()) == seconds, what  # type: ignore[operator]


def test_a_schedule_of_a_job_that_is_done_is_waited_for() -> None:
    story = Story(restarts={"schedule": "0 3 * * *"}).fate("driver", completes=True).settles()
    assert pace(story) is not None and 14 * 3600 < pace(story) < 15 * 3600  # type: ignore[operator]


def _suspending() -> Story:
    return Story().settles().fate("driver", unfinished=True).edit(suspend=True).passes().lives().passes()


def _with_a_secret() -> dict[str, object]:
    options = {
        "subscribe": "a",
        "kafka.bootstrap.servers": "kafka:9092",
        "kafka.sasl.username": "${secret:kafka/user}",
    }
    return {"name": "access", "format": "kafka", "options": options}
