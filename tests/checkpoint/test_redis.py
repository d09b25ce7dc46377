"""Checkpoints in Redis where servers are paused, killed, full, closed to us, and lose what they had acknowledged."""

from __future__ import annotations

import contextlib
import datetime
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services.proxy import Proxy
from tests.services.redis import Cluster, Replica, Sentinel, Server
from tidemill.checkpoint import found, join, open_, shown
from tidemill.checkpoint.base import CheckpointLog
from tidemill.checkpoint.redisclient import PERMIT
from tidemill.errors import (
    CheckpointError,
    CheckpointLockedError,
    CorruptCheckpointError,
    FencedError,
    LostWritesError,
    NotReplicatedError,
)
from tidemill.sinks.base import Generation
from tidemill.state.base import BlobName

pytestmark = pytest.mark.redis


def blob(shard: int, version: int = 0, operator: str = "op0.rows") -> BlobName:
    return BlobName("q", operator, shard, version, 1, 0)


def batch(log: CheckpointLog, generation: Generation, n: int) -> None:
    for kind in ("plan", "prepared", "commit"):
        log.put_new("query", kind, n, {"n": n}, generation)  # type: ignore[arg-type]


# --- Locations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("redis://host:port/0/a", "'host:port' is no host and port"),
        ("redis://a,b/0/x", "redis\\+sentinel:// or redis\\+cluster://"),
        ("redis+sentinel://a", "the service that the Sentinels watch is missing"),
        ("redis://a/0/x?patiense=3", "'patiense' is no setting.*did you mean 'patience'"),
        ("redis://a/0/x?patience=soon", "patience=soon is not a number of seconds"),
        ("redis://a/0/x?lease=0", "lease=0 is not"),
        ("redis://a/0/x?ssl_check_hostname=maybe", "neither true nor false"),
        ("redis://a/0", "names a server and no checkpoint in it; write redis://a:6379/0/<name>"),
    ],
)
def test_a_location_that_cannot_be_is_explained(location: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        open_(location)


def test_names_hang_below_a_location() -> None:
    assert join("redis://h", "7", "q") == "redis://h/0/7/q"
    assert (
        join("redis+sentinel://h/service?replicas=1", "a/b") == "redis+sentinel://h/service/0/a/b?replicas=1"
    )
    assert join("redis+cluster://h,i", "a") == "redis+cluster://h,i/a"
    assert shown("rediss://u:secret@[::1]/2/a?patience=3") == "rediss://[::1]:6379/2/a"


def test_checkpoints_of_a_server_are_found(redis: Server) -> None:
    base = redis.location()
    for name in ("b", "a"):
        log, _ = open_(join(base, name, "q"))
        log.acquire("one")
        log.close()
    assert found(base) == [join(base, "a", "q"), join(base, "b", "q")]
    assert found(join(base, "a", "q")) == [join(base, "a", "q")]
    assert found(join(base, "c")) == []


# --- Wrong servers --------------------------------------------------------------------------------------------------


def test_an_unreachable_server_is_named_without_its_password(own_redis: Server) -> None:
    own_redis.stop()
    location = f"redis://someone:hunter2@127.0.0.1:{own_redis.port}/0/x?patience=0.2"
    with pytest.raises(
        CheckpointError, match=f"Redis redis://127.0.0.1:{own_redis.port}/0 did not do"
    ) as raised:
        open_(location)
    assert "hunter2" not in str(raised.value)


def test_a_wrong_password_and_a_missing_one(own_redis: Server) -> None:
    own_redis.run("CONFIG", "SET", "requirepass", "right")
    where = f"127.0.0.1:{own_redis.port}/0/x"
    with pytest.raises(CheckpointError, match=r"refuses the default user.*redis://user:password@host"):
        open_(f"redis://{where}")
    with pytest.raises(
        CheckpointError, match=r"refuses the default user: .*WRONGPASS|invalid username"
    ) as raised:
        open_(f"redis://:wrong-one@{where}")
    assert "wrong-one" not in str(raised.value)
    open_(f"redis://:right@{where}")[0].close()


RULES = PERMIT.partition("<user> ")[2].partition(" (")[0]
"""As the error message itself lists them."""


def test_an_acl_user_needs_the_commands_that_the_error_lists(own_redis: Server) -> None:
    own_redis.run("ACL", "SETUSER", "job", "on", ">p@ss/w%rd", *RULES.split())
    location = f"redis://job:p%40ss%2Fw%25rd@127.0.0.1:{own_redis.port}/0/x"
    log, store = open_(location)
    batch(log, log.acquire("one"), 0)
    store.put({blob(1): b"x"})
    assert store.get(store.names("q")) == {blob(1): b"x"}
    store.purge([blob(1)])
    log.close()
    own_redis.run("ACL", "SETUSER", "job", "-hsetnx", "-eval")
    with pytest.raises(CheckpointError, match=r"does not permit user 'job' .*: eval, hsetnx .*ACL SETUSER"):
        open_(location)
    own_redis.run("ACL", "SETUSER", "job", "+hsetnx", "+eval", "resetkeys", "~other:*")
    with pytest.raises(CheckpointError, match=r"does not permit.*~tidemill:\*"):
        open_(location)


def test_an_old_server_is_refused(redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.checkpoint.redischecks.OLDEST", 8)
    with pytest.raises(CheckpointError, match=r"has version 7\.\d+\.\d+, and a checkpoint needs 8.0"):
        open_(redis.location())


def test_settings_that_lose_checkpoints_are_warned_of(
    own_redis: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("tidemill"), "propagate", True)
    own_redis.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    own_redis.run("CONFIG", "SET", "appendonly", "no")
    open_(own_redis.location())[0].close()
    assert "set maxmemory-policy noeviction" in caplog.text
    assert "set appendonly yes" in caplog.text


def test_a_full_server_blocks_and_then_says_so(own_redis: Server) -> None:
    location = own_redis.location("patience=1")
    log, _ = open_(location)
    generation = log.acquire("one")
    own_redis.run("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(
        CheckpointError, match=r"is full, and was not relieved within 1 s.*raise its maxmemory"
    ):
        log.put_new("query", "plan", 0, {}, generation)
    with pytest.raises(CheckpointError, match="is full"):
        open_(location)
    own_redis.run("CONFIG", "SET", "maxmemory", "0")
    open_(location)[1].put({blob(0): b"x"})
    log.put_new("query", "plan", 0, {}, generation)
    log.close()


def test_relief_in_time_lets_the_write_through(own_redis: Server) -> None:
    log, _ = open_(own_redis.location())
    generation = log.acquire("one")
    own_redis.run("CONFIG", "SET", "maxmemory", "1")
    relief = threading.Timer(0.3, lambda: own_redis.run("CONFIG", "SET", "maxmemory", "0"))
    relief.start()
    batch(log, generation, 0)
    relief.join()
    log.close()


# --- The lease ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writer(location: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.checkpoint.redis_writer", location]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("acquired 1")
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], n: int) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{n}\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_a_driver_that_slept_past_its_lease_changes_nothing(redis: Server) -> None:
    location = redis.location("lease=0.5")
    with writer(location) as first:
        assert ask(first, 0) == "written\n"
        first.send_signal(signal.SIGSTOP)
        log, _ = open_(location)
        with pytest.raises(
            CheckpointLockedError, match=rf"the first driver \(pid {first.pid} on .* since 20"
        ):
            log.acquire("the second driver")
        generation = acquired(log)
        assert generation.number == 2
        first.send_signal(signal.SIGCONT)
        assert ask(first, 1).startswith("FencedError generation 1 no longer holds")
        log.put_new("query", "plan", 1, {"by": "second"}, generation)
        assert ask(first, 2).startswith("FencedError")
        assert log.get("query", "plan", 1) == {"by": "second"}
        log.close()


