"""What the pages say of commands, values, metrics and expressions is so."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from charts.generate import leaves
from tests.charts.promql import uses
from tests.charts.series import exposed, unknown
from tests.docs.test_docs import BLOCK, CODE, ROOT, WRITTEN
from tests.services import promtool
from tests.services.parts import run
from tidemill import api
from tidemill.cli import app, others

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
REFERENCE = re.compile(r"\]\[(\w+)\]")
SHELL = re.compile(r"^(?: {4,}|\$ )(.+)$", re.MULTILINE)


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_into_pages_lead_to_their_headings(page: Path) -> None:
    for target, anchor in LINK.findall(CODE.sub("", text_of(page))):
        there = page.parent / target if target else page
        if there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_each_reference_has_an_address_and_each_address_a_reference(page: Path) -> None:
    told = set(re.findall(r"^\[(\w+)\]: https://\S+$", page.read_text(), re.MULTILINE))
    assert set(REFERENCE.findall(CODE.sub("", text_of(page)))) == told


def test_the_list_of_pages_has_them_all() -> None:
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_jobs_in_pages_are_valid(page: Path, tmp_path: Path) -> None:
    for number, (language, text) in enumerate(BLOCK.findall(page.read_text())):
        if language == "yaml" and "kind: StreamingJob" in text:
            file = tmp_path / f"{number}.yaml"
            file.write_text(text)
            assert api.load(file).name


# Commands


def commands(page: Path) -> list[str]:
    """What is to be typed: indented lines, blocks of a shell, and code within a sentence; lines that go on are one."""
    text = page.read_text()
    shell = [body for language, body in BLOCK.findall(text) if language in ("sh", "text")]
    lines = [*SHELL.findall(BLOCK.sub("", text).replace("\\\n", " ")), *"\n".join(shell).splitlines()]
    spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    return [re.sub(r"\s+#.*", "", line).strip() for line in (*lines, *spans)]


@functools.cache
def tidemill() -> Any:
    """The command line, those of its commands included that only a cluster needs."""
    ours = typer.Typer()
    ours.registered_commands, ours.registered_groups = [*app.registered_commands], [*app.registered_groups]
    others.add(ours, ["--help"])
    return typer.main.get_command(ours)


def misused(command: str) -> list[str]:
    """What a command line says and `tidemill` does not know."""
    words, known = command.split()[1:], tidemill()
    while hasattr(known, "commands") and words and re.fullmatch(r"[a-z]+", words[0]):
        if words[0] not in known.commands:
            return [words[0]]
        known = known.commands[words.pop(0)]
    options = {
        option for parameter in known.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    asked = {word.partition("=")[0].rstrip("]") for word in words if re.match(r"-{1,2}[a-z]", word)}
    return sorted(asked - options - {"--help", "--version"})


@pytest.mark.parametrize(
    "page", [*WRITTEN, ROOT / "examples" / "README.md"], ids=lambda page: page.parent.name + page.name
)
def test_commands_of_pages_are_there_with_their_options(page: Path) -> None:
    lines = [line for line in commands(page) if line.startswith("tidemill ") and "`" not in line]
    assert {line: misused(line) for line in lines if misused(line)} == {}


def test_a_command_that_is_not_there_is_seen() -> None:
    assert misused("tidemill checkpoint copy a b") == []
    assert misused("tidemill checkpoint move a b") == ["move"]
    assert misused("tidemill logs web-logs --previous --backwards") == ["--backwards"]


def test_values_that_pages_set_are_the_chart_s() -> None:
    chart = ROOT / "charts" / "tidemill"
    schema, values = (
        json.loads((chart / "values.schema.json").read_text()),
        yaml.safe_load((chart / "values.yaml").read_text()),
    )
    there = {path for path, _, _ in leaves(schema, values)}
    set_by = {
        (page.name, name)
        for page in (ROOT / "docs").glob("*.md")
        for given in re.findall(r"--set[ =](\S+)", page.read_text())
        for name in re.findall(r"(?:^|,)([\w.]+)=", given.strip("`"))
    }
    assert set_by, "no page sets a value"
    assert {
        s for s in set_by if not any(s[1] == path or s[1].startswith(f"{path}.") for path in there)
    } == set()


# Metrics and expressions


def expressions() -> list[str]:
    """PromQL of the page on operations: blocks, and spans of more than a name."""
    text = (ROOT / "docs" / "operations.md").read_text()
    spans = re.findall(r"`([^`\n]*\btidemill_[^`\n]*[^`\n\w][^`\n]*)`", BLOCK.sub("", text))
    return [body for language, body in BLOCK.findall(text) if language == "promql"] + spans


def test_expressions_ask_for_series_that_are_exposed() -> None:
    assert {e: unknown(uses(e)) for e in expressions() if unknown(uses(e))} == {}


def test_prometheus_takes_the_expressions(tmp_path: Path) -> None:
    rules = [{"record": f"expression_{i}", "expr": e} for i, e in enumerate(expressions())]
    assert len(rules) > 10
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    done = run([promtool.binary(), "check", "rules", str(tmp_path / "rules.yaml")])
    assert done.returncode == 0, done.stdout


def value_of(expression: str, series: dict[str, str], at: str, folder: Path) -> str:
    """What promtool says if the expression gives nothing; empty if that is so."""
    told: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": []}],
    }
    (folder / "story.yaml").write_text(yaml.safe_dump({"tests": [told]}))
    done = run([promtool.binary(), "test", "rules", str(folder / "story.yaml")])
    return "" if done.returncode == 0 else str(done.stdout)


def test_drivers_are_counted_over_the_pods_that_they_were_in(tmp_path: Path) -> None:
    """Each pod is a series of its own that says one number for as long as it lives."""
    (asked,) = (e for e in expressions() if 'kind="driver"' in e)
    labels = 'namespace="streaming",tidemill_job="web-logs",query="hits",kind="driver"'

    def pods(count: int) -> dict[str, str]:
        return {
            f'tidemill_recoveries_total{{{labels},pod="driver-{n}"}}': f"{'_ ' * 8 * n}{n + 4}x7 stale"
            for n in range(count)
        }

    assert value_of(asked, pods(4), "40m", tmp_path) == ""
    assert "4E+00" in value_of(asked, pods(5), "40m", tmp_path)


def test_metrics_that_pages_name_are_exposed() -> None:
    there = {re.sub("_(bucket|sum|count)$", "", name) for name in exposed()} | {
        "tidemill_job",
        "tidemill_operator",
    }
    named = {
        (page.name, name) for page in WRITTEN for name in re.findall(r"`(tidemill_\w+)`", page.read_text())
    }
    assert {s for s in named if s[1] not in there} == set()
