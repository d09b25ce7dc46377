"""Sessions, settings and the catalog."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidemill.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkException,
    PySparkNotImplementedError,
    PySparkRuntimeError,
)
from tidemill.sql import SparkSession


@pytest.fixture
def spark(tmp_path: Path) -> Iterator[SparkSession]:
    session = SparkSession.builder.config("spark.sql.warehouse.dir", str(tmp_path / "warehouse")).create()
    yield session
    session.stop()


def test_get_or_create_gives_the_active_session(spark: SparkSession) -> None:
    again = SparkSession.builder.config("spark.x", 1).getOrCreate()
    assert again is spark is SparkSession.getActiveSession()
    assert spark.conf.get("spark.x") == "1"
    spark.stop()
    assert SparkSession.getActiveSession() is not spark


def test_without_a_session_there_is_no_active_one() -> None:
    while (session := SparkSession.getActiveSession()) is not None:
        session.stop()
    with pytest.raises(PySparkRuntimeError, match="getOrCreate"):
        SparkSession.active()


def test_what_needs_a_server_is_refused() -> None:
    with pytest.raises(PySparkNotImplementedError, match="Spark Connect"):
        SparkSession.builder.remote("sc://x")
    with pytest.raises(PySparkNotImplementedError, match="Hive"):
        SparkSession.builder.enableHiveSupport()


def test_a_new_session_has_settings_and_views_of_its_own(spark: SparkSession) -> None:
    spark.conf.set("spark.sql.ansi.enabled", False)
    other = spark.newSession()
    try:
        assert other.conf.get("spark.sql.ansi.enabled") == "false"
        other.conf.set("spark.sql.ansi.enabled", True)
        assert spark.conf.get("spark.sql.ansi.enabled") == "false"
        spark.range(1).createOrReplaceTempView("mine")
        assert not other.catalog.tableExists("mine")
        spark.range(1).createOrReplaceGlobalTempView("ours")
        assert other.table("global_temp.ours").columns == ["id"]
        assert spark.catalog.dropGlobalTempView("ours")
    finally:
        other.stop()


def test_settings_have_defaults_types_and_static_ones(spark: SparkSession) -> None:
    conf = spark.conf
    assert conf.get("spark.sql.shuffle.partitions") == "200"
    conf.set("spark.sql.shuffle.partitions", 4)
    assert conf.get("spark.sql.shuffle.partitions") == "4"
    conf.unset("spark.sql.shuffle.partitions")
    assert conf.get("spark.sql.shuffle.partitions") == "200"
    assert conf.get("spark.plugin.own", "x") == "x"
    assert conf.get("spark.plugin.own", None) is None
    conf.set("spark.plugin.own", "y")
    assert conf.get("spark.plugin.own") == "y"
    assert conf.isModifiable("spark.sql.session.timeZone")
    assert not conf.isModifiable("spark.master")
    assert conf.getAll["spark.plugin.own"] == "y"


def test_wrong_settings_are_refused(spark: SparkSession) -> None:
    with pytest.raises(
        IllegalArgumentException, match=r"The value 'x' in the config .*shuffle.partitions.*'int'"
    ):
        spark.conf.set("spark.sql.shuffle.partitions", "x")
    with pytest.raises(IllegalArgumentException, match=r"Cannot resolve the given timezone.*Europe/Paris"):
        spark.conf.set("spark.sql.session.timeZone", "Europe/Pariss")
    with pytest.raises(IllegalArgumentException, match="min, max"):
        spark.conf.set("spark.sql.streaming.multipleWatermarkPolicy", "avg")
    with pytest.raises(PySparkException, match=r"SQL_CONF_NOT_FOUND.*Did you mean 'spark.sql.ansi.enabled'"):
        spark.conf.get("spark.sql.ansi.enable")
    with pytest.raises(AnalysisException, match="CANNOT_MODIFY_STATIC_CONFIG"):
        spark.conf.set("spark.sql.warehouse.dir", "x")


def test_a_misspelt_streaming_setting_is_warned_of(spark: SparkSession) -> None:
    with pytest.warns(UserWarning, match="did you mean 'spark.sql.streaming.checkpointLocation'"):
        spark.conf.set("spark.sql.streaming.checkpointLocaton", "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spark.conf.set("spark.sql.streaming.aggregation.stateFormatVersion", "2")
        spark.conf.set("spark.anything.else", "2")


def test_views_come_and_go(spark: SparkSession) -> None:
    spark.range(3).createTempView("v")
    assert spark.table("V").columns == ["id"]
    with pytest.raises(AnalysisException, match="already exists"):
        spark.range(3).createTempView("v")
    assert [(t.name, t.isTemporary) for t in spark.catalog.listTables()] == [("v", True)]
    assert [c.name for c in spark.catalog.listColumns("v")] == ["id"]
    assert spark.catalog.dropTempView("v")
    assert not spark.catalog.dropTempView("v")
    with pytest.raises(AnalysisException, match="The table or view `v` cannot be found"):
        spark.table("v")


def test_an_unknown_table_is_refused_with_the_nearest(spark: SparkSession) -> None:
    spark.range(1).createOrReplaceTempView("flights")
    with pytest.raises(AnalysisException, match=r"TABLE_OR_VIEW_NOT_FOUND.*did you mean 'flights'"):
        spark.table("flight")


def test_the_catalog_has_one_database(spark: SparkSession) -> None:
    catalog = spark.catalog
    assert (catalog.currentCatalog(), catalog.currentDatabase()) == ("spark_catalog", "default")
    catalog.setCurrentDatabase("default")
    with pytest.raises(AnalysisException, match="cannot be found"):
        catalog.setCurrentDatabase("other")
    assert catalog.databaseExists("default")
    assert catalog.functionExists("upper")
    spark.udf.register("shout", lambda s: s + "!")
    assert catalog.functionExists("shout")
