"""A checkpoint's log in Redis: all of it in one slot, each entry written by one script that checks the generation.

tidemill:{<name>}:lease, :held          see `tidemill.checkpoint.redislease`
tidemill:{<name>}:log:<query>:<kind>    the entries: a hash from n to what `entry.encode` makes
tidemill:{<name>}:sources:<i>           what source i remembers (see `tidemill.checkpoint.redissources`)
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tidemill.checkpoint.base import CheckpointLog, Kind
from tidemill.checkpoint.entry import decode, encode
from tidemill.checkpoint.redisclient import Client, command, script
from tidemill.checkpoint.redislease import CHECKPOINTS, REMEDY, RedisLease
from tidemill.checkpoint.redisurl import quoted
from tidemill.errors import CheckpointError, LostWritesError
from tidemill.sinks.base import Generation

if TYPE_CHECKING:
    from tidemill.sources.base import SourceLog

_BATCH_KINDS: tuple[Kind, ...] = ("plan", "prepared", "commit")
_CHECK = """
local g = redis.call('HMGET', KEYS[1], 'token', 'number', 'holder')
if g[1] ~= ARGV[1] then return {'fenced', g[2] or '0', g[3] or '{}'} end
return {'ok'}
"""
_PUT = """
local g = redis.call('HMGET', KEYS[1], 'token', 'writes', 'number', 'holder')
if g[1] ~= ARGV[1] then return {'fenced', g[3] or '0', g[4] or '{}'} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local writes = tonumber(g[2] or '0')
if writes < tonumber(ARGV[3]) then return {'lost', writes} end
local there = redis.call('HGET', KEYS[3], ARGV[4])
if there == ARGV[5] then return {'ok', writes} end
if there then return {'there'} end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
return {'ok', redis.call('HINCRBY', KEYS[1], 'writes', 1)}
"""
"""Renews the lease too: a driver that writes need not be asked whether it lives. What is there already with our own
content under our own generation is our own write, whose answer was lost."""

_REMOVE = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then
  local g = redis.call('HMGET', KEYS[1], 'number', 'holder')
  return {'fenced', g[1] or '0', g[2] or '{}'}
end
redis.call('DEL', unpack(KEYS))
return {'ok'}
"""
"""All of the log and its lease at once. What is gone already went by our own call, whose answer was lost."""


class RedisLog(CheckpointLog):
    """See `CheckpointLog`. Reading needs no lease."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._lease = RedisLease(client)
        self._known: dict[tuple[str, Kind], set[int]] = {}  # what `purge` listed once, kept up to date since
        self._lock = threading.RLock()

    def acquire(self, owner: str, above: int = 0) -> Generation:
        with self._lock:
            self._known.clear()
            return self._lease.acquire(owner, above)

    def held_by(self) -> str | None:
        return self._lease.held_by()

    def release(self, generation: Generation) -> None:
        if generation == self._lease.generation:
            self._lease.release()

    def check(self, generation: Generation) -> None:
        self._lease.check(generation)
        answer = self.client.one(script(_CHECK, self._lease.keys[:1], generation.token))
        if answer[0] == b"fenced":
            raise self._lease.refused(generation, int(answer[1]), answer[2])

    def put_new(self, query: str, kind: Kind, n: int, entry: dict[str, Any], generation: Generation) -> None:
        with self._lock:
            data = encode({**entry, _BY: [generation.number, generation.token]})
            # A plan is read again only by who finds no later entry; what the outside world sees builds on the others.
            durable = kind != "plan"
            answer = self.write(_PUT, self._key(query, kind), generation, durable, n, data)
            if answer[0] == b"there":
                raise CheckpointError(
                    f"checkpoint {self.client.address}: {kind} entry {n} exists already, and entries never change; two "
                    "queries with one id seem to share this checkpoint: give each a checkpoint location of its own"
                )
            self._lease.writes = int(answer[1])
            if (query, kind) in self._known:
                self._known[query, kind].add(n)

    def write(self, text: str, key: str, generation: Generation, durable: bool, *arguments: Any) -> Any:
        """Run a script that answers ``fenced`` or ``lost`` where `_PUT` does; those are raised."""
        lease = self._lease
        lease.check(generation)
        first = (generation.token, lease.milliseconds, lease.writes)
        answer = self.client.one(script(text, [*lease.keys, key], *first, *arguments), durable=durable)
        if answer[0] == b"fenced":
            raise lease.refused(generation, int(answer[1]), answer[2])
        if answer[0] == b"lost":
            raise LostWritesError(
                f"checkpoint {self.client.address}: Redis has lost {lease.writes - int(answer[1])} of "
                f"{lease.writes} entries that it had acknowledged, by a failover to a server that lagged behind or by "
                f"a restart. {REMEDY}"
            )
        return answer

    @property
    def generation(self) -> Generation:
        """The one that holds the lease here; raises `FencedError` if none does."""
        if self._lease.generation is None:
            raise self._lease.fenced(Generation(0, ""), "it holds no lease")
        return self._lease.generation

    def get(self, query: str, kind: Kind, n: int) -> dict[str, Any] | None:
        key = self._key(query, kind)
        data = self.client.one(command("HGET", key, n))
        if data is None:
            return None
        entry = decode(data, f"{self.client.address} (key {key}, field {n})")
        entry.pop(_BY, None)
        return entry

    def latest(self, query: str, kind: Kind) -> int | None:
        return max(self.numbers(query, kind), default=None)

    def numbers(self, query: str, kind: Kind) -> list[int]:
        return sorted(int(n) for n in self.client.one(command("HKEYS", self._key(query, kind))))

    def purge(self, query: str, below: int) -> None:
        with self._lock:
            gone = []
            for kind in _BATCH_KINDS:
                if (query, kind) not in self._known:
                    self._known[query, kind] = set(self.numbers(query, kind))
                old = {n for n in self._known[query, kind] if n < below}
                if old:
                    gone.append(command("HDEL", self._key(query, kind), *sorted(old)))
                    self._known[query, kind] -= old
            self.client.run(gone)

    def source_log(self, index: int) -> SourceLog:
        from tidemill.checkpoint.redissources import RedisSourceLog

        return RedisSourceLog(self, index)

    def remove(self, query: str, sources: int, generation: Generation) -> None:
        """Delete the entries of a query, what its ``sources`` remember, and the lease, which ``generation`` holds."""
        kinds: tuple[Kind, ...] = ("query", *_BATCH_KINDS)
        logs = [self._key(query, kind) for kind in kinds]
        remembered = [self.client.address.key("sources", i) for i in range(sources)]
        what = script(_REMOVE, [*self._lease.keys, *logs, *remembered], generation.token)
        answer = self.client.one(what, durable=True)
        if answer[0] == b"fenced":
            raise self._lease.refused(generation, int(answer[1]), answer[2])
        self._lease.forget()
        self.client.one(command("SREM", CHECKPOINTS, self.client.address.name))

    def close(self) -> None:
        self._lease.release()
        self.client.close()

    def _key(self, query: str, kind: Kind) -> str:
        return self.client.address.key("log", quoted(query), kind)


_BY = "_by"
"""The generation that wrote an entry, kept in it: the same entry of another generation is another one."""
