"""Wrong manifests: what the API server refuses, in which words, and what only a laptop and the operator see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings

from e2e.api.server import Json, Refused, Server
from tests.api.manifests import changed, web_logs
from tests.api.test_cron import WRONG_SCHEDULES, schedules
from tests.api.test_wrong_manifests import WRONG, WRONG_FRAMES
from tidemill.api import parse

# What the API server takes, by the beginning of the laptop's message. The operator reads with the laptop's models and
# refuses it: the job is there, in the phase Refused, with that message.
LAPTOP_ONLY: dict[str, list[str]] = {
    "it cannot look into options, whose values are of several types": [
        "spec.sources[0].options.startingOffset: kafka has no such option",
        "spec.sources[0].options.startingOffsets: 'newest' is not one of",
        "spec.sources[0].options.startingOffsets: topic 'a': expected a map",
        "spec.sources[0].options: kafka needs the option 'kafka.bootstrap.servers'",
        "spec.sources[0].options: kafka needs one of the options",
        "spec.sources[0].options: kafka takes one of the options",
        "spec.sources[0].options.maxOffsetsPerTrigger: 'many' is no whole number",
        "spec.sources[0].options.failOnDataLoss: '0' is neither true nor false",
        "spec.sources[0].options.maxFileAge: '7 dayz' is no duration",
        "spec.sources[0].options.cleanSource: 'remove' is not one of",
        "spec.sources[0].decode.metadata: headers are read only with the option",
        "spec.queries[0].sink.options: parquet needs the option 'path'",
        "spec.queries[0].sink.options: encode makes one record of all columns",
        "spec.conf.a: '${not-a-name}' is no reference",
        "spec.conf.a: secretRef.key: '..' is no key",
    ],
    "it drops what has no value": ["spec.sources[0].options.groupIdPrefix: has no value"],
    "it reads no schemas, and so knows no columns": [
        "spec.sources[0].decode.schema: schema 'datum TIMESTAMP, host STRNG': unknown type",
        "spec.tables[0].schema: schema names 'Host', 'host' twice",
        "spec.sources[0].decode.columnNameOfCorruptRecord: 'bad' is no column",
        "spec.sources[0].decode.columnNameOfCorruptRecord: column 'status' is INT",
        "spec.sources[0].watermark.eventTime: 'datun' is no column",
        "spec.sources[0].watermark.eventTime: column 'status' is INT",
        "spec.sources[0].dropDuplicates.columns[0]: 'hst' is no column",
        "spec.sources[0].decode.metadata[0]: 'offset' is a column of the schema too",
        "spec.sources[0].decode.schema: text decodes into one STRING column",
    ],
    "it does not count with the values of a schedule": [
        "spec.restarts.schedule: '0 3 * * fri-mon': weekday",
        "spec.restarts.schedule: '*/0 3 * * *': minute",
        "spec.restarts.schedule: '*/9999999 3 * * *': minute",
        "spec.restarts.schedule: '0 3 30 2 *' never comes",
        "spec.restarts.schedule: '0 3 31 apr,jun *' never comes",
        "spec.restarts.schedule: '* 3 * * *' comes at",
        "spec.restarts.schedule: '0,59 3,4 * * *' comes at",
    ],
}

Case = tuple[Json, str]
"""A wrong manifest and what the laptop says of it, first."""


def cases() -> Iterator[Case]:
    for path, value, message in WRONG:
        yield changed(path, value), message if isinstance(message, str) else message[0]
    for field, value, message in WRONG_FRAMES:
        # The others choose the request's address.
        if field == "specs" or (field == "metadata" and "namespace" not in value):
            yield web_logs() | {field: value}, message
    for schedule, message in WRONG_SCHEDULES:
        yield changed("restarts", {"schedule": schedule}), f"spec.restarts.schedule: {message}"


CASES = list(cases())
TAKEN = [beginning for beginnings in LAPTOP_ONLY.values() for beginning in beginnings]


def is_taken(message: str) -> bool:
    return message.startswith(tuple(TAKEN))


def answer(server: Server, manifest: Json) -> str:
    """The API server's complaint, or nothing."""
    try:
        server.create(manifest, dry_run=True)
    except Refused as refused:
        if refused.status in (400, 422):
            return refused.message
        raise
    return ""


@pytest.mark.parametrize(("manifest", "message"), CASES, ids=[message for _, message in CASES])
def test_a_wrong_manifest_is_refused_where_the_mistake_is(
    server: Server, manifest: Json, message: str
) -> None:
    told = answer(server, manifest)
    assert bool(told) != is_taken(message), told or "taken, and not in the list of what only the laptop sees"
    if told:
        mistake = steps(message.split(": ")[0])
        assert any(are_near(mistake, steps(place)) for place in re.findall(PLACE, told)), told


PLACE = r"(?:spec|metadata)[\w.\[\]]*"


def steps(place: str) -> list[str]:
    return re.findall(r"\w+", place)


def are_near(mistake: list[str], told: list[str]) -> bool:
    """Whether one is within the other, or both are fields of one part: a rule of two fields names one of them."""
    shorter = min(len(mistake), len(told))
    if shorter == 1:
        return len(mistake) == 1  # what is wrong with the whole may be told of any part
    return mistake[:shorter] == told[:shorter] or (
        len(mistake) == len(told) > 2 and mistake[:-1] == told[:-1]
    )


