"""One platform for all tests, and what is printed of it when one fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator

import pytest

from e2e import platform as places
from e2e import report
from e2e.cluster import Cluster
from e2e.platform import Platform
from tests.conftest import _refuse_skip, pytest_make_collect_report

__all__ = ["pytest_make_collect_report"]

PLATFORM = pytest.StashKey[Platform]()
"""Told of also where bringing it up has failed."""

MEASURES = pytest.StashKey[dict[str, float]]()
"""Seconds, by what took them."""

LIMIT = 600
"""Seconds for one test: far more than it takes. A signal, since a thread would end the process and leave all behind."""


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(scope="session")
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Platform]:
    """Where the platform will be; cleaned up also where bringing it up has failed."""
    known = places.is_defined(cluster)
    found = request.config.stash[PLATFORM] = places.new(cluster)
    yield found
    places.take_down(found, known)


@pytest.fixture(scope="session")
def platform(place: Platform) -> Platform:
    """Tidemill, Redis and Kafka in namespaces of their own."""
    places.bring_up(place)
    return place


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Called with what has taken so many seconds; all of that is printed at the end."""
    return request.config.stash.setdefault(MEASURES, {}).__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for what, seconds in config.stash.get(MEASURES, {}).items():
        terminalreporter.write_line(f"{what}: {seconds:g} s")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT, method="signal"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    told = yield
    _refuse_skip(told)
    there = item.config.stash.get(PLATFORM, None)
    if told.failed and there is not None:
        with contextlib.suppress(Exception):  # what is told of a failure must not hide it
            told.sections += list(report.told(there))
    return told