def acquired(log: CheckpointLog) -> Generation:
    deadline = time.monotonic() + 20
    while True:
        try:
            return log.acquire("the second driver")
        except CheckpointLockedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_driver_that_slept_past_its_lease_goes_on_if_nobody_came(redis: Server) -> None:
    location = redis.location("lease=0.2")
    with writer(location) as first:
        first.send_signal(signal.SIGSTOP)
        held = f"tidemill:{{{location.partition('/0/')[2].partition('?')[0]}}}:held"
        deadline = time.monotonic() + 20
        while redis.run("EXISTS", held):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGCONT)
        assert ask(first, 0) == "written\n"


def test_a_lease_is_renewed_while_nothing_is_written(redis: Server) -> None:
    location = redis.location("lease=0.3")
    log, _ = open_(location)
    log.acquire("one")
    other, _ = open_(location)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        with pytest.raises(CheckpointLockedError):
            other.acquire("two")
    log.close()
    assert other.acquire("two").number == 2
    other.close()


def test_the_lease_of_a_process_that_died_here_is_free_at_once(redis: Server) -> None:
    location = redis.location("lease=3600")
    with writer(location) as first:
        first.kill()
        first.wait()
        log, _ = open_(location)
        assert log.acquire("two").number == 2
        log.close()


# --- Away and back --------------------------------------------------------------------------------------------------


