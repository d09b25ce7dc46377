"""`tidemill submit`, `status` and `logs` against a real API server; what the operator would say is written by the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e.api.server import SECONDS, Json, Refused, Server, kubectl
from e2e.api.test_defaults import job
from e2e.api.test_subresources import FULL
from tests.operator.commandline import Ran, run

MOMENT = "2024-05-01T12:00:00Z"


@pytest.fixture
def place(server: Server) -> tuple[str, str]:
    """What each command is told."""
    return "-n", server.namespace


def written(folder: Path, *items: Json) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump_all(items))
    return str(path)


def submitted(server: Server, folder: Path, *items: Json) -> Ran:
    done = run("submit", written(folder, *items), "--no-wait", "-n", server.namespace)
    assert done.code == 0, done.err
    return done


def applied(server: Server, folder: Path, item: Json, *words: str) -> None:
    """By kubectl."""
    kubectl("apply", f"--filename={written(folder, item)}", f"--namespace={server.namespace}", *words)


class TestApplying:
    def test_kubectl_would_have_made_the_same(self, server: Server, tmp_path: Path) -> None:
        submitted(server, tmp_path, job("by-us", stopAt="03:00 UTC"))
        applied(server, tmp_path, job("by-kubectl", stopAt="03:00 UTC"))
        assert server.get("by-us")["spec"] == server.get("by-kubectl")["spec"]

    def test_the_same_again_changes_nothing(self, server: Server, tmp_path: Path) -> None:
        submitted(server, tmp_path, job("again"))
        before = server.get("again")
        assert submitted(server, tmp_path, job("again")).err.endswith("/again unchanged\n")
        assert server.get("again") == before

    @pytest.mark.parametrize("words", [(), ("--server-side",)], ids=["client-side", "server-side"])
    def test_kubectl_and_submit_take_turns(
        self, server: Server, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        """What one has applied and the other no longer says goes."""
        name = f"turns{len(words)}"
        with_it, without = job(name, stopAt="03:00 UTC"), job(name)
        submitted(server, tmp_path, with_it)
        applied(server, tmp_path, without, *words)
        assert "stopAt" not in server.get(name)["spec"]
        applied(server, tmp_path, job(name, stopAt="04:00 UTC"))
        submitted(server, tmp_path, without)
        assert "stopAt" not in server.get(name)["spec"]

    def test_what_a_scaler_has_set_stays(self, server: Server, tmp_path: Path) -> None:
        submitted(server, tmp_path, job("scaled-between"))
        server.merge("scaled-between", {"spec": {"replicas": 4}}, "scale")
        submitted(server, tmp_path, job("scaled-between", suspend=True))
        spec = server.get("scaled-between")["spec"]
        assert (spec["executor"]["replicas"], spec["suspend"]) == (4, True)

    def test_a_query_that_is_taken_out_is_gone_whoever_has_touched_it(
        self, server: Server, tmp_path: Path
    ) -> None:
        (query,) = job("two")["spec"]["queries"]
        both = [query, {**query, "name": "more"}]
        submitted(server, tmp_path, job("two", queries=both))
        server.merge("two", {"spec": {"queries": [query, {**both[1], "sql": "SELECT 1 AS a FROM ticks"}]}})
        submitted(server, tmp_path, job("two"))
        assert [q["name"] for q in server.get("two")["spec"]["queries"]] == [query["name"]]

    def test_a_null_in_a_pod_template_arrives(self, server: Server, tmp_path: Path) -> None:
        """`kubectl apply` loses it, unless it is --server-side."""
        submitted(server, tmp_path, job("null"))
        template = {"spec": {"priorityClassName": None, "hostname": "a"}}
        submitted(server, tmp_path, job("null", executor={"podTemplate": template}))
        assert server.get("null")["spec"]["executor"]["podTemplate"] == template

    def test_what_the_job_refers_to_comes_with_it(self, server: Server, tmp_path: Path) -> None:
        program = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "with"}, "data": {"a": "b"}}
        password = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "with"},
            "stringData": {"a": "b"},
        }
        done = submitted(server, tmp_path, job("with"), program, password)
        assert done.err.splitlines() == [
            f"{kind} {server.namespace}/with created" for kind in ("configmap", "secret", "streamingjob")
        ]
        where = f"--namespace={server.namespace}"
        assert kubectl("get", "configmap", "with", where, "--output=jsonpath={.data.a}") == "b"
        assert kubectl("get", "secret", "with", where, "--output=jsonpath={.data.a}") == "Yg=="

    def test_what_kubectl_prints_can_be_submitted(self, server: Server, tmp_path: Path) -> None:
        submitted(server, tmp_path, job("printed"))
        before = server.get("printed")
        submitted(server, tmp_path, before)
        after = server.get("printed")
        assert (after["spec"], after["metadata"]["uid"]) == (before["spec"], before["metadata"]["uid"])


class TestTheServerSaysNo:
    def refused(self, server: Server, folder: Path, item: Json, *words: str) -> str:
        done = run("submit", written(folder, item), "--no-wait", *(words or ("-n", server.namespace)))
        assert done.code == 1
        return done.err

    def test_a_change_that_it_does_not_take(self, server: Server, tmp_path: Path) -> None:
        submitted(server, tmp_path, job("kept", checkpoint={"id": "one"}))
        server.merge("kept", {"status": {"phase": "Running", "generation": 1}}, "status")
        moved = job("kept", checkpoint={"id": "two"})
        with pytest.raises(Refused) as told:
            server.merge("kept", {"spec": moved["spec"]})
        assert self.refused(server, tmp_path, moved).strip() == told.value.message

    def test_a_namespace_that_is_not_there(self, server: Server, tmp_path: Path) -> None:
        told = self.refused(server, tmp_path, job("lost"), "-n", "no-such-place")
        assert told.endswith(
            'namespaces "no-such-place" not found; make it: kubectl create namespace no-such-place\n'
        )

    def test_an_object_that_is_being_deleted(self, server: Server, tmp_path: Path) -> None:
        leaving = job("leaving")
        leaving["metadata"]["finalizers"] = ["tidemill.dev/checkpoint"]
        server.create(leaving)
        server.delete("leaving")
        told = self.refused(server, tmp_path, job("leaving"))
        server.merge("leaving", {"metadata": {"finalizers": None}})
        assert (
            "is being deleted; submit it again after: kubectl wait --for=delete streamingjobs/leaving" in told
        )

    def test_rights_that_somebody_lacks(self, server: Server, tmp_path: Path) -> None:
        """A role that lets somebody look lets him look, and no more."""
        where = f"--namespace={server.namespace}"
        kubectl("create", "serviceaccount", "jane", where)
        kubectl("create", "role", "look", "--verb=get,list", "--resource=streamingjobs.tidemill.dev", where)
        kubectl(
            "create", "rolebinding", "look", "--role=look", f"--serviceaccount={server.namespace}:jane", where
        )
        path = tmp_path / "jane"
        path.write_text(_as(kubectl("create", "token", "jane", where).strip()))
        as_jane = ("-n", server.namespace, "--kubeconfig", str(path))
        assert run("status", *as_jane).code == 0
        told = self.refused(server, tmp_path, job("hers"), *as_jane)
        assert 'cannot create resource "streamingjobs"' in told
        assert f"ask for the role `edit` in namespace {server.namespace}" in told
        path.write_text(_as("nobody-s-token"))
        done = run("status", *as_jane)
        assert (done.code, "does not know who you are" in done.err) == (1, True)


def _as(token: str) -> str:
    """The configuration of this cluster for one who has a token."""
    known = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
    known["users"][0]["user"] = {"token": token}
    return json.dumps(known)


@contextmanager
def the_operator(server: Server, name: str, *statuses: Json) -> Iterator[None]:
    """Says these one after the other of a job, a little apart, once it is there."""

    def work() -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                generation = server.get(name)["metadata"]["generation"]
                break
            except Refused:
                time.sleep(0.1)
        for status in statuses:
            server.merge(name, {"status": {"observedGeneration": generation, **status}}, "status")
            time.sleep(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def says(kind: str, holds: bool = True, reason: str = "") -> Json:
    return {"type": kind, "status": str(holds), "reason": reason, "lastTransitionTime": MOMENT}


class TestWaiting:
    def test_until_it_runs(self, server: Server, tmp_path: Path, place: tuple[str, str]) -> None:
        starts = {"phase": "Starting", "message": "the driver starts", "conditions": [says("Progressing")]}
        runs = {"phase": "Running", "message": "all is well", "conditions": [says("Progressing", False)]}
        with the_operator(server, "waited-for", starts, runs):
            done = run("submit", written(tmp_path, job("waited-for")), *place)
        assert done.code == 0, done.err
        assert done.err.splitlines()[1:] == ["Starting: the driver starts", "Running: all is well"]
        assert done.out.splitlines()[1].startswith("waited-for   Running   0/1")

    def test_until_it_is_clear_that_it_does_not(
        self, server: Server, tmp_path: Path, place: tuple[str, str]
    ) -> None:
        with the_operator(server, "hungry", {"phase": "Failing", "message": "there is no flour left"}):
            done = run("submit", written(tmp_path, job("hungry")), *place)
        assert (done.code, done.err.splitlines()[1]) == (1, "Failing: there is no flour left")

    def test_not_for_ever(self, server: Server, tmp_path: Path, place: tuple[str, str]) -> None:
        done = run("submit", written(tmp_path, job("forgotten")), *place, "--timeout", "1s")
        assert (done.code, "after 1 s still: no operator has looked at it yet" in done.err) == (1, True)


@pytest.fixture(scope="module")
def told(server: Server) -> str:
    """A job of which all is told that an operator can tell."""
    server.create(job("looked-at", executor={"replicas": 3}))
    server.merge("looked-at", {"status": FULL.model_dump(by_alias=True, exclude_none=True)}, "status")
    return "looked-at"


class TestLooking:
    def test_the_table_has_what_kubectl_has(self, told: str, place: tuple[str, str]) -> None:
        theirs = kubectl("get", "sj", told, *place).splitlines()
        shown = run("status", *place).out.splitlines()
        ours = next(line for line in shown if line.startswith(told))
        assert shown[0].split() == [t for t in theirs[0].split() if t != "WANTED"]
        name, phase, ready, wanted, lag, _, _, *message = theirs[1].split()
        there = ours.split()
        assert there[:4] + there[6:] == [name, phase, f"{ready}/{wanted}", lag, *message]

    def test_one_job_with_all_that_is_known(self, told: str, place: tuple[str, str]) -> None:
        out = run("status", told, *place).out
        for part in (
            "1500.5",
            "AnalysisException: no",
            "a query of a program, named as it likes",
            "paused for 0.75 s",
            "next restart: 2024-05-02T03:00:00Z",
        ):
            assert part in out, part

    def test_programs_get_the_status_as_it_is(
        self, server: Server, told: str, place: tuple[str, str]
    ) -> None:
        found = json.loads(run("status", told, *place, "--json").out)
        assert found == {"namespace": server.namespace, "name": told, **server.get(told)["status"]}

    def test_a_log_of_a_pod_without_a_node(self, server: Server, told: str, place: tuple[str, str]) -> None:
        """Nobody finds one for it."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{told}-executor-0", "labels": {"tidemill.dev/job": told}},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "tidemill", "image": "none"}]},
        }
        kubectl("apply", "--filename=-", *place, text=json.dumps(pod))
        done = run("logs", told, "--executor", "0", *place)
        assert (done.code, done.err) == (1, f"pod {told}-executor-0 is on no node yet\n")
        done = run("logs", told, *place)
        assert (done.code, f"pods: {told}-executor-0\n" in done.err) == (1, True)
        kubectl("delete", "pod", f"{told}-executor-0", *place, "--wait=false")


def test_as_a_person_calls_it(server: Server, tmp_path: Path) -> None:
    """Through the entry points, by the context that KUBECONFIG names."""
    done = subprocess.run(
        [sys.executable, "-m", "tidemill", "submit", written(tmp_path, job("called")), "--no-wait", "-n", server.namespace],
        env=os.environ, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, f"streamingjob {server.namespace}/called created\n")
