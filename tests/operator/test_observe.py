"""What the operator sees of a job: what drivers say of themselves, what events say of pods, and what is in the cache."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.operator.apiserver import Cluster, Server
from tests.operator.stories import NAME, PLACE, Story, job
from tests.services.parts import free_ports
from tidemill.health import HealthServer, Probes
from tidemill_operator import names, observe
from tidemill_operator.cluster import CONFIG_MAP, JOB, POD, STATEFUL_SET, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import name_of
from tidemill_operator.observe import Observer
from tidemill_operator.world import Observed

KEY = (PLACE, NAME)
HERE = "127.0.0.1"
SAYS = {"phase": "running", "generation": 3, "queries": []}


def observed(story: Story) -> Observed:
    """By an observer that has just begun."""

    async def looks() -> Observed | None:
        observer = Observer(story.api)  # type: ignore[arg-type]
        try:
            await observer.look()
            return await observer.observe(KEY)
        finally:
            await observer.close()

    found = asyncio.run(looks())
    assert found is not None
    return found


# --- Drivers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of drivers, here."""
    (found,) = free_ports(1)
    monkeypatch.setattr(names, "HEALTH_PORT", found)
    return found


def at(story: Story, address: str, component: str = names.DRIVER) -> Item:
    """The pod of a component, at an address of this machine."""
    pod = story.cluster.all(POD, names.selector(NAME, component))[0]
    return story.cluster.change(pod, lambda p: p["status"].update(podIP=address))


@pytest.mark.parametrize("address", [HERE, "::1"])
def test_a_driver_says_how_it_does(port: int, address: str) -> None:
    story = Story().settles()
    pod = at(story, address)
    driver = HealthServer(Probes(status=lambda: SAYS), port, address)
    try:
        assert observed(story).reports == {name_of(pod): SAYS}
    finally:
        driver.close()