def test_a_restart_while_writing_loses_and_doubles_nothing(own_redis: Server) -> None:
    location = own_redis.location()
    log, store = open_(location)
    generation = log.acquire("one")
    over = threading.Event()

    def write() -> None:
        with contextlib.closing(log.client):  # type: ignore[attr-defined]
            for n in range(150):
                store.put({blob(s, n): b"%d" % n for s in range(4)})
                store.sync()
                batch(log, generation, n)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    # The server dies with the thread that started it, so that must be this one.
    while thread.is_alive() and not over.wait(0.1):
        own_redis.kill()
        own_redis.start(wait=False)
    thread.join()
    assert over.is_set()
    assert log.numbers("query", "commit") == list(range(150))
    assert len(store.get(store.names("q"))) == 600
    log.close()


def test_a_server_that_does_not_answer_is_waited_for(own_redis: Server) -> None:
    """Longer than the lease, which nobody else takes meanwhile."""
    log, _ = open_(own_redis.location("timeout=0.2&lease=0.3"))
    generation = log.acquire("one")
    with own_redis.paused():
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(batch(log, generation, 0)))
        thread.start()
        thread.join(1.5)
        assert thread.is_alive()
    thread.join()
    assert results == [None]
    assert log.latest("query", "commit") == 0
    log.close()


def test_an_answer_that_is_lost_is_no_second_write(own_redis: Server) -> None:
    with Proxy(own_redis.port) as proxy:
        log, store = open_(own_redis.location().replace(f":{own_redis.port}/", f":{proxy.port}/"))
        generation = log.acquire("one")
        proxy.swallow_answers(1)
        log.put_new("query", "plan", 0, {"a": 1}, generation)
        proxy.swallow_answers(1)
        store.put({blob(0): b"x"})
        log.put_new("query", "prepared", 0, {"a": 1}, generation)
        with pytest.raises(CheckpointError, match="exists already"):
            log.put_new("query", "plan", 0, {"a": 2}, generation)
        log.close()


# --- Lost writes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Replica, Proxy]]:
    """A primary, its replica, and an address that leads to the first of them that lives."""
    with (
        Server(tmp_path / "primary") as primary,
        Replica(tmp_path / "replica", primary) as replica,
        Proxy(primary.port) as proxy,
    ):
        yield primary, replica, proxy


def fail_over(primary: Server, replica: Replica, proxy: Proxy) -> None:
    """The replica stopped following when it was promoted; from now on it answers."""
    proxy.target = replica.port
    proxy.cut()
    primary.kill()


def location_of(proxy: Proxy, settings: str = "") -> str:
    return f"redis://127.0.0.1:{proxy.port}/0/job/q?lease=0.5{settings}"