@pytest.mark.parametrize(
    "message", [m for _, m in CASES if not is_taken(m)], ids=[m for _, m in CASES if not is_taken(m)]
)
def test_a_refusal_says_more_than_an_expression(server: Server, message: str) -> None:
    told = answer(server, next(manifest for manifest, m in CASES if m == message))
    assert "failed rule" not in told
    assert not re.search(r"should match '", told) or "secretRef" in told
    assert "rule evaluation error" not in told and "no such key" not in told


def test_most_wrong_manifests_are_refused_and_the_rest_is_known() -> None:
    """The list above has no entry that nothing is like."""
    unused = [beginning for beginning in TAKEN if not any(m.startswith(beginning) for _, m in CASES)]
    assert unused == []
    refused = sum(not is_taken(message) for _, message in CASES)
    print(f"the API server refuses {refused} of {len(CASES)} wrong manifests ({refused / len(CASES):.0%})")
    assert refused / len(CASES) > 0.7


def test_what_only_the_laptop_sees_the_operator_sees_too(server: Server) -> None:
    """The manifest as the API server keeps it is refused by the models, but for values that are not there any more."""
    for manifest, message in CASES:
        if is_taken(message) and not message.endswith("for an empty text"):
            stored = server.create(manifest, dry_run=True)
            _, problems = parse(stored)
            assert message in [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "queries.0.name",
            "hits per minute",
            "spec.queries[0].name: Invalid value: \"string\": 'hits per minute' is no name; write letters, digits and _",
        ),
        ("queries.0.name", "order", "'order' is a word of SQL; a query could not name it"),
        (
            "sources.0",
            {"name": "access", "format": "csv", "options": {"path": "in"}},
            "spec.sources[0].schema: Required value: a file source needs a schema, like 'a INT, b STRING'",
        ),
        (
            "queries.0.outputMode",
            "complete",
            "spec.queries[0].outputMode: Forbidden: a file sink takes append only",
        ),
        (
            "restarts",
            {"schedule": "0 25 * * *"},
            "'25' is no hour (the 2nd field); it takes 0 to 23, and * - / , between them",
        ),
        ("restarts", {"schedule": "0 3 * *"}, "'0 3 * *' is no schedule; write five fields"),
        (
            "restarts",
            {"schedule": "0 3 * * *", "timeZone": "Europe/Pariss"},
            "unknown time zone Europe/Pariss evaluating rule: write one that exists",
        ),
        ("stopAt", "03:00 Paris", "unknown time zone Paris evaluating rule: write one that exists"),
        ("conf", {"a": ["b"]}, "spec.conf.a: Too many: 1: must have at most 0 items"),
        ("conf", {"a": {"secretRef": {"name": "kafka"}}}, "spec.conf.a.secretRef.key: Required value"),
        (
            "executor.resources",
            {"limits": {"memory": "4 GB"}},
            "'4 GB' is no quantity, like '500m', '2' or '4Gi'",
        ),
        (
            "executor.podTemplate",
            {"nodeSelector": {}},
            'unknown field "spec.executor.podTemplate.nodeSelector"',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_refusal_reads_well(server: Server, path: str, value: Any, words: str) -> None:
    assert words in answer(server, changed(path, value))


# --- What the laptop takes, the cluster takes -------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(schedule=schedules)
def test_a_schedule_that_the_laptop_takes(server: Server, schedule: str) -> None:
    manifest = changed("restarts", {"schedule": schedule})
    assume(not parse(manifest)[1])
    assert answer(server, manifest) == ""


@pytest.mark.parametrize("schedule", ["30 8-18/4 * * MON-fri", "0 20/2 1,15 jan *", "00 03 07 * 7"])
@pytest.mark.parametrize("zone", ["UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"])
def test_names_of_months_weekdays_and_places(server: Server, schedule: str, zone: str) -> None:
    manifest = changed("restarts", {"schedule": schedule, "timeZone": zone})
    assert parse(manifest)[1] == []
    assert answer(server, manifest) == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sources.0.watermark.delay", "INTERVAL 1 Minute 30 SECONDS"),
        ("sources.0.watermark.delay", "0 seconds"),
        ("sources.0.watermark.delay", "-0 seconds"),
        ("sources.0.watermark.delay", "1 month"),
        ("queries.0.trigger.processingTime", "1.5 hours"),
        ("tables.0.refresh", "0.5 seconds"),
        ("checkpoint.location", "relative/directory"),
        ("checkpoint.location", "file:///state"),
        ("checkpoint.location", "rediss+sentinel://a:1,b:2/0"),
        ("checkpoint.location", "${SCHEME}://redis/0"),
        ("checkpoint.id", "team/logs/web-logs.2"),
        ("executor.resources", {"limits": {"cpu": 2, "memory": "4Gi"}}),
        ("executor.podTemplate", {"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": False}}),
        ("stopAt", "23:59 Etc/GMT+5"),
    ],
)
def test_texts_that_the_laptop_takes(server: Server, path: str, value: Any) -> None:
    manifest = changed(path, value)
    assert parse(manifest)[1] == []
    assert answer(server, manifest) == ""
