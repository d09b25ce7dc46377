"""What every test shares: the real parts, and the rule that CI skips nothing."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.services.kafka import KafkaBroker
from tests.services.redis import Server as RedisServer

# Two cores may run other things beside us: a slow example is no failure, a wrong one is.
settings.register_profile("tidemill", deadline=None, print_blob=True)
settings.load_profile("tidemill")

BROKER_FIXTURES = {"kafka", "own_kafka"}
REDIS_FIXTURES = {"redis", "own_redis"}


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that all tests share: take topics from ``kafka.topic()``, and never stop it."""
    yield from _broker(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker for one test, to be stopped, killed and restarted."""
    yield from _broker(tmp_path_factory.mktemp("own-kafka"))


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests share: take locations from ``redis.location()``, and never stop it."""
    yield from _redis(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for one test, to be stopped, killed, filled and restarted."""
    yield from _redis(tmp_path_factory.mktemp("own-redis"))


def _redis(folder: Path) -> Iterator[RedisServer]:
    with RedisServer(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


def _broker(folder: Path) -> Iterator[KafkaBroker]:
    with KafkaBroker(folder) as broker:
        yield broker
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_log_is_inherited() -> Iterator[None]:
    """A command that a test has run in this process leaves lines going to its output, which is closed by then."""
    yield
    logger = logging.getLogger("tidemill")
    streams = [h.stream for h in logger.handlers if isinstance(h, logging.StreamHandler)]
    if any(s.closed for s in streams):
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="module", autouse=True)
def _no_executors_are_inherited() -> Iterator[None]:
    """A session that a module leaves on executors, which end with the module, is not the next one's to get."""
    yield
    from tests.services.cluster import stop
    from tidemill.sql.session import open_sessions

    for session in open_sessions():
        if session._context is not None and session._context.cluster is not None:
            stop(session)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if BROKER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
        if REDIS_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.redis)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With CI=true nothing may be left out quietly: a skipped test or module fails, with the skip's own reason."""
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and os.environ.get("CI", "").lower() in ("1", "true")
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI=true allows no skipped test. {reason}"
