"""Writes what in charts/ and docs/ is made from something else: ``python charts/generate.py [--check]``.

The chart's copy of the CustomResourceDefinition, Grafana's dashboards (from `dashboards` beside this file), and the
table of values in docs/install.md (from values.yaml and the descriptions in values.schema.json).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from charts.dashboards import DASHBOARDS  # noqa: E402
from tidemill.api.crd import FILE  # noqa: E402
from tidemill.api.generate import write_or_check  # noqa: E402

CHART = ROOT / "charts" / "tidemill"
INSTALL = ROOT / "docs" / "install.md"
TABLE = ("<!-- values: python charts/generate.py -->\n", "<!-- end of values -->\n")


def leaves(schema: Mapping[str, Any], values: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """Path, default and description of each value; an object without a description is looked into."""
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        if "description" in below:
            yield here, values.get(name), below["description"]
        else:
            yield from leaves(below, values[name], here)


def table() -> str:
    """The values as a table of Markdown."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = [
        f"| `{path}` | {shown(default)} | {meaning} |"
        for path, default, meaning in leaves(schema, values)
        if path != "global"
    ]
    return "\n".join(["| value | default | |", "|---|---|---|", *rows]) + "\n"


def shown(default: Any) -> str:
    return (
        ""
        if default in ("", {}, [])
        else f"`{json.dumps(default)}`"
        if not isinstance(default, str)
        else f"`{default}`"
    )


def between(text: str, marks: tuple[str, str], new: str) -> str:
    """``text`` with what stands between the two marks replaced."""
    before, first, rest = text.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not first or not last:
        raise SystemExit(f"{INSTALL}: cannot find the lines {marks[0]!r} and {marks[1]!r}")
    return f"{before}{first}{new}{last}{after}"


def main(check: bool) -> int:
    files = {CHART / "files" / FILE: (ROOT / "crds" / FILE).read_text()}
    for name, made in DASHBOARDS.items():
        files[CHART / "dashboards" / f"{name}.json"] = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    files[INSTALL] = between(INSTALL.read_text(), TABLE, table())
    return write_or_check(files, "python charts/generate.py", check)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
