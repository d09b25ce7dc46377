"""The house rules that a tool can hold: what the wheel carries, what stays light, and how long a thing may grow."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidemill

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    path for path in (ROOT / "runtime/tidemill", ROOT / "operator/tidemill_operator") if path.exists()
]
# PySpark's own surface has hundreds of names in one class or module, and users look for them there.
MAY_BE_LONG = {f"runtime/tidemill/sql/{name}.py" for name in ("dataframe", "column")}
FILE_LINES = 800
FUNCTION_LINES = 70


def tracked() -> list[Path]:
    """Files in git that still exist; the tree may belong to another user than the one who tests it."""
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    names = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def code() -> Iterator[tuple[str, str]]:
    for path in tracked():
        if path.suffix == ".py":
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def python(program: str) -> str:
    """What a fresh interpreter prints for a program."""
    return subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = f"import os, hatchling.build as b; os.chdir({str(ROOT)!r}); print(b.build_wheel({str(folder)!r}))"
    return zipfile.ZipFile(folder / python(build).split()[-1])


def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    sources = {
        path.relative_to(package.parent).as_posix()
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == sources
    assert "tidemill/py.typed" in shipped


def test_the_wheel_brings_the_command_and_names_its_extras(wheel: zipfile.ZipFile) -> None:
    info = {
        name.split("/")[1]: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name
    }
    assert "tidemill = tidemill.__main__:main" in info["entry_points.txt"]
    extras = set(re.findall(r"^Provides-Extra: (.+)$", info["METADATA"], re.MULTILINE))
    assert {"kafka", "avro", "pandas", "all"} <= extras


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert tidemill.__version__ == importlib.metadata.version("tidemill") == project["version"]


@pytest.mark.parametrize("module", ["tidemill", "tidemill.api"])
def test_the_manifest_models_load_no_engine(module: str) -> None:
    heavy = "{'duckdb', 'pyarrow', 'numpy', 'pandas', 'sqlglot', 'confluent_kafka'}"
    assert python(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_every_installed_package_is_pinned() -> None:
    lines = [
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pins = {_normal(line.split("==")[0]) for line in lines}
    installed = {_normal(each.metadata["Name"]) for each in importlib.metadata.distributions()}
    assert installed - pins - {"pip", "setuptools", "tidemill", "wheel"} == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    machine = rb"/(?:work|root|Users)/\w|/home/(?!tidemill\b)\w+/|/opt/(?:wheels)"
    registry = rb"(?:index-url|find-links|trusted-host)[= ]+\S*[.:/]"
    told = re.compile(machine + rb"|" + registry)
    found = {
        path.relative_to(ROOT).as_posix(): match[0]
        for path in tracked()
        if (match := told.search(path.read_bytes()))
    }
    assert found == {}


def test_files_stay_readable() -> None:
    lengths = {name: text.count("\n") for name, text in code() if name not in MAY_BE_LONG}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_stay_readable() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for name, text in code()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    }
    assert long == {}


@pytest.mark.parametrize("place", ["in a test", "in a module"])
@pytest.mark.parametrize(("ci", "code"), [("true", "1 failed|1 error"), ("", "1 skipped")])
def test_ci_lets_no_test_be_skipped(tmp_path: Path, place: str, ci: str, code: str) -> None:
    body = "import pytest\ndef test(): pytest.skip('no broker')"
    if place == "in a module":
        body = "import pytest\npytest.skip('no broker', allow_module_level=True)"
    (tmp_path / "test_part.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    ran = subprocess.run(
        [*command, "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert re.search(code, ran.stdout), ran.stdout
    assert "no broker" in ran.stdout
    assert ran.returncode in ((1, 2) if ci else (0, 5))  # 2: stopped while collecting; 5: nothing collected


def test_setup_says_which_python_it_wants() -> None:
    environment = {**os.environ, "PYTHON": "/bin/false"}
    ran = subprocess.run([ROOT / ".ci/setup", "run"], env=environment, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 1
    assert "PYTHON=/bin/false is not a Python 3.11 or newer" in ran.stderr
