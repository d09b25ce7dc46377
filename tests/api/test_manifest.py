"""Manifests that are right, and what they mean."""

from __future__ import annotations

import copy
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.manifests import WEB_LOGS, changed, complaints, web_logs
from tidemill.api import Query, Sink, Source, StreamingJob, Trigger, inspect, load, parse, parse_duration
from tidemill.errors import ManifestError

SMALLEST = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: ticks}
spec:
  sources: [{name: ticks, format: rate}]
  queries: [{name: all_ticks, sql: SELECT * FROM ticks, sink: {format: console}}]
"""


def test_the_web_log_job_is_read_whole() -> None:
    job = load(WEB_LOGS)
    (source,), (table,), (query,) = job.spec.sources, job.spec.tables, job.spec.queries
    assert source.decode is not None
    assert source.decode.metadata == ["partition", "offset", "timestamp", "key"]
    assert source.columns() == [
        "datum",
        "host",
        "path",
        "status",
        "bytes",
        "partition",
        "offset",
        "timestamp",
        "key",
    ]
    assert (source.watermark.event_time, source.watermark.delay) == ("datum", "60 seconds")
    assert source.drop_duplicates.within_watermark
    assert source.dead_letter.options["topic"] == "web-access-bad"
    assert (table.schema_ddl, table.refresh) == ("host STRING, team STRING", "1 hour")
    assert query.trigger == Trigger(processing_time="10 seconds")
    assert (query.output_mode, query.sink.format, query.sink.partition_by) == ("append", "parquet", [])
    assert job.checkpoint_id == "web-logs"
    assert job.spec.conf == {"spark.sql.session.timeZone": "UTC"}


def test_a_small_manifest_has_defaults_for_the_rest() -> None:
    job = load(SMALLEST)
    (query,) = job.spec.queries
    assert (query.output_mode, query.trigger) == ("append", Trigger(processing_time="0 seconds"))
    assert job.spec.executor.replicas == 1
    assert job.spec.checkpoint.location is None
    assert job.checkpoint_id == "default/ticks"
    assert job.stop_at is None


def test_option_values_are_texts_inside() -> None:
    options = {"a": True, "b": False, "c": 10, "d": 0.5, "e": 1e3, "f": "true", "g": ""}
    job, problems = parse(changed("conf", options))
    assert problems == []
    assert job is not None
    assert job.spec.conf == {
        "a": "true",
        "b": "false",
        "c": "10",
        "d": "0.5",
        "e": "1000",
        "f": "true",
        "g": "",
    }


def test_option_names_have_no_case() -> None:
    assert complaints(changed("tables.0.options", {"PATH": "hosts.csv", "Header": "TRUE"})) == []


def test_options_of_the_kafka_client_pass_through() -> None:
    options = {"kafka.bootstrap.servers": "b:9092", "subscribe": "a", "kafka.security.protocol": "SASL_SSL"}
    assert complaints(changed("sources.0.options", options)) == []


def test_an_empty_field_is_a_field_left_out() -> None:
    """As on a cluster, where the API server drops nulls."""
    text = WEB_LOGS.replace("  functions: []", "  functions:\n  program:")
    assert complaints(text) == []


def test_a_job_as_the_api_server_returns_it_is_read() -> None:
    document = web_logs()
    document["metadata"] |= {
        "namespace": "logs",
        "uid": "5f0c",
        "generation": 3,
        "resourceVersion": "1234",
        "creationTimestamp": "2013-07-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    document["spec"]["checkpoint"] = {}
    document["status"] = {"phase": "Running", "something": {"new": True}}
    job, problems = parse(document)
    assert problems == []
    assert job is not None
    assert job.checkpoint_id == "logs/web-logs"


def test_a_namespace_may_begin_with_a_digit() -> None:
    document = web_logs()
    document["metadata"]["namespace"] = "1st-team"
    assert complaints(document) == []


def test_a_pod_template_is_kept_as_it_is() -> None:
    template = {"metadata": {"labels": {"team": "logs"}}, "spec": {"nodeSelector": {"disk": "ssd"}}}
    job, problems = parse(changed("executor.podTemplate", template))
    assert problems == []
    assert job is not None
    assert job.spec.executor.pod_template == template


def test_a_program_takes_the_place_of_queries() -> None:
    job = load(
        "apiVersion: tidemill.dev/v1alpha1\nkind: StreamingJob\nmetadata: {name: job}\n"
        "spec:\n  program: {file: job.py, args: ['--day', '${DAY}']}\n"
    )
    assert job.spec.program is not None
    assert job.spec.program.args == ["--day", "${DAY}"]


def test_python_code_builds_parts_by_their_python_names() -> None:
    query = Query(
        name="q", sql="SELECT 1", output_mode="update", sink=Sink(format="console", partition_by=[])
    )
    assert query.model_dump(by_alias=True)["outputMode"] == "update"
    assert Source(name="s", format="kafka", options={"includeHeaders": "true"}).columns()[-1] == "headers"


def test_what_is_dumped_is_read_again() -> None:
    job = load(WEB_LOGS)
    again, problems = parse(job.model_dump(by_alias=True, exclude_none=True))
    assert problems == []
    assert again == job


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(SMALLEST)
    assert load(file).name == load(str(file)).name == "ticks"
    file.write_text(SMALLEST.replace("rate", "rat"))
    with pytest.raises(ManifestError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}: line 5: spec.sources[0].format: 'rat' is no format that can be read as a stream; did you mean 'rate'?"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(SMALLEST)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(ManifestError, match=r"there is no such file; did you mean 'job\.yaml'\?"):
        load(tmp_path / "jobs.yaml")
    with pytest.raises(ManifestError, match="it is a directory; name the file"):
        load(tmp_path)
    with pytest.raises(ManifestError, match="it is no UTF-8 text; save it as UTF-8"):
        load(tmp_path / "latin.yaml")


# --- Times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60 seconds", 60),
        ("1 Minute 30 SECONDS", 90),
        ("INTERVAL 10 MINUTES", 600),
        ("1.5 seconds", 1.5),
        ("250 milliseconds", 0.25),
        ("2 weeks", 1209600),
        ("1 month", 31 * 86400),
        ("-5 seconds", -5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("stop_at", "now", "expected"),
    [
        ("03:00 Europe/Paris", "2013-07-01T00:30", "2013-07-01T01:00"),  # summer: 03:00 is 01:00 UTC
        ("03:00 Europe/Paris", "2013-07-01T01:00", "2013-07-02T01:00"),  # the hour itself has come: tomorrow
        ("03:00 Europe/Paris", "2013-12-01T12:00", "2013-12-02T02:00"),  # winter: 03:00 is 02:00 UTC
        ("02:30 Europe/Paris", "2013-03-31T00:00", "2013-03-31T01:30"),  # a time that summer time skips
        ("23:00 America/New_York", "2013-07-01T02:59", "2013-07-01T03:00"),  # still yesterday there
    ],
)
def test_the_next_time_to_stop(stop_at: str, now: str, expected: str) -> None:
    job, _ = parse(changed("stopAt", stop_at))
    assert job is not None
    assert job.stop_at is not None
    moment = job.stop_at.after(datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert moment.astimezone(UTC) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


# --- Whatever is written --------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "format", "options", "columns", "schema", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, below in items for found in [(*path, key), *places(below, (*path, key))]]


@given(st.sampled_from(places(web_logs())), anything)
def test_any_value_in_any_place_is_taken_or_refused_in_words(path: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(web_logs())
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    job, problems = parse(document)
    assert (job is None) == bool(problems)
    assert all(problem.message and "\n" not in problem.message.strip() for problem in problems)


@given(st.text())
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    job, problems, _ = inspect(text)
    assert isinstance(job, StreamingJob) or problems


def test_the_models_load_no_engine() -> None:
    """The operator imports them, and so does `tidemill validate` before anything else."""
    heavy = ("duckdb", "pyarrow", "numpy", "pandas", "sqlglot", "confluent_kafka")
    code = f"import sys, tidemill.api; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
