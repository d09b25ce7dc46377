"""Writes the pages of docs/ that are made from the code: ``python docs/generate.py [--check]``.

crash-matrix.md from the list that the tests run, metrics.md from the metrics' table and the operator's, api-coverage.md
from the registry of functions and PySpark's own list, change-matrix.md from what the operator decides by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from tests.crash import matrix  # noqa: E402
from tidemill.metrics import METRICS  # noqa: E402
from tidemill.plan.functions import known_functions  # noqa: E402
from tidemill.sql import functions  # noqa: E402
from tidemill_operator.changes import EFFECTS, MATRIX  # noqa: E402
from tidemill_operator.metrics import Metrics  # noqa: E402

SNAPSHOT = DOCS.parent / "tests" / "golden" / "data" / "pyspark_functions.json"

KNOWN = DOCS.parent / "tests" / "golden" / "known_differences.json"


def metrics() -> str:
    lines = [
        "# Metrics",
        "",
        "`tidemill driver --health-port 9090` serves all of these at `/metrics`, `tidemill run --metrics-port 9090` too;",
        "`tidemill executor --health-port 9090` serves its own, those with the label `executor` alone, with the same",
        "figures: take the `max by (executor)` where both are scraped, not the sum. Generated from `tidemill.metrics`.",
        "",
        "Labels: `query` is the query's name, `source` its number in the query, `operator` the stateful operator's id,",
        "`partition` the source's name for it (`<topic>.<number>` for Kafka), `executor` the executor's name. None holds a",
        "key, a file name or anything else without a bound. Counters start at 0 with each process unless it says otherwise.",
        "What to alert on: [operations](operations.md).",
        "",
        "| name | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help} |" for m in METRICS]
    lines += [
        "",
        "## The operator's",
        "",
        "`tidemill operator --health-port 9090` serves these; of two replicas the one that waits has no jobs to tell of.",
        "",
        "| name | kind | labels | meaning |",
        "|---|---|---|---|",
        *operators(),
        "",
        "Of all processes there are `process_resident_memory_bytes` and its kin besides.",
    ]
    return "\n".join(lines) + "\n"


def operators() -> list[str]:
    """Rows of the operator's own metrics, as a scrape has them."""
    metrics = Metrics(lambda: ["Running"], lambda: 0)
    metrics.count("apply", "deployments")
    rows = []
    for family in metrics.registry.collect():
        if family.name.startswith("tidemill_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return rows


def coverage() -> str:
    """Every function of PySpark: mapped, with what computes it, or refused."""
    known = known_functions()
    theirs = sorted(json.loads(SNAPSHOT.read_text())["parameters"])
    kinds = {n: known.get(n.lower(), "python" if hasattr(functions, n) else "") for n in theirs}
    mapped = [n for n in theirs if kinds[n]]
    refused = [n for n in theirs if not kinds[n]]
    lines = [
        "# Functions",
        "",
        f"Generated from the registry. Of the {len(theirs)} functions of `pyspark.sql.functions` in PySpark 4.3,",
        f"{len(mapped)} are there; SQL text knows {len(known)} names. Each of those has golden answers taken from",
        "PySpark (`tests/golden/data`). A function that is not here is refused by name, with the nearest that is.",
        "",
        "Kinds: `native` is DuckDB's, vectorised; `kernel` a Python function over Arrow columns; `special` rendered",
        "from its arguments' types; `python` has no name in SQL, and makes a column of others in `tidemill.sql.functions`.",
        "",
        "| function | kind |",
        "|---|---|",
        *(f"| `{n}` | {kinds[n]} |" for n in mapped),
        "",
        "## Known differences",
        "",
        "Expressions whose answers are known to differ from Spark's; a test fails when one no longer does.",
        "",
        "| expression | difference |",
        "|---|---|",
        *(f"| `{sql}` | {how} |" for sql, how in sorted(json.loads(KNOWN.read_text()).items())),
        "",
        "## Refused",
        "",
        ", ".join(f"`{n}`" for n in refused) + ".",
    ]
    return "\n".join(lines) + "\n"


def changes() -> str:
    """What changing each field of a job does while it runs."""
    lines = [
        "# Changing a job that runs",
        "",
        "Generated from `tidemill_operator.changes.MATRIX`; a test tries every row. `kubectl apply` the edited manifest, and",
        "the operator does what is said here. One edit may change several fields: each has its effect, and where a part of",
        "an edit is refused, fields that are `live` take effect all the same.",
        "",
        *(f"- **{effect}**: {meaning}" for effect, meaning in EFFECTS.items()),
        "",
        "| field | effect | remarks |",
        "|---|---|---|",
        *(f"| `spec.{path}` | {effect} | {remark} |" for path, (effect, remark) in MATRIX.items()),
        "",
        "Everything below a field has the field's effect. A job that is suspended takes every change, and looks at it when it",
        "goes on. Writing a default out, or leaving it out again, is no change. Labels of the job come to its pods when they",
        "are next made anew; annotations change nothing, but for `tidemill.dev/restart-at`, which asks for a restart.",
        "",
        "A refused change is told by the condition `Degraded` with the reason `ChangeRefused`, in `status.refused`, and by an",
        "event. Taking it back clears that; another edit is tried anew; to try the same once more, ask for a restart:",
        "",
        "```sh",
        'kubectl annotate --overwrite sj NAME tidemill.dev/restart-at="$(date -u +%Y-%m-%dT%H:%M:%SZ)"',
        "```",
        "",
        "A job that names no image keeps the one it has until it is restarted for another reason: an upgrade of the operator",
        "restarts nothing.",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    "crash-matrix.md": matrix.markdown,
    "metrics.md": metrics,
    "api-coverage.md": coverage,
    "change-matrix.md": changes,
}


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        page, text = DOCS / name, make()
        if "--check" not in sys.argv:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run `make generate`")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
