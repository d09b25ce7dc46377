"""Who may join a job, and what is said to those who may not."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from distributed.core import rpc
from distributed.protocol import to_serialize

from tidemill import __version__, tls
from tidemill.engine.dask import DaskEngine
from tidemill.engine.processes import LocalCluster
from tidemill.errors import TidemillError
from tidemill.executor import worker
from tidemill.executor.host import Host
from tidemill.executor.worker import security, serve
from tidemill.tls import TlsFiles, make_authority


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    return make_authority(tmp_path_factory.mktemp("tls"), ("driver", "executor"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Of another job."""
    return make_authority(tmp_path_factory.mktemp("foreign"), ("executor",))["executor"]


@pytest.fixture(scope="module")
def driver(files: dict[str, TlsFiles]) -> Iterator[DaskEngine]:
    engine = DaskEngine(files["driver"], patience=60)
    yield engine
    engine.close()


def stranger(files: TlsFiles | None, ca: Path) -> dict[str, Any]:
    """How one connects who has other certificates, or none."""
    if files is not None:
        made = security(files)
        assert made is not None
        return dict(made.get_connection_args("worker"))
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    return {"ssl_context": context, "require_encryption": True}


def ask(peer_at: str, arguments: dict[str, Any], call: str, **given: Any) -> Any:
    async def main() -> Any:
        peer = rpc(peer_at, connection_args=arguments, timeout=5)
        try:
            return await asyncio.wait_for(getattr(peer, call)(**given), 60)
        finally:
            await peer.close_rpc()

    return asyncio.run(main())


JOIN = {
    "address": "tls://127.0.0.1:1",
    "name": "s",
    "version": __version__,
    "wire": worker.WIRE,
    "threads": 1,
}


@pytest.mark.parametrize("who", ["none", "foreign", "self"])
def test_a_process_without_the_jobs_certificate_cannot_join(
    driver: DaskEngine, files: dict[str, TlsFiles], foreign: TlsFiles, who: str
) -> None:
    own = {"none": None, "foreign": foreign, "self": dataclasses.replace(foreign, ca=files["driver"].ca)}[who]
    with pytest.raises(OSError):
        ask(driver.address, stranger(own, files["driver"].ca), "tidemill_join", **JOIN)
    assert driver.members() == []


@pytest.mark.parametrize("who", ["none", "foreign", "self"])
def test_it_cannot_call_an_executor_either(foreign: TlsFiles, who: str) -> None:
    cluster = LocalCluster(1, threads=1)
    try:
        ((address, _),) = ((m.address, m) for m in cluster._present())
        call = {"engine": cluster._token, "what": "forget", "query": "q", "generation": 1}
        right = ask(
            address, stranger(cluster._own, cluster._own.ca), "tidemill_call", data=to_serialize(b"\x80\x04)."), **call
        )  # fmt: skip
        assert right["status"] == "ok"
        own = {"none": None, "foreign": foreign, "self": dataclasses.replace(foreign, ca=cluster._own.ca)}[
            who
        ]
        with pytest.raises(OSError):
            ask(address, stranger(own, cluster._own.ca), "tidemill_call", data=to_serialize(b""), **call)
    finally:
        cluster.close()


def test_a_call_of_another_driver_of_the_job_is_refused(files: dict[str, TlsFiles]) -> None:
    """One that was replaced, say, and has the same certificate."""
    cluster = LocalCluster(1, threads=1)
    try:
        (member,) = cluster._present()
        answer = ask(
            member.address, stranger(cluster._own, cluster._own.ca), "tidemill_call",
            engine="another", what="forget", query="q", generation=1, data=to_serialize(b""),
        )  # fmt: skip
        assert answer["status"] == "error"
    finally:
        cluster.close()


# --- Executors in this process ---------------------------------------------------------------------------------------


class Executor:
    """`serve` on a thread of its own."""

    def __init__(self, address: str, name: str, files: TlsFiles) -> None:
        self.error: Exception | None = None
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.host = Host(1)
        self.thread = threading.Thread(target=self._run, args=(address, name, files))
        self.thread.start()

    def _run(self, *where: Any) -> None:
        address, name, files = where
        try:
            self.loop.run_until_complete(serve(address, self.host, name, files, self.stop, "127.0.0.1"))
        except Exception as error:
            self.error = error
        finally:
            self.host.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.loop.close()


