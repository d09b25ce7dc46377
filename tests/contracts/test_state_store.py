"""What every state store promises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill.checkpoint import open_
from tidemill.errors import CheckpointError, CorruptCheckpointError
from tidemill.state.base import BlobName, StateStore
from tidemill.state.files import DirectoryStore
from tidemill.state.memory import MemoryStore

Open = Callable[[], StateStore]


@pytest.fixture(params=["memory", "directory", pytest.param("redis", marks=pytest.mark.redis)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "redis":
        location = request.getfixturevalue("redis").location()
        return lambda: open_(location)[1]
    memory = MemoryStore()
    return (lambda: memory) if request.param == "memory" else (lambda: DirectoryStore(tmp_path))


def blob(shard: int, version: int = 0, query: str = "q", kind: str = "delta", attempt: int = 0) -> BlobName:
    return BlobName(query, "op0", shard, version, 1, attempt, kind)


def test_blobs_come_back_whoever_asks(open_store: Open) -> None:
    store = open_store()
    blobs = {blob(s): bytes([s]) * s for s in range(5)} | {blob(0, query="r"): b"other"}
    store.put(blobs)
    assert all(size > 0 for name, size in store.sizes(blobs).items() if name.shard)
    store.sync()
    store.close()
    assert open_store().get(blobs) == blobs
    assert open_store().names("q") == sorted(b for b in blobs if b.query == "q")
    assert open_store().names("nobody") == []


def test_a_name_is_written_once(open_store: Open) -> None:
    store = open_store()
    store.put({blob(0): b"a"})
    store.put({blob(0): b"a", blob(1): b"b"})
    with pytest.raises(CheckpointError, match="exists with other content"):
        store.put({blob(0): b"x"})
    assert store.get([blob(0), blob(1)]) == {blob(0): b"a", blob(1): b"b"}


def test_attempts_and_kinds_do_not_meet(open_store: Open) -> None:
    store = open_store()
    blobs = {blob(0): b"a", blob(0, attempt=1): b"b", blob(0, kind="snapshot"): b"c"}
    for name, data in blobs.items():
        store.put({name: data})
    assert store.get(blobs) == blobs


def test_a_missing_blob_is_named(open_store: Open) -> None:
    with pytest.raises(CorruptCheckpointError, match="q/op0/7/"):
        open_store().get([blob(7)])


def test_what_is_purged_is_gone(open_store: Open) -> None:
    store = open_store()
    store.put({blob(0): b"a", blob(1): b"b"})
    store.purge([blob(0), blob(9)])
    store.purge([blob(0)])
    assert store.names("q") == [blob(1)]
    assert store.get([blob(1)]) == {blob(1): b"b"}
    with pytest.raises(CorruptCheckpointError):
        store.get([blob(0)])


def test_another_process_sees_what_was_put_since(open_store: Open) -> None:
    reader = open_store()
    assert reader.names("q") == []
    open_store().put({blob(3): b"new"})
    assert reader.get([blob(3)]) == {blob(3): b"new"}
    assert reader.names("q") == [blob(3)]


def test_threads_put_side_by_side(open_store: Open) -> None:
    store = open_store()

    def put(shard: int) -> None:
        for version in range(20):
            store.put({blob(shard, version): b"%d" % version})

    threads = [threading.Thread(target=put, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    store.sync()
    names = open_store().names("q")
    assert len(names) == 80
    assert all(data == b"%d" % name.version for name, data in open_store().get(names).items())


def test_a_blob_may_be_empty_or_large(open_store: Open) -> None:
    store = open_store()
    blobs = {blob(0): b"", blob(1): bytes(5_000_000)}
    store.put(blobs)
    assert open_store().get(blobs) == blobs
    store.put({})
