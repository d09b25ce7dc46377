"""What is particular to a checkpoint in a directory: damage, power failures, other processes, bounded size."""

from __future__ import annotations

import errno
import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.checkpoint import open_
from tidemill.checkpoint.files import DirectoryLog
from tidemill.errors import CheckpointError, CheckpointLockedError, CorruptCheckpointError, FencedError
from tidemill.state.base import BlobName
from tidemill.state.files import DirectoryStore

HOLDER = """
import os, sys
from tidemill.checkpoint.files import DirectoryLog
log = DirectoryLog(sys.argv[1])
generation = log.acquire("query hits")
log.put_new("q", "plan", 0, {"who": "holder"}, generation)
print(generation.number, flush=True)
sys.stdin.readline()
os._exit(7)
"""


@pytest.fixture
def holder(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds the lease of ``tmp_path/cp`` and dies without a word when told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "cp")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    yield process
    process.kill()
    process.wait()


def die(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait() == 7


def test_two_processes_on_one_checkpoint(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    log = DirectoryLog(tmp_path / "cp")
    with pytest.raises(CheckpointLockedError, match=rf"query hits \(pid {holder.pid} on .*stop it first"):
        log.acquire("query two")
    assert log.get("q", "plan", 0) == {"who": "holder"}, "reading needs no lease"
    die(holder)
    generation = log.acquire("query two")
    assert generation.number == 2
    log.put_new("q", "prepared", 0, {}, generation)


def test_a_forked_child_has_no_part_in_the_lease(tmp_path: Path) -> None:
    """Its copy of the lock would keep the checkpoint locked after we are gone, and its writes would pass for ours."""
    program = """
import os, sys
from tidemill.checkpoint.files import DirectoryLog
from tidemill.errors import CheckpointLockedError, FencedError

log = DirectoryLog(sys.argv[1])
generation = log.acquire("parent")
child = os.fork()
if child == 0:
    try:
        log.put_new("q", "plan", 0, {}, generation)
    except FencedError:
        os._exit(42)
    os._exit(1)
refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
try:
    DirectoryLog(sys.argv[1]).acquire("next")
except CheckpointLockedError:
    log.put_new("q", "plan", 0, {}, generation)
    print("refused" if refused else "let through", "and still held")
"""
    # In a process of its own: in this one other tests' threads may hold locks that a fork does not survive.
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], timeout=60, capture_output=True, text=True
    )
    assert done.stdout == "refused and still held\n", done.stderr


def test_a_lease_taken_behind_the_lock_fences(tmp_path: Path) -> None:
    """On a network file system two hosts may both believe that they hold the lock; the lease file decides."""
    log = DirectoryLog(tmp_path)
    generation = log.acquire("one")
    lease = tmp_path / "lease"
    lease.write_text(json.dumps({"number": 2, "token": "x", "owner": "elsewhere", "pid": 1, "host": "far"}))
    with pytest.raises(FencedError, match="generation 2 of elsewhere"):
        log.put_new("q", "plan", 0, {}, generation)
    assert log.get("q", "plan", 0) is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-5], "it is no entry"),
        (lambda data: data.replace(b"17", b"18"), "its checksum is"),
        (lambda data: b"hello", "it is no entry"),
        (lambda data: b"[]", "it is no entry"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path: Path, damage, says: str) -> None:  # type: ignore[no-untyped-def]
    log = DirectoryLog(tmp_path)
    log.put_new("q", "plan", 3, {"n": 17}, log.acquire("one"))
    file = tmp_path / "q" / "plan" / "3.json"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CorruptCheckpointError, match=rf"{file} is damaged: {says}.*restore it from a copy"):
        DirectoryLog(tmp_path).get("q", "plan", 3)


@pytest.mark.parametrize("left", [b"", b"\0\0\0\0"])
def test_an_entry_that_a_power_failure_took_counts_as_never_written(tmp_path: Path, left: bytes) -> None:
    log = DirectoryLog(tmp_path)
    generation = log.acquire("one")
    for n in (0, 1):
        log.put_new("q", "plan", n, {"n": n}, generation)
    (tmp_path / "q" / "plan" / "1.json").write_bytes(left)
    assert log.latest("q", "plan") == 0
    assert log.get("q", "plan", 1) is None
    log.put_new("q", "plan", 1, {"n": "again"}, generation)
    assert log.get("q", "plan", 1) == {"n": "again"}


def test_prepared_makes_all_before_it_durable_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    log = DirectoryLog(tmp_path)
    generation = log.acquire("one")
    monkeypatch.setattr(os, "fsync", record)
    log.put_new("q", "plan", 0, {}, generation)
    assert synced == []
    log.put_new("q", "prepared", 0, {}, generation)
    named = [name.split(".json")[0] for name in synced]
    assert (
        named.index("q/plan/0")
        < named.index("q/plan")
        < named.index("q/prepared/0")
        < named.index("q/prepared")
    )
    synced.clear()
    log.put_new("q", "commit", 0, {}, generation)
    assert synced == []


