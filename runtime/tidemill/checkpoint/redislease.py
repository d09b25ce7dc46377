"""The lease of a checkpoint in Redis.

    tidemill:{<name>}:lease    the newest generation, who has it, and how many entries were ever written; never expires
    tidemill:{<name>}:held     the token of who holds it; expires unless it is renewed

What fences is the generation: whoever takes the lease makes it another, and an older one writes nothing more. The
expiry only says when it may be taken. So a driver whose Redis was away for longer than the lease goes on, if nobody has
come in between.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

from tidemill import logs
from tidemill.checkpoint import life
from tidemill.checkpoint.redischecks import FORMAT
from tidemill.checkpoint.redisclient import Client, command, script
from tidemill.errors import (
    CheckpointError,
    CheckpointLockedError,
    FencedError,
    LostWritesError,
    TidemillError,
)
from tidemill.sinks.base import Generation

log = logging.getLogger("tidemill.redis")

CHECKPOINTS = "tidemill:checkpoints"
"""The set of all checkpoints' names on a server, so that nothing has to look through its keys."""

_ACQUIRE = """
local held = redis.call('GET', KEYS[2])
if held == ARGV[1] then
  return {'ok', redis.call('HGET', KEYS[1], 'number'), redis.call('HGET', KEYS[1], 'writes') or '0'}
end
if held and held ~= ARGV[2] then
  return {'held', held, redis.call('HGET', KEYS[1], 'holder') or '{}', redis.call('PTTL', KEYS[2])}
end
local number = tonumber(redis.call('HGET', KEYS[1], 'number') or '0')
number = math.max(number, tonumber(ARGV[5])) + 1
redis.call('HSET', KEYS[1], 'number', number, 'token', ARGV[1], 'holder', ARGV[3], 'format', ARGV[6])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
return {'ok', number, redis.call('HGET', KEYS[1], 'writes') or '0'}
"""
_RENEW = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return {'fenced', redis.call('HGET', KEYS[1], 'number') or '0', redis.call('HGET', KEYS[1], 'holder') or '{}'}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'ok'}
"""
_RELEASE = """
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'token', '')
  redis.call('DEL', KEYS[2])
end
return {'ok'}
"""

_HELD = """
return {redis.call('GET', KEYS[2]) or '', redis.call('HGET', KEYS[1], 'holder') or '{}'}
"""


class RedisLease:
    """Renewed by a thread of its own for as long as it is held."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.generation: Generation | None = None
        self.writes = 0
        """Entries ever written, as the generation that holds the lease knows."""
        self.keys = [client.address.key("lease"), client.address.key("held")]
        self.milliseconds = int(client.address.settings.lease * 1000)
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, owner: str, above: int) -> Generation:
        token = secrets.token_hex(8)
        who = {"owner": owner, **life.ours(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        answer = self._take(token, self.generation.token if self.generation else "", who, above)
        if answer[0] == b"held" and life.is_dead(_holder(answer[2])):
            answer = self._take(token, answer[1].decode(), who, above)
        if answer[0] == b"held":
            raise self._locked(_holder(answer[2]), int(answer[3]))
        self.client.one(command("SADD", CHECKPOINTS, self.client.address.name))
        self.generation = Generation(int(answer[1]), token)
        self.writes = int(answer[2])
        self._lost = None
        self._start()
        return self.generation

    def held_by(self) -> str | None:
        token, holder = self.client.one(script(_HELD, self.keys))
        ours = self.generation.token if self.generation else ""
        if not token or token.decode() == ours or life.is_dead(_holder(holder)):
            return None
        return _described(_holder(holder))

    def _take(self, token: str, instead_of: str, who: dict[str, Any], above: int) -> Any:
        arguments = (token, instead_of, json.dumps(who), self.milliseconds, above, FORMAT)
        return self.client.one(script(_ACQUIRE, self.keys, *arguments), durable=True)

    def _locked(self, holder: dict[str, Any], left: int) -> CheckpointLockedError:
        return CheckpointLockedError(
            f"checkpoint {self.client.address} is in use by {_described(holder)}; stop it first, or give this query a "
            f"checkpoint location of its own. If it has died, its lease ends in {max(left, 0) / 1000:.1f} s"
        )

    def check(self, generation: Generation) -> None:
        """Raise `FencedError` if it is known here that ``generation`` does not hold the lease."""
        if generation != self.generation or self._lost is not None:
            raise self.fenced(generation, self._lost)

    def fenced(self, generation: Generation, what: str | None = None) -> FencedError:
        what = what or "another one was begun since, or this one was given back"
        return FencedError(
            f"generation {generation.number} no longer holds the checkpoint {self.client.address}: {what}; "
            "this query has to stop, and may be started again once the other one has stopped"
        )

    def refused(self, generation: Generation, number: int, holder: bytes) -> TidemillError:
        """Why the server holds ``generation`` for an old one."""
        if number < generation.number:
            return LostWritesError(
                f"checkpoint {self.client.address}: Redis knows generations up to {number} only, and this is "
                f"{generation.number}, which it had acknowledged: it has lost writes, by a failover or a restart. "
                f"{REMEDY}"
            )
        self._lost = f"its lease is of generation {number}, of {_described(_holder(holder))}"
        return self.fenced(generation, self._lost)

    def release(self) -> None:
        """Give the lease back, so that nobody has to wait for its end. Best effort: it ends anyway."""
        generation, self.generation = self.generation, None
        self._stop.set()
        if generation is None or self._lost is not None:
            return
        try:
            self.client.one(script(_RELEASE, self.keys, generation.token), patience=1.0)
        except CheckpointError as error:
            log.warning("the lease of %s could not be given back: %s", self.client.address, error)

    def forget(self) -> None:
        """It is gone from the server: nothing is renewed any more, and nothing to be given back."""
        self._stop.set()
        self.generation = None

    # The thread

    def _start(self) -> None:
        self._stop.set()
        self._stop = threading.Event()
        arguments = (self._stop, self.generation)
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._renew, *arguments), name="tidemill-lease", daemon=True
        )
        self._thread.start()

    def _renew(self, stop: threading.Event, generation: Generation) -> None:
        logs.bind(generation=generation.number)
        third = self.milliseconds / 3000
        while not stop.wait(third):
            try:
                what = script(_RENEW, self.keys, generation.token, self.milliseconds)
                answer = self.client.one(what, patience=third)
            except Exception as error:
                if not isinstance(error, CheckpointError) and not stop.is_set():
                    log.exception("the lease of %s could not be renewed", self.client.address)
                continue  # The next write says so too, and has more patience; the client has told the log.
            if answer[0] == b"fenced":
                if not stop.is_set():
                    log.error("%s", self.refused(generation, int(answer[1]), answer[2]))
                return


REMEDY = (
    "Output of the lost batches may have been seen already. Bring the server back that has the newest data; or start "
    "the query again: it goes on from what is left, and stops with an error where its sink can tell that the output is "
    "ahead. ?replicas=1 in the checkpoint location keeps this from happening (docs/redis.md)"
)


def _holder(text: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}


def _described(holder: dict[str, Any]) -> str:
    return (
        f"{holder.get('owner', 'another query')} (pid {holder.get('pid')} on {holder.get('host')} "
        f"since {holder.get('since')})"
    )
