"""Where a job keeps its progress that leaves that to the platform."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.operator.stories import PLATFORM, Story
from tidemill_operator.cluster import DEPLOYMENT, PURGE, Kind

HERE = PLATFORM.checkpoint
ELSEWHERE = replace(PLATFORM, checkpoint="redis://elsewhere:6379/0")


def kept_at(story: Story, kind: Kind = DEPLOYMENT) -> str:
    """What the environment of a pod says."""
    (container,) = story.template(kind)["spec"]["containers"]
    return {e["name"]: e["value"] for e in container["env"]}.get("TIDEMILL_CHECKPOINT", "")


def test_at_the_platforms_place() -> None:
    story = Story().settles()
    assert (kept_at(story), story.status["checkpoint"]) == (HERE, HERE)


def test_a_job_stays_where_it_began() -> None:
    story = Story().settles().upgrades(ELSEWHERE).settles()
    assert story.did == []
    story.edit(sql="SELECT 2 AS a FROM access").settles()
    assert (story.active, kept_at(story)) == ("B", HERE)
    story.edit(suspend=True).settles().edit(suspend=False).settles()
    assert kept_at(story) == HERE


def test_a_new_one_begins_at_the_new_place() -> None:
    assert kept_at(Story(ELSEWHERE).settles()) == ELSEWHERE.checkpoint


def test_it_is_moved_by_its_manifest() -> None:
    story = Story().settles().edit(suspend=True).settles()
    story.edit(checkpoint={"location": ELSEWHERE.checkpoint}, suspend=False).settles()
    assert (story.phase, kept_at(story), "checkpoint" in story.status) == ("Running", "", False)


def test_it_is_purged_where_it_is() -> None:
    story = Story(deletionPolicy="Delete").settles().upgrades(ELSEWHERE).delete()
    story.fate("purge", starts=False)
    while not story.cluster.all(PURGE):
        story.passes().lives()
    assert kept_at(story, PURGE) == HERE


@pytest.mark.parametrize(
    "location",
    [
        "redis://:hush@redis:6379/0",
        "redis://${secret:redis/user}:hush@redis:6379/0",
        "redis+sentinel://one,two/main?sentinel_password=hush",
    ],
)
def test_the_platforms_place_has_no_password_in_it(location: str) -> None:
    command = [sys.executable, "-m", "tidemill_operator", "--checkpoint", location]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "${secret:redis/password}" in done.stderr
    assert "hush" not in done.stderr + done.stdout
