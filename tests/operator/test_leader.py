"""Several replicas and one Lease, in time that passes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.operator.apiserver import Cluster, Server
from tests.operator.warp import WarpedLoop
from tidemill_operator.cluster import LEASE, Item, Kind
from tidemill_operator.errors import ClusterError
from tidemill_operator.leader import LASTS, NAME, RENEWED, TRIED, lead, release

PLACE = "streaming"
FOREVER = 1e6
NEXT = TRIED + 0.1
"""Seconds in which each replica looks at the Lease once."""


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a replica's way to the API server, from one second to another."""

    begins: float = 0.0
    ends: float = FOREVER
    fails: bool = False
    """Each call fails at once."""
    before: float = 0.0
    """Seconds until a call takes effect,"""
    after: float = 0.0
    """and from then until it is answered."""


class Way(Cluster):
    """One replica's."""

    def __init__(self, server: Server, clock: Callable[[], float]) -> None:
        super().__init__(server)
        self.clock = clock
        self.troubles: list[Trouble] = []

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Item | None:
        return await self._slow(lambda: super(Way, self).get(kind, namespace, name))

    async def create(self, item: Item) -> Item:
        return await self._slow(lambda: super(Way, self).create(item))

    async def update(self, kind: Kind, item: Item) -> Item:
        return await self._slow(lambda: super(Way, self).update(kind, item))

    async def _slow(self, call: Callable[[], Any]) -> Any:
        trouble = self._now()
        if trouble.fails:
            raise ClusterError(0, "a call", "the API server does not answer")
        await asyncio.sleep(trouble.before)
        answer = await call()
        await asyncio.sleep(trouble.after)
        return answer

    def _now(self) -> Trouble:
        return next((t for t in self.troubles if t.begins <= self.clock() < t.ends), Trouble())


class Replica:
    """``worked``: from when to when; the last one may still be at it."""

    def __init__(self, loop: WarpedLoop, server: Server, name: str) -> None:
        self.loop, self.name = loop, name
        self.way = Way(server, loop.time)
        self.worked: list[tuple[float, float]] = []
        self.task = loop.create_task(self.runs())

    async def runs(self) -> None:
        await lead(self.way, PLACE, self.name, self._works)  # type: ignore[arg-type]

    async def _works(self) -> None:
        begun = self.loop.time()
        self.worked.append((begun, FOREVER))
        try:
            await asyncio.Event().wait()
        finally:
            self.worked[-1] = (begun, self.loop.time())

    @property
    def leads(self) -> bool:
        return bool(self.worked) and self.worked[-1][1] == FOREVER

    def dies(self) -> None:
        """Without a word."""
        self.task.cancel()
        self.loop.passes(0)

    def ends(self) -> None:
        """In good order."""
        self.dies()
        self.loop.run_until_complete(release(self.way, PLACE, self.name))  # type: ignore[arg-type]


class Replicas:
    """Of one operator."""

    def __init__(self) -> None:
        self.loop, self.server = WarpedLoop(), Server()

    def begins(self, name: str, *troubles: Trouble) -> Replica:
        made = Replica(self.loop, self.server, name)
        made.way.troubles += troubles
        return made

    def passes(self, seconds: float) -> None:
        self.loop.passes(seconds)

    @property
    def lease(self) -> Item:
        found = self.server.find(LEASE, PLACE, NAME)
        assert found is not None
        return found

    @property
    def holder(self) -> tuple[str, int]:
        """And how often the Lease has changed hands."""
        return self.lease["spec"]["holderIdentity"], self.lease["spec"]["leaseTransitions"]


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    made = Replicas()
    yield made
    made.loop.ends()


def test_the_only_one_leads_at_once(replicas: Replicas) -> None:
    first = replicas.begins("first")
    replicas.passes(0.1)
    assert first.leads and replicas.holder == ("first", 0)
    assert replicas.lease["spec"]["leaseDurationSeconds"] == LASTS


def test_it_renews_the_lease_and_leads_on(replicas: Replicas) -> None:
    first = replicas.begins("first")
    versions = set()
    for _ in range(100):
        replicas.passes(TRIED)
        versions.add(replicas.lease["metadata"]["resourceVersion"])
    assert len(versions) == 100
    assert first.leads and len(first.worked) == 1