def test_an_executor_of_another_version_is_refused_and_told_why(
    driver: DaskEngine, files: dict[str, TlsFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "__version__", "0.0.9")
    executor = Executor(driver.address, "old", files["executor"])
    executor.thread.join(60)
    assert isinstance(executor.error, TidemillError)
    assert str(executor.error) == (
        f"executor old has Tidemill 0.0.9 (wire format {worker.WIRE}), and the driver {__version__} "
        f"({worker.WIRE}); run both from the same image"
    )
    assert driver.members() == []


def test_a_name_that_lives_is_refused_to_another(files: dict[str, TlsFiles]) -> None:
    """Logs and metrics would take the two for one."""
    engine = DaskEngine(files["driver"], patience=60)
    first = Executor(engine.address, "twin", files["executor"])
    try:
        assert len(engine._present()) == 1
        second = Executor(engine.address, "twin", files["executor"])
        second.thread.join(60)
        assert "there is an executor twin already" in str(second.error)
        assert "--name" in str(second.error)
        assert engine.members() == ["twin"]
    finally:
        first.close()
        engine.close()
    assert first.error is None


def test_an_executor_waits_for_a_driver_and_joins_the_one_that_comes_after_it(
    files: dict[str, TlsFiles], caplog: pytest.LogCaptureFixture
) -> None:
    first = DaskEngine(files["driver"], patience=60)
    host, port = first.address.removeprefix("tls://").split(":")
    executor = Executor(first.address, "loyal", files["executor"])
    try:
        assert [m.name for m in first._present()] == ["loyal"]
        first.close()
        second = DaskEngine(files["driver"], patience=60, host=host, port=int(port))
        try:
            assert [m.name for m in second._present()] == ["loyal"]
        finally:
            executor.close()
            second.close()
    finally:
        first.close()
    assert executor.error is None
    assert len([r for r in caplog.records if "no driver at" in r.message]) <= 1


# --- The command -----------------------------------------------------------------------------------------------------


def executor(*arguments: object, program: str = "") -> subprocess.CompletedProcess[str]:
    start = ["-c", program] if program else ["-m", "tidemill"]
    command = [sys.executable, *start, "executor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def options(files: TlsFiles) -> list[object]:
    return ["--tls-ca", files.ca, "--tls-cert", files.cert, "--tls-key", files.key, "--name", "e"]


OTHER_WIRE = """
import sys, tidemill.executor.worker as worker
worker.WIRE = 99
from tidemill.__main__ import main
main()
"""


def test_the_command_ends_with_2_if_the_wire_format_is_another(
    driver: DaskEngine, files: dict[str, TlsFiles]
) -> None:
    done = executor("--driver", driver.address, *options(files["executor"]), program=OTHER_WIRE)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1] == (
        f"executor e: executor e has Tidemill {__version__} (wire format 99), and the driver {__version__} "
        f"({worker.WIRE}); run both from the same image"
    )


def swapped(files: TlsFiles, other: TlsFiles) -> TlsFiles:
    return dataclasses.replace(files, key=other.key)


def of_another_ca(files: TlsFiles, other: TlsFiles) -> TlsFiles:
    return dataclasses.replace(files, ca=other.ca)


def missing(files: TlsFiles, other: TlsFiles) -> TlsFiles:
    return dataclasses.replace(files, cert=files.cert.with_name("nowhere.pem"))


def garbled(files: TlsFiles, other: TlsFiles) -> TlsFiles:
    bad = files.ca.with_name("bad.pem")
    bad.write_text("not a certificate")
    return dataclasses.replace(files, ca=bad)


WRONG: dict[Callable[[TlsFiles, TlsFiles], TlsFiles], str] = {
    swapped: r"TLS certificate \S+ and key \S+ cannot be used: KEY_VALUES_MISMATCH; they must be a PEM pair",
    of_another_ca: r"TLS certificate \S+ was not signed by the CA in \S+; all processes of a job need certificates of one",
    missing: r"TLS certificate file \S+nowhere.pem cannot be read; check its path and permissions",
    garbled: r"cannot be used: NO_CERTIFICATE_OR_CRL_FOUND; they must be a PEM pair, and \S+ the PEM certificate of",
}


@pytest.mark.parametrize("how", WRONG)
def test_files_that_do_not_fit_are_told_by_name(
    files: dict[str, TlsFiles], foreign: TlsFiles, how: Callable[[TlsFiles, TlsFiles], TlsFiles]
) -> None:
    wrong = how(files["executor"], foreign)
    with pytest.raises(TidemillError, match=WRONG[how]):
        wrong.check()


def test_a_certificate_that_has_expired_is_told_by_its_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "VALID", -timedelta(minutes=30))
    old = make_authority(tmp_path, ("executor",))["executor"]
    with pytest.raises(TidemillError, match=r"is valid from \S+ \S+ to \S+ \S+ UTC, and it is .*; renew it"):
        old.check()


def test_the_command_ends_with_2_if_its_files_or_its_address_are_wrong(
    files: dict[str, TlsFiles], foreign: TlsFiles
) -> None:
    done = executor("--driver", "tls://127.0.0.1:1", *options(missing(files["executor"], foreign)))
    assert done.returncode == 2
    assert "nowhere.pem cannot be read" in done.stderr
    for address in ("127.0.0.1", "tcp://127.0.0.1:1", "tls://:8786"):
        done = executor("--driver", address, *options(files["executor"]))
        assert done.returncode == 2, address
        assert f"--driver {address!r}" in done.stderr


@pytest.mark.parametrize("who", ["nobody", "foreign"])
def test_the_command_waits_for_a_driver_says_so_once_and_ends_when_told(
    driver: DaskEngine, files: dict[str, TlsFiles], foreign: TlsFiles, who: str
) -> None:
    """With certificates of another job it waits too: a driver with the right ones may come."""
    where, own = ("tls://127.0.0.1:1", files["executor"]) if who == "nobody" else (driver.address, foreign)
    command = [sys.executable, "-m", "tidemill", "executor", "--driver", where, *map(str, options(own))]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    try:
        line = child.stderr.readline()
        reason = rf"not signed by the CA in {own.ca}" if who == "foreign" else "Connect call failed"
        assert re.search(rf"no driver at {re.escape(where)} yet \(.*{reason}.*\); trying again", line), line
    finally:
        child.send_signal(signal.SIGTERM)
        rest = child.stderr.read()
        child.wait(60)
        child.stderr.close()
    assert "no driver" not in rest
    assert child.returncode == 0, (child.returncode, rest)