@pytest.mark.parametrize("lost", ["plan", "prepared", "commit"])
def test_a_lost_entry_stops_the_driver_that_wrote_it(lost: str, pair: tuple[Server, Replica, Proxy]) -> None:
    primary, replica, proxy = pair
    log, _ = open_(location_of(proxy))
    generation = log.acquire("one")
    batch(log, generation, 0)
    entries = [("plan", 1), ("prepared", 1), ("commit", 1), ("plan", 2)]
    for kind, n in entries:
        if kind == lost:
            caught_up(primary, replica)
            replica.promote()
        log.put_new("query", kind, n, {}, generation)  # type: ignore[arg-type]
        if kind == lost:
            break
    fail_over(primary, replica, proxy)
    kind, n = entries[entries.index((lost, 1)) + 1]
    with pytest.raises(LostWritesError, match=r"Redis has lost 1 of . entries that it had acknowledged"):
        log.put_new("query", kind, n, {}, generation)  # type: ignore[arg-type]
    log.close()
    following, _ = open_(location_of(proxy))
    batch(following, following.acquire("two"), 5)
    following.close()


def caught_up(primary: Server, replica: Server) -> None:
    client = primary.client()
    client.set("caught", "up")
    assert client.wait(1, 10_000) == 1
    client.close()


def test_a_lost_blob_stops_the_batch_before_an_entry_names_it(pair: tuple[Server, Replica, Proxy]) -> None:
    primary, replica, proxy = pair
    log, store = open_(location_of(proxy))
    log.acquire("one")
    caught_up(primary, replica)
    replica.promote()
    store.put({blob(3): b"x"})
    fail_over(primary, replica, proxy)
    with pytest.raises(LostWritesError, match=r"lost 1 blobs that it had acknowledged, q/op0.rows/3/"):
        store.sync()
    with pytest.raises(CorruptCheckpointError, match=r"blob q/op0.rows/3/.* is missing"):
        store.get([blob(3)])
    log.close()


def test_a_lost_lease_stops_the_driver_that_took_it(pair: tuple[Server, Replica, Proxy]) -> None:
    primary, replica, proxy = pair
    first, _ = open_(location_of(proxy))
    first.acquire("one")
    first.close()
    caught_up(primary, replica)
    replica.promote()
    second, _ = open_(location_of(proxy))
    generation = second.acquire("two")
    fail_over(primary, replica, proxy)
    with pytest.raises(LostWritesError, match="knows generations up to 1 only, and this is 2"):
        second.put_new("query", "plan", 0, {}, generation)
    second.close()
    third, _ = open_(location_of(proxy))
    same_number = third.acquire("three")
    assert same_number.number == generation.number
    with pytest.raises(FencedError):
        second.put_new("query", "plan", 0, {}, generation)
    third.close()


def test_nothing_is_relied_on_that_no_replica_has(pair: tuple[Server, Replica, Proxy]) -> None:
    _, replica, proxy = pair
    log, store = open_(location_of(proxy, "&replicas=1&wait=0.2&patience=1"))
    generation = log.acquire("one")
    batch(log, generation, 0)
    store.put({blob(0): b"x"})
    assert replica.client().hlen("tidemill:{job/q}:log:query:prepared") == 1
    replica.kill()
    log.put_new("query", "plan", 1, {}, generation)
    with pytest.raises(NotReplicatedError, match=r"0 of 1 replicas .* within 1 s; bring its replicas back"):
        log.put_new("query", "prepared", 1, {}, generation)
    with pytest.raises(NotReplicatedError):
        store.put({blob(1): b"x"})
    replica.start()
    store.put({blob(1): b"x"})
    log.put_new("query", "prepared", 1, {}, generation)
    assert replica.client().hlen("tidemill:{job/q}:log:query:prepared") == 2
    log.close()