def test_the_directories_above_a_new_checkpoint_survive_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    monkeypatch.setattr(os, "fsync", lambda d: synced.add(os.readlink(f"/proc/self/fd/{d}")))
    DirectoryLog(tmp_path / "jobs" / "one")
    assert synced >= {str(tmp_path), str(tmp_path / "jobs"), str(tmp_path / "jobs" / "one")}


def test_a_leftover_of_a_crash_in_mid_write_is_no_entry(tmp_path: Path) -> None:
    log = DirectoryLog(tmp_path)
    generation = log.acquire("one")
    log.put_new("q", "plan", 0, {}, generation)
    (tmp_path / "q" / "plan" / "1.json.4711.tmp").write_bytes(b'{"form')
    assert log.numbers("q", "plan") == [0]
    log.put_new("q", "plan", 1, {}, generation)


def test_a_checkpoint_deleted_while_in_use_stops_the_query(tmp_path: Path) -> None:
    import shutil

    log = DirectoryLog(tmp_path / "cp")
    generation = log.acquire("one")
    shutil.rmtree(tmp_path / "cp")
    with pytest.raises(FencedError):
        log.put_new("q", "plan", 0, {}, generation)


# --- Wrong locations ------------------------------------------------------------------------------------------------


def test_a_file_in_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "cp").write_text("")
    with pytest.raises(CheckpointError, match="is a file; give a directory"):
        open_(str(tmp_path / "cp"))
    with pytest.raises(CheckpointError, match="cannot be made"):
        open_(str(tmp_path / "cp" / "below"))


def test_a_directory_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the system answer as it would to anyone else
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "cp").mkdir(mode=0o500)
    with pytest.raises(CheckpointError, match="cannot be written by this user; change its permissions"):
        open_(str(tmp_path / "cp"))


def test_a_checkpoint_of_a_newer_version(tmp_path: Path) -> None:
    open_(str(tmp_path))
    (tmp_path / "tidemill.json").write_text('{"format": 99}')
    with pytest.raises(CheckpointError, match=r"format version 99, and this Tidemill reads up to 1; install"):
        open_(str(tmp_path))
    (tmp_path / "tidemill.json").write_text("{")
    with pytest.raises(CorruptCheckpointError, match=r"tidemill\.json is damaged"):
        open_(str(tmp_path))


