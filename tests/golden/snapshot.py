"""Take the names of Spark's functions from real PySpark. By hand, as `make.py`.

    python tests/golden/snapshot.py

Writes ``data/pyspark_functions.json``: PySpark's version, ``parameters`` (the functions of `pyspark.sql.functions` with
the names of their parameters) and ``sql`` (the functions that Spark SQL knows, operators left out).
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import make  # noqa: E402
import pyspark  # noqa: E402
from pyspark.sql import functions  # noqa: E402


def parameters() -> dict[str, list[str]]:
    found = {n: f for n in dir(functions) if callable(f := getattr(functions, n)) and not n.startswith("_")}
    return {
        name: list(inspect.signature(function).parameters)
        for name, function in sorted(found.items())
        if inspect.isfunction(function) and function.__module__.startswith("pyspark.sql")
    }


def main() -> None:
    listed = [row[0] for row in make.session().sql("SHOW SYSTEM FUNCTIONS").collect()]
    names = sorted({n for n in listed if re.fullmatch(r"[a-z_]\w*", n)})
    answer = {"pyspark": pyspark.__version__, "parameters": parameters(), "sql": names}
    lines = [f'"pyspark": {json.dumps(answer["pyspark"])}', '"parameters": {']
    rows = [f"{json.dumps(n)}: {json.dumps(p)}" for n, p in answer["parameters"].items()]
    text = "{\n" + lines[0] + ",\n" + lines[1] + "\n" + ",\n".join(rows) + "\n},\n"
    text += '"sql": ' + json.dumps(answer["sql"]).replace(", ", ",\n") + "\n}\n"
    (HERE / "data" / "pyspark_functions.json").write_text(text, encoding="utf-8")
    print(f"{len(answer['parameters'])} functions of PySpark, {len(names)} of Spark SQL")


if __name__ == "__main__":
    main()
