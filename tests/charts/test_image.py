"""What the image's recipe says fits the project and the chart. That it builds and runs, e2e/ shows on a cluster."""

from __future__ import annotations

import re
import tomllib

import yaml

import tidemill
from tests.charts.chart import CHART, ROOT

RECIPE = (ROOT / "Dockerfile").read_text()


def said(pattern: str) -> str:
    found = re.search(pattern, RECIPE, re.MULTILINE)
    assert found is not None, f"the Dockerfile has no line like {pattern}"
    return found[1]


def test_the_version_is_the_project_s_in_image_and_chart() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert said(r"^ARG VERSION=(.+)$") == chart["appVersion"] == tidemill.__version__


def test_the_extras_that_it_installs_are_the_project_s() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(said(r"^ARG EXTRAS=(.+)$").split(",")) <= set(extras)


def test_it_copies_what_is_there_and_what_the_build_may_see() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    admitted = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", RECIPE, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    for name in copied:
        assert (ROOT / name).exists()
        assert any(path == name or path.startswith(f"{name}/") for path in admitted), f"{name} is ignored"


def test_its_user_is_the_one_that_pods_are_given() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurityContext"]
    assert said(r"^USER (.+)$") == f"{values['runAsUser']}:{values['runAsGroup']}"
    assert said(r"useradd --uid (\d+)") == str(values["runAsUser"])
