"""The classes have PySpark's methods with PySpark's parameters; what they have not is listed here."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

SURFACE = json.loads((Path(__file__).parent / "data" / "pyspark_surface.json").read_text())["classes"]
HOMES = {
    "Catalog": "catalog", "Column": "column", "DataFrame": "dataframe", "DataFrameNaFunctions": "missing",
    "DataFrameReader": "readwriter", "DataFrameWriter": "readwriter", "DataStreamReader": "streaming",
    "DataStreamWriter": "streaming", "GroupedData": "group", "Row": "row", "RuntimeConfig": "conf",
    "SparkSession": "session", "StreamingQuery": "streaming", "StreamingQueryListener": "streaming",
    "StreamingQueryManager": "streaming", "UDFRegistration": "udf", "Window": "window", "WindowSpec": "window",
}  # fmt: skip
ABSENT = {
    "Catalog": "analyzeTable createDatabase dropDatabase getCreateTableString getFunction getTableProperties "
    "listPartitions recoverPartitions truncateTable",
    "Column": "outer",
    "DataFrame": "approxQuantile asTable checkpoint colRegex crosstab executionInfo exists freqItems inputFiles "
    "lateralJoin localCheckpoint mergeInto metadataColumn nearestByJoin pandas_api plot rdd repartitionById "
    "sameSemantics sampleBy scalar semanticHash stat storageLevel toJSON transpose withMetadata writeTo zip "
    "zipWithIndex",
    "DataFrameReader": "changes xml",
    "DataFrameWriter": "bucketBy clusterBy jdbc sortBy xml",
    "DataStreamReader": "changes xml",
    "DataStreamWriter": "clusterBy",
    "GroupedData": "apply applyInArrow cogroup transformWithState transformWithStateInPandas",
    "SparkSession": "addArtifact addArtifacts addTag clearProgressHandlers clearTags client copyFromLocalToFs "
    "dataSource getTags interruptAll interruptOperation interruptTag profile registerProgressHandler "
    "removeProgressHandler removeTag tvf udtf",
    "UDFRegistration": "registerJavaFunction registerJavaUDAF",
}
ATTRIBUTES = {"SparkSession": {"catalog", "conf", "udf"}}
"""Set on each instance."""
TAKE_ANY_OPTION = {"csv", "json", "orc", "parquet", "text", "jdbc"}
"""Their options come by name, and each format checks its own."""


@pytest.mark.parametrize("name", SURFACE)
def test_a_class_has_pysparks_methods(name: str) -> None:
    ours = getattr(importlib.import_module(f"tidemill.sql.{HOMES[name]}"), name)
    missing = {m for m in SURFACE[name] if not hasattr(ours, m)} - ATTRIBUTES.get(name, set())
    assert missing == set(ABSENT.get(name, "").split())
    differing = {}
    for method, parameters in SURFACE[name].items():
        found = getattr(ours, method, None)
        if (
            parameters is None
            or not callable(found)
            or method in TAKE_ANY_OPTION | {"applyInPandasWithState"}
        ):
            continue
        mine = [p for p in inspect.signature(found).parameters if p != "self"]
        if mine != parameters:
            differing[method] = (mine, parameters)
    assert differing == {}