def test_what_replicas_acknowledged_survives_a_failover(pair: tuple[Server, Replica, Proxy]) -> None:
    primary, replica, proxy = pair
    log, store = open_(location_of(proxy, "&replicas=1"))
    generation = log.acquire("one")
    for n in range(20):
        store.put({blob(s, n): b"x" for s in range(8)})
        store.sync()
        batch(log, generation, n)
    replica.promote()
    fail_over(primary, replica, proxy)
    other, _ = open_(location_of(proxy))
    assert other.numbers("query", "commit") == list(range(20))
    assert other.numbers("query", "prepared") == list(range(20))
    log.close()
    other.close()


# --- Sentinel, Cluster, TLS -----------------------------------------------------------------------------------------


def test_sentinels_lead_to_the_new_primary(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "primary") as primary,
        Replica(tmp_path / "replica", primary) as replica,
        Sentinel(tmp_path / "sentinel", primary) as sentinel,
    ):
        sentinel.await_replica()
        name = "job/q"
        log, store = open_(sentinel.location("replicas=1", name))
        generation = log.acquire("one")
        batch(log, generation, 0)
        store.put({blob(0): b"x"})
        primary.kill()
        log.put_new("query", "plan", 1, {}, generation)
        wait_until_promoted(replica)
        reader, readers_store = open_(sentinel.location(name=name))
        assert reader.numbers("query", "plan") == [0, 1]
        assert readers_store.get([blob(0)]) == {blob(0): b"x"}
        log.close()
        batch(reader, reader.acquire("two"), 2)
        reader.close()


def name_of(log: CheckpointLog) -> str:
    name: str = log.client.address.name  # type: ignore[attr-defined]
    return name


