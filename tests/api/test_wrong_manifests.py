"""Each thing that can be wrong with a manifest, and the sentence that says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.manifests import REMOVED, WEB_LOGS, changed, complaints, web_logs
from tidemill.api import load
from tidemill.errors import ManifestError

FILES = {
    "name": "access",
    "format": "csv",
    "options": {"path": "in"},
    "schema": "datum TIMESTAMP, host STRING",
}
KAFKA = {"kafka.bootstrap.servers": "b:9092", "subscribe": "a"}
TO_KAFKA = {"format": "kafka", "options": {"kafka.bootstrap.servers": "b:9092", "topic": "t"}}

WRONG: list[tuple[str, Any, str | list[str]]] = [
    # Unknown fields
    (
        "queries.0.outputMod",
        "append",
        "spec.queries[0].outputMod: unknown field; did you mean 'outputMode'?",
    ),
    (
        "queries.0.output_mode",
        "append",
        "spec.queries[0].output_mode: unknown field; did you mean 'outputMode'?",
    ),
    ("source", [], "spec.source: unknown field; did you mean 'sources'?"),
    ("replicas", 2, "spec.replicas: unknown field; it belongs to spec.executor.replicas"),
    (
        "sources.0.watermark.xyz",
        1,
        "spec.sources[0].watermark.xyz: unknown field; known: eventTime, delay",
    ),
    (
        "sources.0.decode.columnNameOfCorruptRecords",
        "bad",
        "spec.sources[0].decode.columnNameOfCorruptRecords: unknown field; did you mean 'columnNameOfCorruptRecord'?",
    ),
    # Required fields, and types of values
    ("queries.0.sql", REMOVED, "spec.queries[0].sql: required field is missing"),
    ("queries.0.sql", None, "spec.queries[0].sql: required field is missing"),
    ("queries.0.sql", "", "spec.queries[0].sql: it is empty"),
    ("queries.0.sql", 5, "spec.queries[0].sql: expected a text, found 5 (a number); put it in quotes"),
    ("queries.0.sink", "parquet", "spec.queries[0].sink: expected a mapping, found 'parquet'"),
    ("sources", {"name": "a"}, "spec.sources: expected a list, found a mapping"),
    ("suspend", "true", "spec.suspend: expected true or false, found 'true'"),
    ("executor.replicas", "2", "spec.executor.replicas: expected a whole number, found '2'"),
    ("executor.replicas", -1, "spec.executor.replicas: -1 (a number) is less than 0"),
    ("executor.replicas", 1001, "spec.executor.replicas: 1001 (a number) is more than 1000"),
    ("executor.podTemplate", [], "spec.executor.podTemplate: expected a mapping, not a list"),
    (
        "executor.podTemplate",
        {"nodeSelector": {"disk": "ssd"}},
        (
            "spec.executor.podTemplate: unknown field 'nodeSelector'; known: metadata, spec; what a pod has stands "
            "below spec"
        ),
    ),
    (
        "driver.podTemplate",
        {"metadata": {"name": "mine"}},
        "spec.driver.podTemplate: metadata: unknown field 'name'; known: labels, annotations",
    ),
    (
        "driver.podTemplate",
        {"spec": "host"},
        "spec.driver.podTemplate: spec: expected a mapping, not 'host'",
    ),
    (
        "executor.resources",
        {"limits": {"memory": "4 GB"}},
        "spec.executor.resources.limits.memory: '4 GB' is no quantity, like '500m', '2' or '4Gi'",
    ),
    (
        "deletionPolicy",
        "delete",
        "spec.deletionPolicy: 'delete' is not one of Retain, Delete; did you mean 'Delete'?",
    ),
    # Names
    (
        "queries.0.name",
        "hits per minute",
        (
            "spec.queries[0].name: 'hits per minute' is no name; write letters, digits and _, and no digit first, "
            "so that SQL needs no quotes"
        ),
    ),
    (
        "queries.0.name",
        "order",
        "spec.queries[0].name: 'order' is a word of SQL; a query could not name it; add a word, like 'order_rows'",
    ),
    ("queries.0.name", "a" * 64, f"spec.queries[0].name: '{'a' * 57}...' is longer than 63 characters"),
    (
        "queries.0.name",
        "Hosts",
        "spec.queries[0].name: 'Hosts' is also the name of tables[0]; SQL could not tell them apart",
    ),
    (
        "tables.0.name",
        "access",
        "spec.tables[0].name: 'access' is also the name of sources[0]; SQL could not tell them apart",
    ),
    (
        "functions",
        [{"name": n, "from": "jobs.geo:country", "returns": "STRING"} for n in ("country", "COUNTRY")],
        "spec.functions[1].name: 'COUNTRY' is also the name of functions[0]; SQL could not tell them apart",
    ),
    # Formats and options
    (
        "sources.0.format",
        "kafak",
        "spec.sources[0].format: 'kafak' is no format that can be read as a stream; did you mean 'kafka'?",
    ),
    (
        "queries.0.sink.format",
        "rate",
        (
            "spec.queries[0].sink.format: 'rate' is a format of a source, not one that can be written; "
            "known: text, csv, json, parquet, avro, kafka, console, memory, noop"
        ),
    ),
    (
        "sources.0.options",
        KAFKA | {"startingOffset": "latest"},
        (
            "spec.sources[0].options.startingOffset: kafka has no such option for a source; "
            "did you mean 'startingOffsets'?"
        ),
    ),
    (
        "sources.0.options",
        KAFKA | {"startingOffsets": "newest"},
        (
            "spec.sources[0].options.startingOffsets: 'newest' is not one of earliest, latest or a JSON map of "
            "offsets; did you mean 'latest'?"
        ),
    ),
    (
        "sources.0.options",
        KAFKA | {"startingOffsets": '{"a": 5}'},
        (
            "spec.sources[0].options.startingOffsets: topic 'a': expected a map of partitions and offsets, like "
            '{"a": {"0": 23, "1": -2}} (-2: earliest, -1: latest)'
        ),
    ),
    (
        "sources.0.options",
        {"subscribe": "a", "kafka.bootstrap.server": "b:9092"},
        (
            "spec.sources[0].options: kafka needs the option 'kafka.bootstrap.servers' (host:port of some brokers, "
            "separated by commas); it is not called 'kafka.bootstrap.server'"
        ),
    ),
    (
        "sources.0.options",
        {"kafka.bootstrap.servers": "b:9092"},
        "spec.sources[0].options: kafka needs one of the options 'subscribe', 'subscribePattern' and 'assign'",
    ),
    (
        "sources.0.options",
        KAFKA | {"assign": '{"a": [0]}'},
        (
            "spec.sources[0].options: kafka takes one of the options 'subscribe', 'subscribePattern' and 'assign', "
            "not subscribe and assign together"
        ),
    ),
    (
        "sources.0.options",
        KAFKA | {"maxOffsetsPerTrigger": "many"},
        "spec.sources[0].options.maxOffsetsPerTrigger: 'many' is no whole number from 0",
    ),
    (
        "sources.0.options",
        KAFKA | {"failOnDataLoss": 0},
        "spec.sources[0].options.failOnDataLoss: '0' is neither true nor false",
    ),
    (
        "sources.0.options",
        KAFKA | {"groupIdPrefix": None},
        'spec.sources[0].options.groupIdPrefix: has no value; write "" for an empty text',
    ),
    (
        "sources.0.options",
        KAFKA | {"groupIdPrefix": ["a"]},
        "spec.sources[0].options.groupIdPrefix: expected a text, found a list",
    ),
    (
        "queries.0.sink.options",
        {},
        "spec.queries[0].sink.options: parquet needs the option 'path' (the directory to write)",
    ),
    (
        "sources.0",
        FILES | {"options": {"path": "in", "maxFileAge": "7 dayz"}, "name": "access"},
        (
            "spec.sources[0].options.maxFileAge: '7 dayz' is no duration; write a number and a unit, like '60 seconds' "
            "or '1 hour'; did you mean 'day'?"
        ),
    ),
    (
        "sources.0",
        FILES | {"options": {"path": "in", "cleanSource": "remove"}},
        "spec.sources[0].options.cleanSource: 'remove' is not one of off, delete, archive",
    ),
    # Schemas and columns
    (
        "sources.0.decode.schema",
        "datum TIMESTAMP, host STRNG",
        (
            "spec.sources[0].decode.schema: schema 'datum TIMESTAMP, host STRNG': unknown type 'strng'; "
            "did you mean 'string'?; write it like 'a INT, b STRING'"
        ),
    ),
    (
        "tables.0.schema",
        "host STRING, Host STRING",
        "spec.tables[0].schema: schema names 'Host', 'host' twice",
    ),
    (
        "sources.0.decode.metadata",
        ["ofset"],
        (
            "spec.sources[0].decode.metadata[0]: 'ofset' is not one of key, topic, partition, offset, timestamp, "
            "timestampType, headers; did you mean 'offset'?"
        ),
    ),
    (
        "sources.0.decode.metadata",
        ["headers"],
        "spec.sources[0].decode.metadata: headers are read only with the option includeHeaders: true",
    ),
    (
        "sources.0.decode.format",
        "jsn",
        "spec.sources[0].decode.format: 'jsn' is not one of json, csv, avro, text; did you mean 'json'?",
    ),
    (
        "sources.0.decode.mode",
        "FAILFAST",
        "spec.sources[0].decode.mode: 'FAILFAST' is not one of permissive, failfast; did you mean 'failfast'?",
    ),
    (
        "sources.0.decode.columnNameOfCorruptRecord",
        "bad",
        (
            "spec.sources[0].decode.columnNameOfCorruptRecord: 'bad' is no column of the schema; "
            "add 'bad STRING' to it"
        ),
    ),
    (
        "sources.0.decode.columnNameOfCorruptRecord",
        "status",
        (
            "spec.sources[0].decode.columnNameOfCorruptRecord: column 'status' is INT in the schema; it takes a "
            "record's text: make it STRING"
        ),
    ),
    (
        "sources.0.watermark.eventTime",
        "datun",
        "spec.sources[0].watermark.eventTime: 'datun' is no column of this source; did you mean 'datum'?",
    ),
    (
        "sources.0.watermark.eventTime",
        "status",
        "spec.sources[0].watermark.eventTime: column 'status' is INT; event time is a TIMESTAMP",
    ),
    (
        "sources.0.dropDuplicates.columns",
        ["hst", "path"],
        "spec.sources[0].dropDuplicates.columns[0]: 'hst' is no column of this source; did you mean 'host'?",
    ),
    ("sources.0.dropDuplicates.columns", [], "spec.sources[0].dropDuplicates.columns: it is empty"),
    (
        "sources.0.watermark",
        REMOVED,
        (
            "spec.sources[0].dropDuplicates.withinWatermark: it needs a watermark on the source, whose delay says how "
            "long keys are kept"
        ),
    ),
    (
        "sources.0",
        {key: value for key, value in FILES.items() if key != "schema"},
        (
            "spec.sources[0].schema: a csv source needs a schema, like schema: 'a INT, b STRING'; files to come "
            "cannot be asked"
        ),
    ),
    (
        "sources.0",
        {"name": "access", "format": "kafka", "options": KAFKA, "schema": "a INT"},
        (
            "spec.sources[0].schema: a kafka source has columns of its own (key BINARY, value BINARY, topic STRING, "
            "partition INT, offset BIGINT, timestamp TIMESTAMP, timestampType INT); say the columns of its value in "
            "decode.schema"
        ),
    ),
    (
        "sources.0",
        {"name": "access", "format": "rate", "schema": "a INT"},
        (
            "spec.sources[0].schema: a rate source has columns of its own (timestamp TIMESTAMP, value BIGINT); "
            "leave schema out"
        ),
    ),
    (
        "sources.0",
        FILES | {"decode": {"format": "json", "schema": "a INT"}},
        "spec.sources[0].decode: give either schema (of files) or decode (of records), not both",
    ),
    (
        "sources.0",
        {"name": "access", "format": "rate", "decode": {"format": "json", "schema": "a INT"}},
        "spec.sources[0].decode: rate has columns already; decode is for kafka, socket and text",
    ),
    (
        "sources.0",
        {
            "name": "access",
            "format": "socket",
            "options": {"host": "h", "port": 1},
            "decode": {"format": "json", "schema": "a INT", "metadata": ["offset"]},
        },
        (
            "spec.sources[0].decode.metadata: a socket source has no records with key, topic, partition, offset, "
            "timestamp, timestampType, headers; only kafka has"
        ),
    ),
    (
        "sources.0",
        {"name": "access", "format": "rate", "deadLetter": {"format": "console"}},
        "spec.sources[0].deadLetter: a dead letter takes what cannot be decoded; this source decodes nothing",
    ),
    (
        "sources.0.deadLetter.format",
        "csv",
        (
            "spec.sources[0].deadLetter.format: 'csv' is a format of a source and a table and a sink, not one that can "
            "be a dead letter; known: json, parquet, kafka, console"
        ),
    ),
    (
        "sources.0.decode",
        {
            "format": "json",
            "schema": "Offset INT, datum TIMESTAMP, host STRING, path STRING",
            "metadata": ["offset"],
        },
        "spec.sources[0].decode.metadata[0]: 'offset' is a column of the schema too; leave one of them out",
    ),
    (
        "sources.0.decode",
        {"format": "text", "schema": "datum TIMESTAMP, host STRING, path STRING"},
        "spec.sources[0].decode.schema: text decodes into one STRING column, like 'line STRING'",
    ),
    # Durations and times
    (
        "sources.0.watermark.delay",
        "60 secnds",
        (
            "spec.sources[0].watermark.delay: '60 secnds' is no duration; write a number and a unit, like '60 seconds' "
            "or '1 hour'; did you mean 'seconds'?"
        ),
    ),
    (
        "sources.0.watermark.delay",
        "60",
        (
            "spec.sources[0].watermark.delay: '60' is no duration; write a number and a unit, "
            "like '60 seconds' or '1 hour'"
        ),
    ),
    (
        "sources.0.watermark.delay",
        "-1 minute",
        "spec.sources[0].watermark.delay: '-1 minute' is negative; a watermark can wait '0 seconds' or longer",
    ),
    (
        "queries.0.trigger.processingTime",
        "1 month",
        "spec.queries[0].trigger.processingTime: '1 month': a month has no fixed length; write it in days or hours",
    ),
    (
        "tables.0.refresh",
        "0 seconds",
        "spec.tables[0].refresh: '0 seconds': a refresh period must be longer than nothing; leave it out to read once",
    ),
    ("stopAt", "03:00 Paris", "spec.stopAt: 'Paris' is no time zone; did you mean 'Europe/Paris'?"),
    (
        "stopAt",
        "03:00 Europe/Pariss",
        "spec.stopAt: 'Europe/Pariss' is no time zone; did you mean 'Europe/Paris'?",
    ),
    (
        "stopAt",
        "03:00",
        "spec.stopAt: '03:00' has no time zone; write one after the time, like '03:00 Europe/Paris'",
    ),
    (
        "stopAt",
        "3 am UTC",
        "spec.stopAt: '3 am UTC' has no time of day; write HH:MM and a time zone, like '03:00 Europe/Paris'",
    ),
    ("stopAt", "03:00 CEST", "spec.stopAt: 'CEST' is no time zone; write one like 'Europe/Paris' or 'UTC'"),
    ("restarts", {}, "spec.restarts.schedule: required field is missing"),
    (
        "restarts",
        {"schedule": "0 3 * * *", "timezone": "UTC"},
        "spec.restarts.timezone: unknown field; did you mean 'timeZone'?",
    ),
    (
        "restarts",
        {"schedule": "0 25 * * *", "timeZone": "Paris"},
        [
            "spec.restarts.schedule: '0 25 * * *': hour (the 2nd field): 25 is not within 0 to 23",
            "spec.restarts.timeZone: 'Paris' is no time zone; did you mean 'Europe/Paris'?",
        ],
    ),
    # Triggers, modes and sinks
    (
        "queries.0.trigger",
        {},
        "spec.queries[0].trigger: give exactly one of processingTime, once and availableNow",
    ),
    (
        "queries.0.trigger",
        {"once": True, "availableNow": True},
        (
            "spec.queries[0].trigger: give exactly one of processingTime, once and availableNow, not once and "
            "availableNow together"
        ),
    ),
    (
        "queries.0.trigger",
        {"once": False},
        "spec.queries[0].trigger.once: the only value is true; leave it out otherwise (found false (a boolean))",
    ),
    (
        "queries.0.outputMode",
        "updat",
        "spec.queries[0].outputMode: 'updat' is not one of append, update, complete; did you mean 'update'?",
    ),
    (
        "queries.0.outputMode",
        "complete",
        (
            "spec.queries[0].outputMode: a parquet sink takes append only, not complete: files that readers have seen "
            "cannot change; append a windowed aggregation with a watermark, or write to kafka"
        ),
    ),
    (
        "queries.0.sink",
        TO_KAFKA | {"partitionBy": ["team"]},
        (
            "spec.queries[0].sink.partitionBy: kafka has no directories to divide; partitionBy is for text, csv, json, "
            "parquet, avro"
        ),
    ),
    (
        "queries.0.sink.encode",
        {"format": "json"},
        "spec.queries[0].sink.encode: parquet writes columns; encode is for kafka",
    ),
    (
        "queries.0.sink",
        {"format": "kafka", "options": {"kafka.bootstrap.servers": "b:9092"}, "encode": {}},
        (
            "spec.queries[0].sink.options: encode makes one record of all columns, so the option 'topic' "
            "has to say where it goes"
        ),
    ),
    ("queries.0.sink.key", ["team"], "spec.queries[0].sink.key: parquet has no keys; key is for kafka"),
    (
        "queries.0.sink",
        TO_KAFKA | {"key": ["team"]},
        (
            "spec.queries[0].sink.key: without encode the query's own column `key` is the record's key; add encode, or "
            "leave key out"
        ),
    ),
    (
        "queries.0.sink",
        TO_KAFKA | {"key": ["w", "team"], "encode": {"format": "json"}},
        "spec.queries[0].sink.encode.keyFormat: text holds one column, and key has 2; write keyFormat: json or avro",
    ),
    # Functions, programs, checkpoints
    (
        "functions",
        [{"name": "country", "from": "jobs.geo.country", "returns": "STRNG"}],
        [
            (
                "spec.functions[0].from: 'jobs.geo.country' names no function; write 'module:name', as in "
                "'jobs.geo:country_of'"
            ),
            (
                "spec.functions[0].returns: type 'STRNG': unknown type 'strng'; did you mean 'string'?; write it like "
                "'INT' or 'ARRAY<STRING>'"
            ),
        ],
    ),
    ("queries", [], "spec.queries: it is empty; give at least one query, or a program"),
    (
        "queries",
        REMOVED,
        "spec: it computes nothing; give queries (with a name, sql and a sink) or a program",
    ),
    (
        "checkpoint.location",
        "reddis://redis:6379",
        "spec.checkpoint.location: a checkpoint cannot be kept at reddis://; did you mean 'redis'?",
    ),
    (
        "checkpoint.id",
        "../other",
        (
            "spec.checkpoint.id: '../other' is no checkpoint id; write letters, digits, '-', '_', '.' and '/', "
            "beginning and ending with a letter or digit"
        ),
    ),
    (
        "checkpoint.onExisting",
        "Continue",
        "spec.checkpoint.onExisting: 'Continue' is not one of Resume, Fail",
    ),
    # References to secrets
    (
        "conf",
        {"a": "${not-a-name}"},
        (
            "spec.conf.a: '${not-a-name}' is no reference; write ${NAME} with letters, digits and _, or $${ for the "
            "characters ${"
        ),
    ),
    (
        "conf",
        {"a": {"secretRef": {"name": "kafka"}}},
        "spec.conf.a: expected a text, or 'secretRef: {name: ..., key: ...}' with these two keys and no other",
    ),
    (
        "conf",
        {"a": {"secretRef": {"name": "../kafka", "key": "password"}}},
        "spec.conf.a: secretRef.name: '../kafka' is no name of a Secret",
    ),
    (
        "conf",
        {"a": {"secretRef": {"name": "kafka", "key": ".."}}},
        "spec.conf.a: secretRef.key: '..' is no key of a Secret",
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), WRONG, ids=[f"{w[0]}-{i}" for i, w in enumerate(WRONG)]
)
def test_a_mistake_is_named_with_its_path_and_the_remedy(
    path: str, value: Any, expected: str | list[str]
) -> None:
    assert complaints(changed(path, value)) == ([expected] if isinstance(expected, str) else expected)


def test_the_manifest_that_is_made_wrong_is_right() -> None:
    assert complaints(WEB_LOGS) == []


WRONG_FRAMES: list[tuple[str, Any, str]] = [
    (
        "apiVersion",
        "tidemill.dev/v1",
        "apiVersion: expected tidemill.dev/v1alpha1, found 'tidemill.dev/v1'",
    ),
    ("kind", "StreamingJobs", "kind: expected StreamingJob, found 'StreamingJobs'"),
    ("specs", {}, "specs: unknown field; did you mean 'spec'?"),
    (
        "metadata",
        {"name": "Web_Logs"},
        (
            "metadata.name: 'Web_Logs' is no name in Kubernetes; write lower-case letters, digits and -, beginning "
            "with a letter"
        ),
    ),
    ("metadata", {"name": "a" * 41}, f"metadata.name: '{'a' * 41}' is longer than 40 characters"),
    ("metadata", {}, "metadata.name: required field is missing"),
    (
        "metadata",
        {"name": "a", "namespace": "Logs"},
        "metadata.namespace: 'Logs' is no namespace; write lower-case letters, digits and -",
    ),
]


@pytest.mark.parametrize(("field", "value", "expected"), WRONG_FRAMES)
def test_the_frame_is_checked_too(field: str, value: Any, expected: str) -> None:
    assert complaints({**web_logs(), field: value}) == [expected]


def test_a_program_stands_alone_and_comes_from_one_place() -> None:
    document = web_logs()
    document["spec"]["program"] = {"file": "job.py", "inline": "print()"}
    assert complaints(document) == [
        "spec.sources: a program has sources and queries of its own; leave either the program or this out",
        "spec.tables: a program has sources and queries of its own; leave either the program or this out",
        "spec.queries: a program has sources and queries of its own; leave either the program or this out",
        "spec.program: give exactly one of file, inline and configMap, not file and inline together",
    ]


def test_all_mistakes_of_a_file_come_at_once_with_their_lines() -> None:
    text = (
        WEB_LOGS.replace("format: kafka\n", "format: kafak\n")
        .replace("eventTime: datum", "eventTime: datun")
        .replace("outputMode: append", "outputMod: append")
        .replace("suspend: false", "suspend: maybe")
    )
    with pytest.raises(ManifestError) as caught:
        load(text)
    assert caught.value.problems == (
        "line 7: spec.sources[0].format: 'kafak' is no format that can be read as a stream; did you mean 'kafka'?",
        "line 13: spec.sources[0].watermark.eventTime: 'datun' is no column of this source; did you mean 'datum'?",
        "line 28: spec.queries[0].outputMod: unknown field; did you mean 'outputMode'?",
        "line 37: spec.suspend: expected true or false, found 'maybe'",
    )


def test_a_mistake_that_another_one_causes_is_not_named() -> None:
    """A schema that does not parse has no columns; the watermark's column is then not complained of."""
    problems = complaints(changed("sources.0.decode.schema", "datum TIMESTAMPP"))
    assert [problem.split(":")[0] for problem in problems] == ["spec.sources[0].decode.schema"]