def test_of_two_one_leads_and_the_other_one_waits(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = replicas.begins("first"), replicas.begins("second")
    replicas.passes(600)
    assert first.leads and not second.worked
    assert set(second.way.calls) == {f"get Lease {NAME}", "create Lease"}  # both have seen that there is none
    assert caplog.messages == ["replica first leads", "replica first leads; waiting"]


def test_the_next_one_takes_over_once_the_lease_of_a_dead_one_has_run_out(replicas: Replicas) -> None:
    first = replicas.begins("first")
    replicas.passes(7)
    second = replicas.begins("second")
    replicas.passes(50)
    first.dies()
    died = replicas.loop.time()
    replicas.passes(60)
    ((begun, _),) = second.worked
    assert LASTS - TRIED < begun - died <= LASTS + 2 * TRIED
    assert replicas.holder == ("second", 1)


def test_a_lease_lasts_as_long_as_its_holder_has_said(replicas: Replicas) -> None:
    first = replicas.begins("first")
    replicas.passes(1)
    first.dies()
    replicas.server.change(replicas.lease, lambda i: i["spec"].update(leaseDurationSeconds=100))
    second = replicas.begins("second")
    replicas.passes(99)
    assert not second.worked
    replicas.passes(1 + 2 * TRIED)
    assert second.leads


@pytest.mark.parametrize(
    "renewed", ["2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z", "yesterday", None]
)
def test_another_clock_is_not_believed(replicas: Replicas, renewed: str | None) -> None:
    first = replicas.begins("first")
    replicas.passes(1)
    first.dies()
    replicas.server.change(replicas.lease, lambda i: i["spec"].update(renewTime=renewed))
    second = replicas.begins("second")
    replicas.passes(LASTS - 1)
    assert not second.worked
    replicas.passes(1 + 2 * TRIED)
    assert second.leads


def test_one_that_ends_gives_the_lease_back(replicas: Replicas) -> None:
    first, second = replicas.begins("first"), replicas.begins("second")
    replicas.passes(100)
    first.ends()
    assert replicas.holder == ("", 0)
    replicas.passes(NEXT)
    assert second.leads and replicas.holder == ("second", 1)


def test_one_that_does_not_lead_has_nothing_to_give_back(replicas: Replicas) -> None:
    first, second = replicas.begins("first"), replicas.begins("second")
    replicas.passes(10)
    second.ends()
    assert first.leads and replicas.holder[0] == "first"


@pytest.mark.parametrize(
    "trouble", [Trouble(fails=True), Trouble(before=FOREVER), Trouble(after=FOREVER)], ids=str
)
def test_to_end_does_not_wait_for_an_api_server_that_is_away(replicas: Replicas, trouble: Trouble) -> None:
    first = replicas.begins("first")
    replicas.passes(10)
    first.way.troubles.append(trouble)
    first.ends()
    assert replicas.loop.time() <= 10 + RENEWED / 2


# Seconds of trouble, and what of it: a call that fails, one that is not made, one whose answer is lost.
TROUBLES = [{"fails": True}, {"before": FOREVER}, {"after": FOREVER}, {"before": 2.0, "after": 2.0}]


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
def test_an_api_server_that_is_away_for_less_than_the_lease_changes_nothing(
    replicas: Replicas, trouble: dict[str, Any]
) -> None:
    first, second = replicas.begins("first"), replicas.begins("second")
    replicas.passes(100)
    away = RENEWED - TRIED - RENEWED / 2 - 0.1  # a try that began before the end may still hang
    first.way.troubles.append(Trouble(100, 100 + away, **trouble))
    replicas.passes(500)
    assert first.leads and len(first.worked) == 1 and not second.worked


@pytest.mark.parametrize("trouble", TROUBLES[:3], ids=str)
def test_one_that_cannot_renew_the_lease_stops_before_it_runs_out(
    replicas: Replicas, trouble: dict[str, Any]
) -> None:
    first, second = replicas.begins("first"), replicas.begins("second")
    replicas.passes(100)
    first.way.troubles.append(Trouble(100, **trouble))
    replicas.passes(60)
    ((_, stopped),), ((begun, _),) = first.worked, second.worked
    assert 100 + RENEWED - TRIED <= stopped <= 100 + RENEWED
    assert first.task.done() and first.task.exception() is None  # and its process ends
    assert stopped + LASTS - RENEWED <= begun and second.leads


def test_with_no_api_server_nobody_leads_and_afterwards_one_does(replicas: Replicas) -> None:
    away = Trouble(100, 160, fails=True)
    first, second = replicas.begins("first", away), replicas.begins("second", away)
    replicas.passes(150)
    assert not first.leads and not second.worked
    replicas.passes(10 + LASTS + 2 * TRIED)
    assert second.leads


def test_one_that_begins_without_an_api_server_waits_for_it(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first = replicas.begins("first", Trouble(0, 60, fails=True))
    replicas.passes(59)
    assert not first.worked
    replicas.passes(1 + TRIED)
    assert first.leads
    assert caplog.messages == [
        f"the lease streaming/{NAME} is out of reach: a call: the API server does not answer",
        "replica first leads",
    ]


def test_who_sees_that_another_one_holds_it_stops_at_once(replicas: Replicas) -> None:
    first = replicas.begins("first")
    replicas.passes(100.5)
    replicas.server.change(replicas.lease, lambda i: i["spec"].update(holderIdentity="somebody"))
    replicas.passes(NEXT)
    assert first.task.done() and not first.leads and replicas.holder[0] == "somebody"


def test_a_lease_that_somebody_else_has_written_to_is_still_renewed(replicas: Replicas) -> None:
    """The renewal that they came between fails by its version; the next one does not."""
    first = replicas.begins("first")
    replicas.passes(100)
    first.way.troubles.append(Trouble(100, 104, before=1.5))
    for number in range(40):
        replicas.passes(0.1)
        note = {"labels": {"number": str(number)}}
        replicas.server.change(replicas.lease, lambda i, note=note: i["metadata"].update(note))
    replicas.passes(60)
    assert first.leads and len(first.worked) == 1
    assert replicas.lease["metadata"]["labels"] == {"number": "39"}


def test_a_lease_that_is_deleted_is_made_again(replicas: Replicas) -> None:
    first = replicas.begins("first")
    replicas.passes(100)
    replicas.server.remove(replicas.lease)
    replicas.passes(NEXT)
    assert first.leads and replicas.holder == ("first", 0)


def test_a_lease_that_nobody_has_filled_is_taken(replicas: Replicas) -> None:
    replicas.server.create(
        {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": {"name": NAME, "namespace": PLACE}}
    )
    first = replicas.begins("first")
    replicas.passes(0.1)
    assert first.leads and replicas.holder == ("first", 1)


def test_work_that_ends_or_fails_is_over(replicas: Replicas) -> None:
    async def ends() -> None:
        await asyncio.sleep(50)

    async def fails() -> None:
        await asyncio.sleep(50)
        raise ClusterError(403, "list pods", "forbidden")

    way: Any = Way(replicas.server, replicas.loop.time)
    replicas.loop.run_until_complete(lead(way, PLACE, "first", ends))
    assert replicas.loop.time() == pytest.approx(50)
    with pytest.raises(ClusterError, match="forbidden"):
        replicas.loop.run_until_complete(lead(way, PLACE, "first", fails))
    assert asyncio.all_tasks(replicas.loop) == set()


# --- Whatever happens -------------------------------------------------------------------------------------------------

seconds = st.sampled_from([0.0, 1.0, 2.4, 2.6, 20.0])
"""Of a call; a try is two of them, and takes 5 at most."""
troubled = st.lists(
    st.builds(
        lambda begins, lasts, **how: Trouble(begins, begins + lasts, **how),
        begins=st.floats(0, 150),
        lasts=st.floats(1, 30),
        fails=st.booleans(),
        before=seconds,
        after=seconds,
    ),
    max_size=6,
)


SLOWER = [Trouble(0, 19, after=2.4), Trouble(19, 30, before=2.4, after=2.4)]
"""A last renewal that is long in force when it is answered, then a try that takes all its time."""


@settings(max_examples=200)
@example(ways=[SLOWER, []])
@given(ways=st.lists(troubled, min_size=2, max_size=3))
def test_two_never_lead_at_a_time_and_one_does_in_the_end(ways: list[list[Trouble]]) -> None:
    replicas = Replicas()
    begun: list[Replica] = []

    async def starts(name: str, way: list[Trouble]) -> None:
        """As its pod does: again whenever it ends."""
        while True:
            begun.append(replicas.begins(name, *way))
            await begun[-1].task
            await asyncio.sleep(1)

    try:
        for number, way in enumerate(ways):
            replicas.loop.create_task(starts(f"replica-{number}", way))
        replicas.passes(210 + 3 * LASTS)
        spans = sorted(span for replica in begun for span in replica.worked)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans
        assert spans[-1][1] == FOREVER
    finally:
        replicas.loop.ends()
