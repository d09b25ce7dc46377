"""``tidemill validate``, second part: what only the queries' analysis can tell, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.cli.validate import check


def job(**spec: Any) -> dict[str, Any]:
    """A job that counts made-up ticks, with parts of its spec changed."""
    ticks = {
        "name": "ticks",
        "format": "rate",
        "watermark": {"eventTime": "timestamp", "delay": "10 seconds"},
    }
    sql = "SELECT window(timestamp, '5 seconds') AS w, count(*) AS n FROM ticks GROUP BY 1"
    counts = {"name": "counts", "sql": sql, "sink": {"format": "console"}}
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "StreamingJob",
        "metadata": {"name": "ticks"},
        "spec": {"sources": [ticks], "queries": [counts]} | spec,
    }


def query(sql: str, name: str = "found", **more: Any) -> dict[str, Any]:
    return {"name": name, "sql": sql, "sink": {"format": "console"}} | more


def complaints(document: dict[str, Any], directory: Path) -> list[str]:
    file = directory / "job.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return [str(problem).split(": ", 1)[1] for problem in check(str(file))[2]]


def test_a_right_job_is_right(tmp_path: Path) -> None:
    earlier = query("SELECT n + 1 AS more FROM counts", "more")
    assert complaints(job(), tmp_path) == []
    assert complaints(job(queries=[*job()["spec"]["queries"], earlier]), tmp_path) == []


@pytest.mark.parametrize("format", ["console", "memory", "noop"])
def test_sinks_for_trying_out_need_no_options(format: str, tmp_path: Path) -> None:
    assert complaints(job(queries=[query("SELECT * FROM ticks", sink={"format": format})]), tmp_path) == []


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "SELECT valu FROM ticks",
            "spec.queries[0].sql: a column, variable, or function parameter with name `valu` cannot be resolved.",
        ),
        (
            "SELECT * FROM tick",
            "spec.queries[0].sql: there is no source, table or earlier query `tick`; did you mean 'ticks'?",
        ),
        (
            "SELECT * FROM found",
            "spec.queries[0].sql: there is no source, table or earlier query `found`; queries read earlier ones only",
        ),
        ("SELECT FROM", "spec.queries[0].sql: "),
        (
            "SELECT value, count(*) AS n FROM ticks GROUP BY value",
            "spec.queries[0].sql: Invalid streaming output mode: append.",
        ),
        ("SELECT 1 AS one", "spec.queries[0].sql: it reads no source, only tables"),
        ("SELECT nosuch(value) AS n FROM ticks", "spec.queries[0].sql: "),
    ],
)
def test_wrong_sql_is_told_with_its_query(sql: str, expected: str, tmp_path: Path) -> None:
    (problem,) = complaints(job(queries=[query(sql)]), tmp_path)
    assert problem.startswith(expected)
    assert "\n" not in problem


def test_each_wrong_query_is_told_and_what_follows_from_it_is_not(tmp_path: Path) -> None:
    queries = [
        query("SELECT valu FROM ticks", "first"),
        query("SELECT * FROM first", "second"),
        query("SELECT tme FROM ticks", "third"),
    ]
    told = complaints(job(queries=queries), tmp_path)
    assert [problem.split(":")[0] for problem in told] == ["spec.queries[0].sql", "spec.queries[2].sql"]


def test_a_sink_is_held_against_the_columns_of_its_query(tmp_path: Path) -> None:
    kafka = {"format": "kafka", "options": {"kafka.bootstrap.servers": "none:1", "topic": "t"}}
    files = {"format": "json", "options": {"path": "out"}, "partitionBy": ["val"]}
    encode = kafka | {"encode": {"format": "json"}, "key": ["val"]}
    select = "SELECT timestamp, value AS number FROM ticks"
    told = {
        name: complaints(job(queries=[query(select, sink=sink)]), tmp_path)[0]
        for name, sink in (("kafka", kafka), ("files", files), ("encode", encode))
    }
    assert told["kafka"].startswith("spec.queries[0].sink: Required attribute 'value' not found")
    assert told["files"].startswith("spec.queries[0].sink: Partition column val not found")
    assert told["encode"].startswith("spec.queries[0].sink: key column 'val' is not one of the query's")
    assert not (tmp_path / "out").exists()


def test_files_may_be_elsewhere_if_the_schema_says_what_they_hold(tmp_path: Path) -> None:
    people = {"name": "people", "format": "csv", "options": {"path": "people.csv"}}
    join = query("SELECT number, name FROM ticks JOIN people ON value = number")
    with_schema = people | {"schema": "number BIGINT, name STRING"}
    assert complaints(job(tables=[with_schema], queries=[join]), tmp_path) == []
    elsewhere = {"options": {"path": "${DATA}/people.csv"}}
    assert complaints(job(tables=[with_schema | elsewhere], queries=[join]), tmp_path) == []
    (problem,) = complaints(job(tables=[people], queries=[join]), tmp_path)
    assert problem.startswith("spec.tables[0]: ") and f"{tmp_path}/people.csv" in problem
    (tmp_path / "people.csv").write_text("1,Ada\n")
    (problem,) = complaints(job(tables=[people], queries=[join]), tmp_path)
    assert "`number` cannot be resolved" in problem


def test_a_function_is_looked_for_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "geo_functions.py").write_text("def double(x):\n    return 2 * x\n")
    function = {"name": "twice", "from": "geo_functions:double", "returns": "BIGINT"}
    queries = [query("SELECT twice(value) AS two FROM ticks")]
    assert complaints(job(functions=[function], queries=queries), tmp_path) == []
    missing = function | {"from": "geo_functions:triple"}
    (problem,) = complaints(job(functions=[missing], queries=queries), tmp_path)
    assert problem.startswith("spec.functions[0].from: ")
    assert "has no 'triple'" in problem
    (problem,) = complaints(job(functions=[function | {"from": "no_such_module:f"}]), tmp_path)
    assert "module 'no_such_module' cannot be imported" in problem


def test_a_program_has_to_be_there_and_to_be_python(tmp_path: Path) -> None:
    document = job(program={"file": "job.py"})
    del document["spec"]["sources"], document["spec"]["queries"]
    assert complaints(document, tmp_path) == [
        "spec.program.file: 'job.py' cannot be read beside the manifest: No such file or directory"
    ]
    (tmp_path / "job.py").write_text("import os\nraise SystemExit(\n")
    assert complaints(document, tmp_path) == [
        "spec.program.file: it is no Python, line 2: '(' was never closed"
    ]
    (tmp_path / "job.py").write_text("raise SystemExit('only compiled, never run')\n")
    assert complaints(document, tmp_path) == []
