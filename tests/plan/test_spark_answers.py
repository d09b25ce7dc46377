"""Names, types, nullability and error conditions of SQL queries, as PySpark 4.3 answered them.

``spark_sql.json`` holds [query, schema, nullability per column] or [query, null, error condition].
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plan.building import T2, nullability, schema, sql, table
from tidemill.errors import AnalysisException, IllegalArgumentException

ANSWERS = json.loads(Path(__file__).with_name("spark_sql.json").read_text())


@pytest.mark.parametrize(("query", "expected", "detail"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_a_query_is_analysed_as_spark_does(query: str, expected: str | None, detail: str | None) -> None:
    tables = {"t1": table(), "t2": table(T2)}
    if expected is None:
        with pytest.raises((AnalysisException, IllegalArgumentException)) as raised:
            sql(query, **tables)
        assert raised.value.condition == detail
    else:
        plan = sql(query, **tables)
        assert (schema(plan), nullability(plan)) == (expected.replace("`", ""), detail)
