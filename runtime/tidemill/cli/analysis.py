"""What only analysis can find wrong with a manifest: its SQL, its functions and programs. Nothing is started."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tidemill.api import Problem, Program, Query, Source, StreamingJob, Table
from tidemill.api.problems import Path as Place
from tidemill.cli.job import Job, local_options, sink_of
from tidemill.errors import AnalysisException, PySparkException, TidemillError, did_you_mean
from tidemill.launch import Context, QuerySpec, make_sink
from tidemill.plan.check import check_streaming
from tidemill.plan.incremental import split
from tidemill.secrets import SecretResolver
from tidemill.sources.listing import roots
from tidemill.sql import DataFrame
from tidemill.sql.readwriter import wiring

T = TypeVar("T")
Part = TypeVar("Part", Source, Table)


def analyse(manifest: StreamingJob, directory: Path) -> list[Problem]:
    """Every problem of a job whose manifest is right in itself. ``directory`` is the manifest's."""
    if manifest.spec.program is not None:
        return program_problems(manifest.spec.program, directory)
    return _Analysis(manifest, directory).run()


class _WithoutSecrets(SecretResolver):
    """Leaves references as they are: the analysis of a job needs none of its secrets."""

    def __init__(self) -> None:
        super().__init__({})

    def resolve(self, text: str) -> str:
        return text


class _Analysis:
    def __init__(self, manifest: StreamingJob, directory: Path) -> None:
        nothing: dict[str, object] = {"sources": [], "tables": [], "functions": [], "conf": {}}
        spec = manifest.spec.model_copy(update=nothing)
        self.manifest = manifest
        self.job = Job.create(manifest.model_copy(update={"spec": spec}), directory, _WithoutSecrets())
        self.problems: list[Problem] = []

    def run(self) -> list[Problem]:
        spec, job = self.manifest.spec, self.job
        for key, value in spec.conf.items():
            if "${" not in value:
                self.attempt(("spec", "conf", key), job.configure, key, value)
        for i, function in enumerate(spec.functions):
            self.attempt(("spec", "functions", i, "from"), job.register, function)
        with TemporaryDirectory(prefix="tidemill-validate-") as empty:
            for i, source in enumerate(spec.sources):
                here = self.reachable(source, empty)
                plan = self.attempt(("spec", "sources", i), job.source, here)
                if plan is not None:
                    job.view(source.name, plan)
            for i, table in enumerate(spec.tables):
                static = self.reachable(table, empty)
                plan = self.attempt(("spec", "tables", i), job.table, static)
                if plan is not None:
                    job.view(table.name, plan)
            # A query over something that could not be made would only be told that it is not there.
            if not self.problems:
                self.queries()
        return self.problems

    def reachable(self, part: Part, empty: str) -> Part:
        """``part``, reading an empty directory where its files are elsewhere and its schema says what they hold.

        A manifest for a cluster is checked on machines that have none of its data.
        """
        path = next((value for key, value in part.options.items() if key.lower() == "path"), None)
        if path is None or part.schema_ddl is None:
            return part
        if "${" not in path and roots(local_options({"path": path}, self.job.directory)["path"]):
            return part
        options = {key: value for key, value in part.options.items() if key.lower() != "path"}
        return part.model_copy(update={"options": {**options, "path": empty}})

    def queries(self) -> None:
        wrong: set[str] = set()
        for i, query in enumerate(self.manifest.spec.queries):
            here: Place = ("spec", "queries", i)
            before = len(self.problems)
            frame = self.attempt((*here, "sql"), self.job.spark.sql, query.sql)
            if frame is not None:
                frame.createOrReplaceTempView(query.name)
                self.attempt((*here, "sql"), self.streams, query, frame)
                self.attempt((*here, "sink"), self.sink, query, frame)
            else:
                if any(f"`{name}`" in self.problems[-1].message for name in wrong):
                    self.problems.pop()  # it reads an earlier query that is wrong itself
                wrong.add(query.name)
            del self.problems[before + 1 :]  # one cause often has several complaints

    def streams(self, query: Query, frame: DataFrame) -> None:
        """Whether the plan can run as a stream in the query's output mode."""
        if not frame.isStreaming:
            raise AnalysisException("it reads no source, only tables; read at least one of the job's sources")
        spark = self.job.spark
        check_streaming(frame._plan, query.output_mode, spark._settings())
        split(frame._plan, query.output_mode, spark._settings())

    def sink(self, query: Query, frame: DataFrame) -> None:
        """Whether the sink can take the query's columns."""
        if any("${" in value for value in query.sink.options.values()):
            return  # values that are known when they are looked up
        spec = sink_of(query, self.job.directory)
        wired = replace(spec, wiring=wiring(self.job.spark, frame.schema))
        settings = QuerySpec(wired, query.name, query.output_mode)
        make_sink(frame._plan, settings, Context())

    def attempt(self, place: Place, step: Callable[..., T], *arguments: object) -> T | None:
        """What ``step`` gives; None, and a problem at ``place``, if it refuses."""
        try:
            return step(*arguments)
        except PySparkException as error:
            self.problems.append(Problem(place, self.unknown_table(error) or one_line(error.desc)))
        except (TidemillError, ImportError, OSError) as error:
            self.problems.append(Problem(place, one_line(str(error))))
        return None

    def unknown_table(self, error: PySparkException) -> str | None:
        """The manifest's own words for a table that is not there."""
        found = re.search(r"`([^`]+)`", error.desc)
        if error.condition != "TABLE_OR_VIEW_NOT_FOUND" or not found:
            return None
        spec = self.manifest.spec
        names = [part.name for parts in (spec.sources, spec.tables, spec.queries) for part in parts]
        later = "; queries read earlier ones only" if found[1] in names else ""
        hint = later or did_you_mean(found[1], names)
        return f"there is no source, table or earlier query `{found[1]}`{hint}"


def one_line(text: str) -> str:
    return " ".join(text.split())


def program_problems(program: Program, directory: Path) -> list[Problem]:
    """Whether the program is there and is Python; only running it tells more."""
    if program.config_map is not None:
        return []
    where: Place = ("spec", "program", "file" if program.file is not None else "inline")
    try:
        text = (
            (directory / program.file).read_text("utf-8")
            if program.file is not None
            else program.inline or ""
        )
        compile(text, program.file or "inline", "exec")
    except OSError as error:
        return [Problem(where, f"{program.file!r} cannot be read beside the manifest: {error.strerror}")]
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return [Problem(where, f"it is no Python{line}: {said}")]
    return []
