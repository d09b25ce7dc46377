"""Every field of a job's spec is in the change matrix, and what the matrix says is what is decided."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from tests.operator.stories import SPEC, Story
from tidemill.api import JobSpec
from tidemill_operator.changes import EFFECTS, MATRIX, effect

ROOT = Path(__file__).parents[2]


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a value of a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, list, dict, Union, UnionType):
        for part in get_args(annotation):
            yield from models_of(part)


def fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The paths of all fields, each after what it is below."""
    for name, field in model.model_fields.items():
        own = f"{path}{field.alias or name}"
        yield own
        for part in models_of(field.annotation):
            yield from fields(part, f"{own}.")


PATHS = sorted(set(fields(JobSpec)))
ABOVE = {row.rpartition(".")[0] for row in MATRIX} - {""}
"""Fields whose parts have rows of their own."""


def test_the_walk_sees_fields_at_every_depth() -> None:
    assert {"queries.sink.encode.format", "checkpoint.onExisting", "sources.decode.options"} <= set(PATHS)


@pytest.mark.parametrize("path", [p for p in PATHS if p not in ABOVE])
def test_every_field_is_in_a_row(path: str) -> None:
    assert effect(path) in EFFECTS


def test_a_field_that_is_in_none_would_be_found() -> None:
    with pytest.raises(KeyError, match="change matrix"):
        effect("checkpoint.news")
    with pytest.raises(KeyError, match="change matrix"):
        effect("news")


def test_every_row_is_a_field() -> None:
    assert set(MATRIX) <= set(PATHS)


def query(**changed: Any) -> list[dict[str, Any]]:
    return [{**SPEC["queries"][0], **changed}]


def source(**changed: Any) -> list[dict[str, Any]]:
    return [{**SPEC["sources"][0], **changed}]


BIG = {"requests": {"memory": "4Gi"}}
FAST = {"spec": {"nodeSelector": {"disk": "fast"}}}
TABLE = {"name": "hosts", "format": "csv", "options": {"path": "hosts.csv"}, "schema": "host STRING"}
PROGRAM = {"sources": None, "queries": None, "program": {"inline": "print(1)"}}
CHANGES: dict[str, list[dict[str, Any]]] = {
    "sources": [
        {"sources": source(options={"rowsPerSecond": 2})},
        {"sources": [*source(), *source(name="more")]},
    ],
    "tables": [{"tables": [TABLE]}],
    "functions": [{"functions": [{"name": "shout", "from": "words:shout", "returns": "STRING"}]}],
    "queries": [
        {"queries": query(sql="SELECT * FROM access WHERE value > 1")},
        {"queries": query(trigger={"processingTime": "5 seconds"})},
        {"queries": query(sink={"format": "console"})},
        {"queries": [*query(), *query(name="more")]},
    ],
    "program": [PROGRAM],
    "image": [{"image": "tidemill:2"}],
    "checkpoint.location": [{"checkpoint": {"location": "redis://other:6379/0"}}],
    "checkpoint.id": [{"checkpoint": {"id": "other"}}],
    "checkpoint.onExisting": [{"checkpoint": {"onExisting": "Fail"}}],
    "stopAt": [{"stopAt": "03:00 Europe/Paris"}],
    "conf": [{"conf": {"spark.sql.session.timeZone": "Europe/Paris"}}],
    "driver.resources": [{"driver": {"resources": BIG}}],
    "driver.podTemplate": [{"driver": {"podTemplate": FAST}}],
    "executor.replicas": [{"executor": {"replicas": 3}}],
    "executor.resources": [{"executor": {"replicas": 2, "resources": BIG}}],
    "executor.podTemplate": [{"executor": {"replicas": 2, "podTemplate": FAST}}],
    "suspend": [{"suspend": True}],
    "deletionPolicy": [{"deletionPolicy": "Delete"}],
    "restarts": [{"restarts": {"schedule": "0 3 * * *"}}],
}
"""By row: what is changed in a job that runs."""


def test_every_row_is_tried() -> None:
    assert CHANGES.keys() == MATRIX.keys()


EACH = [(row, change) for row, changes in CHANGES.items() for change in changes]


@pytest.mark.parametrize(("row", "change"), EACH, ids=[row for row, _ in EACH])
def test_what_the_row_says_is_what_is_done(row: str, change: dict[str, Any]) -> None:
    story = Story(executor={"replicas": 2}).settles().edit(**change).passes()
    assert story.status["observedGeneration"] == 2, "it has been seen"
    done = MATRIX[row][0]
    pods = [call.split()[-1] for call in story.did if call.startswith("delete Pod")]
    assert story.drivers == (["A", "B"] if done == "restart" else [] if row == "suspend" else ["A"])
    assert pods == (["web-logs-executor-1"] if done == "executors" else [])
    assert story.condition("Degraded") == ("ChangeRefused" if done == "refused" else "")
    story.settles()
    assert story.phase == ("Suspended" if row == "suspend" else "Running")
    assert story.active == ("B" if done == "restart" else "" if row == "suspend" else "A")


@pytest.mark.parametrize(("row", "change"), EACH, ids=[row for row, _ in EACH])
def test_writing_a_job_again_as_it_is_changes_nothing(row: str, change: dict[str, Any]) -> None:
    if MATRIX[row][0] == "refused":
        story = Story(**change).settles()
    else:
        story = Story().settles().edit(**change).settles()
    same = {k: v for k, v in story.job["spec"].items() if v is not None}
    defaults = {"stopAt": None, "deletionPolicy": "Retain", "suspend": False, "conf": {}, "tables": []}
    explicit = {**{k: v for k, v in defaults.items() if k not in same and v is not None}, **same}
    before = story.active
    story.edit(**explicit).passes()
    assert (story.did, story.active, story.condition("Degraded")) == ([], before, "")


def test_the_page_is_made_of_the_matrix() -> None:
    page = (ROOT / "docs" / "change-matrix.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `spec.")]
    assert [row.split("`")[1] for row in rows] == [f"spec.{row}" for row in MATRIX]
    made = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    checked = subprocess.run(made, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "change-matrix.md" not in checked.stdout, checked.stdout
