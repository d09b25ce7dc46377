"""The Lease on a real API server: what two replicas write at the same moment, and what somebody else writes between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from e2e.api.own import ApiServer
from tidemill_operator import leader
from tidemill_operator.cluster import LEASE, NAMESPACE, Cluster, Item, Kind
from tidemill_operator.errors import ClusterError
from tidemill_operator.leader import Lock

PLACE = "streaming"
PATH = LEASE.path(PLACE, leader.NAME)
NOTE = {"metadata": {"annotations": {"note": "mine"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api-server")) as made:
        made.call("POST", NAMESPACE.path(None), {"metadata": {"name": PLACE}})
        yield made


@pytest.fixture(autouse=True)
def _from_the_beginning(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No Lease, and little time between two tries."""
    monkeypatch.setattr(leader, "TRIED", 0.05)
    yield
    server.call("DELETE", PATH)


class Interrupted(Cluster):
    """``between`` is done once, after the Lease has been looked at and before it is written."""

    between: Callable[[], Awaitable[None]] | None = None
    refusals: list[int]

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Item | None:
        found = await super().get(kind, namespace, name)
        between, self.between = self.between, None
        if between is not None:
            await between()
        return found

    async def _call(self, *asked: Any) -> Item:
        try:
            return await super()._call(*asked)
        except ClusterError as error:
            self.refusals.append(error.status)
            raise


@asynccontextmanager
async def replica(server: ApiServer, name: str) -> AsyncIterator[tuple[Interrupted, Lock]]:
    made = Configuration()
    await config.load_kube_config(str(server.kubeconfig()), client_configuration=made)
    cluster = Interrupted(ApiClient(configuration=made))
    cluster.refusals = []
    try:
        yield cluster, Lock(cluster, PLACE, name)
    finally:
        await cluster.close()


def patched(server: ApiServer, change: Item) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        server.call("PATCH", PATH, change, "application/merge-patch+json")

    return work


async def until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(0.01)


def uids(server: ApiServer) -> set[str]:
    """Of the Lease, if there is one."""
    return {lease["metadata"]["uid"] for lease in server.call("GET", LEASE.path(PLACE))["items"]}


def holder(server: ApiServer) -> str:
    return str(server.call("GET", PATH)["spec"]["holderIdentity"])


@pytest.mark.parametrize("there", [False, True])
def test_of_two_that_take_it_at_the_same_moment_one_leads(
    server: ApiServer, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether there is none yet, or one that has been given back."""
    caplog.set_level("INFO")

    async def story() -> None:
        async with replica(server, "first") as (_, first), replica(server, "second") as (cluster, second):
            if there:
                await first.take()
                await first.release()
            cluster.between = first.take
            waits = asyncio.ensure_future(second.take())
            await until(lambda: bool(caplog.messages))
            assert holder(server) == "first" and not waits.done()
            assert [s for s in cluster.refusals if s != 404] == [409]
            await first.release()
            await waits
            assert holder(server) == "second"

    asyncio.run(story())
    assert caplog.messages == ["replica first leads; waiting"]  # and nothing of a conflict


def test_a_renewal_that_somebody_came_between_is_tried_again(server: ApiServer) -> None:
    async def story() -> None:
        async with replica(server, "first") as (cluster, first):
            await first.take()
            cluster.between = patched(server, NOTE)
            holds = asyncio.ensure_future(first.hold())
            await until(lambda: 409 in cluster.refusals)
            before = server.call("GET", PATH)["spec"]["renewTime"]
            await until(lambda: holds.done() or server.call("GET", PATH)["spec"]["renewTime"] != before)
            assert not holds.done()
            assert server.call("GET", PATH)["metadata"]["annotations"] == {"note": "mine"}
            holds.cancel()

    asyncio.run(story())


def test_a_renewal_that_another_replica_came_between_is_none(server: ApiServer) -> None:
    async def story() -> None:
        async with replica(server, "first") as (cluster, first):
            await first.take()
            cluster.between = patched(server, {"spec": {"holderIdentity": "second"}})
            await first.hold()
            assert 409 in cluster.refusals

    asyncio.run(story())
    assert holder(server) == "second"


def test_a_lease_that_goes_while_it_is_renewed_is_made_again(server: ApiServer) -> None:
    async def gone() -> None:
        server.call("DELETE", PATH)

    async def story() -> None:
        async with replica(server, "first") as (cluster, first):
            await first.take()
            before = uids(server)
            cluster.between = gone
            holds = asyncio.ensure_future(first.hold())
            await until(lambda: holds.done() or bool(uids(server) - before))
            assert not holds.done()
            holds.cancel()

    asyncio.run(story())
    assert holder(server) == "first"


def test_a_lease_that_another_one_takes_while_it_is_given_back_is_left_to_it(server: ApiServer) -> None:
    async def story() -> None:
        async with replica(server, "first") as (cluster, first):
            await first.take()
            cluster.between = patched(server, {"spec": {"holderIdentity": "second"}})
            await first.release()
            assert 409 in cluster.refusals

    asyncio.run(story())
    assert holder(server) == "second"