def test_only_drivers_that_run_are_asked(port: int) -> None:
    story = Story().settles()
    at(story, HERE, names.EXECUTOR)
    asked: list[int] = []
    everybody = HealthServer(Probes(status=lambda: asked.append(1) or SAYS), port, HERE)
    try:
        waits = {"name": "tidemill", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        story.cluster.change(at(story, HERE), lambda p: p["status"].update(containerStatuses=[waits]))
        assert observed(story).reports == {}
        story.cluster.change(at(story, HERE), lambda p: p["status"].pop("podIP"))
        assert observed(story).reports == {}
    finally:
        everybody.close()
    assert asked == []


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


ANSWERS: dict[str, bytes | None] = {
    "nothing": b"",
    "nothing for long": None,
    "another protocol": b"-ERR unknown command\r\n",
    "less than it promised": http("200 OK", b"{}").replace(b"2\r\n", b"20\r\n"),
    "a page": http("200 OK", b"<html></html>"),
    "a list": http("200 OK", b"[1]"),
    "no text": http("200 OK", b"\xff\xfe{"),
    "not found": http("404 Not Found", json.dumps(SAYS).encode()),
    "somewhere else": http("302 Found", b"", "Location: http://127.0.0.1:{port}/elsewhere"),
    "too much": http("200 OK", json.dumps({**SAYS, "more": "x" * observe.LONGEST}).encode()),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_else_answers_in_a_drivers_place_says_nothing(
    port: int, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a user's program: it cannot keep the operator from its work, nor lead it to another address."""
    monkeypatch.setattr(observe, "ANSWER", 0.5)
    story = Story().settles()
    at(story, HERE)
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode().split()[1])
        said = ANSWERS[answer]
        if said is None:
            await asyncio.sleep(5)
        elif asked[-1] == "/elsewhere":
            writer.write(http("200 OK", json.dumps(SAYS).encode()))
        else:
            writer.write(said.replace(b"{port}", str(port).encode()))
        writer.close()

    async def looks() -> Observed | None:
        observer = Observer(story.api)  # type: ignore[arg-type]
        async with await asyncio.start_server(serve, HERE, port):
            await observer.look()
            try:
                return await observer.observe(KEY)
            finally:
                await observer.close()

    found = asyncio.run(looks())
    assert found is not None and found.reports == {}
    assert set(asked) == {"/api/v1/status"}


def test_a_driver_that_is_not_there_says_nothing(port: int) -> None:
    story = Story().settles()
    at(story, HERE)
    assert observed(story).reports == {}


# --- Events of pods that are being made -------------------------------------------------------------------------------

MISSING = 'MountVolume.SetUp failed for volume "kafka" : secret "kafka" not found'
NOT_READ_YET = 'MountVolume.SetUp failed for volume "tls" : failed to sync secret cache: timed out waiting for the condition'
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


@pytest.fixture
def stuck() -> Story:
    """A job whose driver's container is being made."""
    return Story().fate("driver", waiting="ContainerCreating").passes().lives()


def event(
    story: Story, message: str, minute: int | None, kind: str = "Warning", key: str = "lastTimestamp"
) -> None:
    """About the driver's pod."""
    pod = story.cluster.all(POD, names.selector(NAME, names.DRIVER))[0]
    when = {key: None if minute is None else f"2026-03-01T12:{minute:02}:00Z"}
    about = {"uid": pod["metadata"]["uid"]}
    story.cluster.events.append({"involvedObject": about, "type": kind, "message": message, **when})


def hint(story: Story) -> str:
    """What is seen of the driver's pod."""
    return next(iter(observed(story).hints.values()), "")


def test_the_last_warning_says_why_a_pod_is_not_started(stuck: Story) -> None:
    event(stuck, MISSING, 3)
    event(stuck, UNBOUND, 1)
    event(stuck, "Successfully assigned", 4, kind="Normal")
    assert hint(stuck) == MISSING
    event(stuck, UNBOUND, 5, key="eventTime")
    assert hint(stuck) == UNBOUND
    event(stuck, MISSING, None)
    assert hint(stuck) == UNBOUND


@pytest.mark.parametrize("what", ["secret", "configmap"])
def test_a_kubelet_that_has_not_read_a_secret_yet_is_no_trouble(stuck: Story, what: str) -> None:
    """It says so of Secrets that are there, too, and even after it has said what is missing."""
    told = NOT_READ_YET.replace("secret", what)
    event(stuck, told, 1)
    assert hint(stuck) == ""
    event(stuck, MISSING, 2)
    event(stuck, told, 3)
    assert hint(stuck) == MISSING


def test_a_pod_that_nothing_is_said_of_has_no_hint(stuck: Story) -> None:
    assert observed(stuck).hints == {}


def test_events_are_read_of_pods_that_are_being_made_and_of_no_others() -> None:
    story = Story().settles()
    event(story, MISSING, 1)
    assert hint(story) == "" and "list Event" not in str(story.api.calls)
    story.fate("driver", waiting="ImagePullBackOff").lives()
    assert hint(story) == "" and "list Event" not in str(story.api.calls)


def test_a_pod_that_leaves_has_no_hint(stuck: Story) -> None:
    event(stuck, MISSING, 1)
    stuck.cluster.remove(stuck.cluster.all(POD)[0], now=False)
    assert hint(stuck) == ""


class TestAStatefulSetThatMakesNoPods:
    def short(self) -> Story:
        story = Story(executor={"replicas": 2}).fate(
            "executor-1", forbidden=True, says="exceeded quota: team"
        )
        return story.settles()

    def executors(self, story: Story) -> str:
        return observed(story).hints.get(names.executor(NAME), "")

    def says(self, story: Story, message: str, kind: str) -> None:
        """At the time at which it said last that it cannot."""
        last = next(e for e in story.cluster.events if e.get("reason") == "FailedCreate")
        story.cluster.events.append({**last, "type": kind, "message": message})

    def test_it_says_why(self) -> None:
        assert self.executors(self.short()).endswith(
            '"web-logs-executor-1" is forbidden: exceeded quota: team'
        )

    def test_of_what_it_says_at_once_the_warning_counts(self) -> None:
        story = self.short()
        self.says(story, "create Pod web-logs-executor-0 successful", "Normal")
        assert "exceeded quota" in self.executors(story)

    def test_what_it_could_not_and_then_could_is_no_trouble(self) -> None:
        """One that is gone is made anew in a moment, as it was the last time."""
        story = self.short()
        self.says(story, "create Pod web-logs-executor-1 successful", "Normal")
        story.cluster.events[-1]["lastTimestamp"] = "2026-03-01T13:00:00Z"
        assert self.executors(story) == ""

    def test_it_is_not_asked_while_pods_are_made_or_leave(self) -> None:
        story = self.short()
        pod = story.cluster.find_pod("web-logs-executor-0")
        story.cluster.remove(pod, now=False)
        before = len(story.api.calls)
        assert self.executors(story) == "" and "list Event" not in str(story.api.calls[before:])
        starting = Story(executor={"replicas": 2}).fate("executor-0", starts=False)
        starting.fate("executor-1", forbidden=True).settles()
        assert self.executors(starting) == ""

    def test_nor_while_its_controller_has_not_seen_it(self) -> None:
        story = self.short()
        wanted = story.cluster.find(STATEFUL_SET, PLACE, names.executor(NAME))
        assert wanted is not None
        story.cluster.change(wanted, lambda i: i["spec"].update(replicas=3))
        before = len(story.api.calls)
        assert self.executors(story) == "" and "list Event" not in str(story.api.calls[before:])

    def test_nor_when_it_has_all_that_it_wants(self) -> None:
        story = Story(executor={"replicas": 2}).settles()
        assert self.executors(story) == "" and "list Event" not in str(story.api.calls)


def test_without_a_right_to_events_a_job_is_seen_all_the_same(stuck: Story) -> None:
    event(stuck, MISSING, 1)
    refused = ClusterError(403, "list events", "forbidden")
    stuck.api.fails = lambda call: (refused, False) if call.startswith("list Event") else None
    seen = observed(stuck)
    assert seen.hints == {} and seen.items == stuck.observed().items


# --- What is read -----------------------------------------------------------------------------------------------------


def test_all_that_was_made_for_a_job_is_seen() -> None:
    story = Story(executor={"replicas": 2}).settles()
    seen = observed(story)
    assert seen.job["metadata"]["name"] == NAME
    assert seen.items == story.observed().items and len(seen.items) > 6


def test_a_job_that_is_not_there_is_not_seen() -> None:
    story = Story().settles()

    async def looks() -> Observed | None:
        observer = Observer(story.api)  # type: ignore[arg-type]
        await observer.look()
        return await observer.observe((PLACE, "other"))

    assert asyncio.run(looks()) is None


def test_objects_of_others_are_not_even_read() -> None:
    story = Story().settles()
    theirs = {"name": "theirs", "namespace": PLACE, "labels": {names.JOB_LABEL: NAME}}
    story.cluster.create({"apiVersion": "v1", "kind": CONFIG_MAP.name, "metadata": theirs})
    assert observed(story).find(CONFIG_MAP, "theirs") is None


def test_only_the_namespaces_that_it_is_to_look_at_are_read() -> None:
    server = Server()
    for namespace in ("shop", "desk", "other"):
        made = job()
        made["metadata"]["namespace"] = namespace
        server.create(made)
    api = Cluster(server)

    async def looks(*namespaces: str) -> tuple[list[tuple[str, str]], int]:
        observer, before = Observer(api, namespaces), len(api.calls)  # type: ignore[arg-type]
        await observer.look()
        return sorted(observer.world.jobs), len(api.calls) - before

    assert asyncio.run(looks("shop", "desk")) == ([("desk", NAME), ("shop", NAME)], 2 * 8)
    assert asyncio.run(looks()) == ([("desk", NAME), ("other", NAME), ("shop", NAME)], 8)


def test_what_is_told_while_drivers_are_asked_is_seen() -> None:
    """Else a decision would be made on what was known some seconds ago."""
    story = Story().fate("driver", waiting="ContainerCreating").passes().lives()
    seen: list[Any] = []

    async def looks() -> Observed | None:
        observer = Observer(story.api)  # type: ignore[arg-type]
        await observer.look()

        def meanwhile(call: str) -> None:
            if call.startswith("list Event"):
                seen.append(call)
                for kind, name in ((JOB, NAME), (STATEFUL_SET, names.executor(NAME))):
                    item = story.cluster.find(kind, PLACE, name)
                    assert item is not None
                    changed = story.cluster.change(
                        item, lambda i: i["metadata"].update(annotations={"a": "b"})
                    )
                    observer.world.put(changed)

        story.api.fails = meanwhile  # type: ignore[assignment]
        return await observer.observe(KEY)

    found = asyncio.run(looks())
    assert seen and found is not None
    workload = found.find(STATEFUL_SET, names.executor(NAME))
    assert workload is not None
    assert workload["metadata"]["annotations"] == found.job["metadata"]["annotations"] == {"a": "b"}


# --- Namespaces that end ----------------------------------------------------------------------------------------------


@pytest.fixture
def leaves() -> Story:
    return Story(deletionPolicy="Delete").settles().delete()


def test_the_namespace_of_a_job_that_stays_is_not_asked_for() -> None:
    story = Story().settles()
    story.cluster.ending.add(PLACE)
    assert not observed(story).namespace_ends
    assert "get Namespace" not in str(story.api.calls)


@pytest.mark.parametrize("ends", [False, True])
def test_a_job_that_leaves_may_leave_with_its_namespace(leaves: Story, ends: bool) -> None:
    leaves.cluster.ending |= {PLACE} if ends else set()
    assert observed(leaves).namespace_ends is ends


def test_a_namespace_that_is_gone_has_ended(leaves: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(leaves.api, "get", nothing)
    assert observed(leaves).namespace_ends


def test_a_job_is_not_looked_at_without_knowing_that(leaves: Story) -> None:
    """A purge that is not made would keep the job for ever; one that is left out would keep the checkpoint."""
    refused = ClusterError(403, "get namespaces", "forbidden")
    leaves.api.fails = lambda call: (refused, False) if call.startswith("get Namespace") else None
    with pytest.raises(ClusterError, match="forbidden"):
        observed(leaves)