def wait_until_promoted(replica: Server) -> None:
    deadline = time.monotonic() + 30
    while (
        b"role:master"
        not in str(replica.client().info("replication")).replace("'", "").replace(": ", ":").encode()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_sentinels_service_must_be_known(tmp_path: Path) -> None:
    with Server(tmp_path / "primary") as primary, Sentinel(tmp_path / "sentinel", primary) as sentinel:
        location = sentinel.location("patience=0.3").replace("mymaster", "theirs")
        with pytest.raises(CheckpointError, match="name no primary for the service 'theirs'"):
            open_(location)


def test_a_cluster_keeps_a_log_in_one_slot_and_spreads_the_blobs(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        location = cluster.location()
        log, store = open_(location)
        generation = log.acquire("one")
        blobs = {blob(s, n): bytes([s]) * 100 for s in range(64) for n in range(2)}
        store.put(blobs)
        store.put(blobs)
        store.sync()
        with pytest.raises(CheckpointError, match="exists with other content"):
            store.put({blob(5): b"other"})
        for n in range(3):
            batch(log, generation, n)
        log.purge("query", 2)
        reader, other = open_(location)
        assert reader.numbers("query", "commit") == [2]
        assert other.get(blobs) == blobs
        assert other.names("q") == sorted(blobs)
        assert all(int(node.run("DBSIZE")) > 10 for node in cluster.nodes)
        other.purge(blobs)
        assert other.names("q") == []
        assert found(location) == [location]
        move_slot(cluster, "tidemill:{" + name_of(log) + "}:lease")
        batch(log, generation, 3)
        assert reader.numbers("query", "commit") == [2, 3]
        for each in (log, reader):
            each.close()


def test_a_cluster_needs_some_rights_more(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            node.run(
                "ACL", "SETUSER", "job", "on", ">secret", *RULES.split(), "+cluster", "+command", "+asking"
            )
        location = cluster.location().replace("://", "://job:secret@")
        log, store = open_(location)
        batch(log, log.acquire("one"), 0)
        store.put({blob(s): b"x" for s in range(8)})
        assert len(store.get(store.names("q"))) == 8
        log.close()


def test_a_server_of_a_cluster_restarts_while_it_is_written_to(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        log, store = open_(cluster.location())
        generation = log.acquire("one")
        over = threading.Event()

        def write() -> None:
            for n in range(60):
                store.put({blob(s, n): b"%d" % n for s in range(16)})
                batch(log, generation, n)
            over.set()

        thread = threading.Thread(target=write)
        thread.start()
        for node in cluster.nodes:
            node.kill()
            node.start()
        thread.join()
        assert over.is_set()
        assert log.numbers("query", "commit") == list(range(60))
        assert len(store.get(store.names("q"))) == 16 * 60
        log.close()


def move_slot(cluster: Cluster, key: str) -> None:
    """Hand the slot of a key from its server to another one, entries and all."""
    client = cluster.client()
    slot = client.keyslot(key)
    source = next(n for n in cluster.nodes if n.port == client.get_node_from_key(key).port)
    target = next(n for n in cluster.nodes if n is not source)
    ids = {n.port: n.run("CLUSTER", "MYID") for n in (source, target)}
    ids = {p: i.decode() if isinstance(i, bytes) else i for p, i in ids.items()}
    target.run("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source.port])
    source.run("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[target.port])
    for each in source.run("CLUSTER", "GETKEYSINSLOT", str(slot), "1000"):
        source.run("MIGRATE", "127.0.0.1", str(target.port), each, "0", "5000")
    for node in (target, source):
        node.run("CLUSTER", "SETSLOT", str(slot), "NODE", ids[target.port])
    client.close()


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Files of a CA, a certificate of 127.0.0.1 and its key."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    ca = signed(ca_name, ca_name, ca_key, ca_key, x509.BasicConstraints(True, None))
    import ipaddress

    own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    files = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    files[0].write_bytes(ca.public_bytes(pem))
    files[1].write_bytes(signed(name, ca_name, key, ca_key, own).public_bytes(pem))
    no_password = serialization.NoEncryption()
    files[2].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return files


def signed(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)
    )
    critical = isinstance(extension, x509.BasicConstraints)
    return made.add_extension(extension, critical=critical).sign(by, hashes.SHA256())


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    ca, cert, key = certificates(tmp_path)
    settings = [
        f"tls-ca-cert-file {ca}",
        f"tls-cert-file {cert}",
        f"tls-key-file {key}",
    ]
    with Server(tmp_path / "server", *settings, tls=True) as server:
        secure = server.location().replace("redis://", "rediss://")
        ours = f"ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}"
        log, store = open_(f"{secure}?{ours}")
        batch(log, log.acquire("one"), 0)
        store.put({blob(0): b"x"})
        log.close()
        with pytest.raises(CheckpointError, match=r"cannot be spoken to over TLS: .*ssl_ca_certs="):
            open_(f"{secure}?patience=1")
        with pytest.raises(CheckpointError, match=r"cannot be spoken to over TLS: .*No such file"):
            open_(f"{secure}?ssl_ca_certs=/nowhere.pem")
        with pytest.raises(CheckpointError, match=r"rediss:// or a password|over TLS"):
            open_(f"{server.location()}?patience=0.3")


def test_damage_is_named(redis: Server) -> None:
    location = redis.location()
    log, store = open_(location)
    generation = log.acquire("one")
    log.put_new("query", "plan", 0, {"a": 1}, generation)
    store.put({blob(0): b"x" * 500})
    name = name_of(log)
    client = redis.client()
    plan = client.hget(f"tidemill:{{{name}}}:log:query:plan", "0")
    client.hset(f"tidemill:{{{name}}}:log:query:plan", "0", plan.replace(b'"a":1', b'"a":2'))
    key = f"tidemill:{{{name}:op0.rows:0}}:q"
    (field,) = client.hkeys(key)
    client.hset(key, field, client.hget(key, field)[:-1] + b"?")
    with pytest.raises(CorruptCheckpointError, match=rf"{name} .*:plan, field 0\) is damaged: its checksum"):
        log.get("query", "plan", 0)
    with pytest.raises(CorruptCheckpointError, match=r"blob q/op0.rows/0/.*its checksum is"):
        store.get([blob(0)])
    log.close()