def test_a_checkpoint_of_spark(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    (tmp_path / "metadata").write_text("{}")
    with pytest.raises(CheckpointError, match="Apache Spark"):
        open_(str(tmp_path))


@pytest.mark.parametrize("location", ["", "  ", "s3://bucket/cp"])
def test_a_location_that_is_none(location: str) -> None:
    with pytest.raises(CheckpointError, match="give a directory"):
        open_(location)


def test_locations(tmp_path: Path) -> None:
    log, store = open_(f"file://{tmp_path}/a%20b")
    assert (tmp_path / "a b" / "tidemill.json").exists()
    log.close()
    store.close()
    first, blobs = open_("memory:shared-by-name")
    generation = first.acquire("one")
    first.put_new("q", "plan", 0, {"a": 1}, generation)
    second, same = open_("memory:shared-by-name")
    assert second.get("q", "plan", 0) == {"a": 1}
    assert same is blobs
    assert open_(None)[0].get("q", "plan", 0) is None


# --- Blobs ----------------------------------------------------------------------------------------------------------


def names(version: int, shards: int = 4) -> list[BlobName]:
    return [BlobName("q", "op0", s, version, 1, 0) for s in range(shards)]


def packs(path: Path) -> list[Path]:
    return sorted((path / "q" / "state").glob("*.pack"))


def test_one_put_is_one_file_and_purged_packs_go(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    for version in range(3):
        store.put(dict.fromkeys(names(version), b"x" * 100))
    assert len(packs(tmp_path)) == 3
    store.purge(names(0)[:3])
    assert len(packs(tmp_path)) == 3, "one blob of it still counts"
    store.purge(names(0)[3:])
    assert len(packs(tmp_path)) == 2
    DirectoryStore(tmp_path).purge([*names(1), *names(2)])
    assert packs(tmp_path) == []


def test_many_batches_leave_nothing_in_memory(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)

    def batches(numbers: range) -> int:
        for n in numbers:
            blob = BlobName("q", "op0", 0, n, 1, 1)
            store.put({blob: b"x"})
            store.purge([blob])
        store.sync()
        gc.collect()
        return len(pickle.dumps(store._packs.of("q").__dict__))

    assert batches(range(10)) == batches(range(10, 300))
    assert list((tmp_path / "q" / "state").iterdir()) == []


def test_a_torn_pack_at_the_end_is_passed_over(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put(dict.fromkeys(names(0), b"whole"))
    store.put(dict.fromkeys(names(1), b"torn" * 100))
    last = packs(tmp_path)[-1]
    for size in (0, 5, 300, last.stat().st_size - 1):
        os.truncate(last, size) if size < last.stat().st_size else None
        fresh = DirectoryStore(tmp_path)
        assert fresh.names("q") == names(0)
        assert fresh.get(names(0)) == dict.fromkeys(names(0), b"whole")
    fresh.put(dict.fromkeys(names(1), b"again"))
    assert fresh.get(names(1)) == dict.fromkeys(names(1), b"again")


def test_a_damaged_blob_is_named(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put({name: b"content-%d" % name.shard for name in names(0)})
    pack = packs(tmp_path)[0]
    pack.write_bytes(pack.read_bytes().replace(b"content-2", b"c0ntent-2"))
    fresh = DirectoryStore(tmp_path)
    assert fresh.get(names(0)[:2])
    with pytest.raises(
        CorruptCheckpointError, match=rf"{pack}: blob q/op0/2/.*checksum.*restore it from a copy"
    ):
        fresh.get(names(0))
    pack.unlink()
    with pytest.raises(CorruptCheckpointError, match="the file is gone"):
        fresh.get(names(0)[:1])


def test_query_ids_that_no_directory_can_have(tmp_path: Path) -> None:
    log, store = open_(str(tmp_path))
    generation = log.acquire("one")
    for query in ("a/b", "lease", "..", "ü x", "sources"):
        log.put_new(query, "plan", 0, {"q": query}, generation)
        name = BlobName(query, "op0", 0, 0, 1, 0)
        store.put({name: query.encode()})
        assert log.get(query, "plan", 0) == {"q": query}
        assert store.get([name]) == {name: query.encode()}
        assert store.names(query) == [name]


FULL_DISK = """
import resource, sys
from tidemill.checkpoint.files import DirectoryLog
from tidemill.errors import CheckpointError
from tidemill.state.base import BlobName
from tidemill.state.files import DirectoryStore
log = DirectoryLog(sys.argv[1])
generation = log.acquire("one")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # cuts a write short first, as a disk does that fills up
store = DirectoryStore(log.path)
blob = BlobName("q", "op0", 0, 0, 1, 1)
for write in (
    lambda: log.put_new("q", "plan", 0, {"ends": "x" * 2000}, generation),
    lambda: store.put({blob: bytes(2000)}),
):
    try:
        write()
        print("no error")
    except CheckpointError as error:
        print(error)
"""


def test_what_a_full_disk_cut_short_is_no_entry_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert "plan/0.json cannot be written: File too large; make room" in said[0]
    assert ".pack cannot be written: File too large; make room" in said[1]
    left = {os.path.join(where, name) for where, _, names in os.walk(tmp_path / "q") for name in names}
    assert left == set()
    log = DirectoryLog(tmp_path)
    log.put_new("q", "plan", 0, {"again": True}, log.acquire("two"))
    assert log.get("q", "plan", 0) == {"again": True}


def test_a_disk_that_fails_to_sync_lets_go_of_every_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DirectoryLog(tmp_path)
    generation = log.acquire("one")
    store = DirectoryStore(tmp_path)
    store.put({BlobName("q", "op0", 0, 0, 1, 1): b"x"})
    for n in range(3):
        log.put_new("q", "plan", n, {}, generation)
    syncs: list[int] = []

    def fail(descriptor: int) -> None:
        syncs.append(descriptor)
        if len(syncs) != 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match="Input/output error; make room on its file system or mend it"):
        log.put_new("q", "prepared", 0, {}, generation)
    with pytest.raises(CheckpointError, match="Input/output error"):
        store.sync()
    monkeypatch.undo()
    reused = [os.open(tmp_path, os.O_RDONLY) for _ in range(8)]
    log.close()
    store.close()
    for descriptor in reused:
        os.close(descriptor)  # nobody has closed them in our place
    DirectoryLog(tmp_path).acquire("two")


def test_entries_of_a_dead_process_are_made_durable_before_anything_builds_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = DirectoryLog(tmp_path)
    generation = before.acquire("one")
    for kind, n in (("query", 0), ("plan", 0), ("prepared", 0), ("commit", 0), ("plan", 1)):
        before.put_new("q", kind, n, {}, generation)  # type: ignore[arg-type]
    before.close()
    synced: set[str] = set()
    after = DirectoryLog(tmp_path)
    after.acquire("two")
    monkeypatch.setattr(
        os,
        "fsync",
        lambda d: synced.add(os.path.relpath(os.readlink(f"/proc/self/fd/{d}"), tmp_path)),
    )
    after.harden("q")
    assert synced >= {"q/plan/1.json", "q/commit/0.json", "q/prepared/0.json", "q/query/0.json"}
    assert synced >= {"q/plan", "q/commit", "q/prepared", "q/query", "q", "."}
