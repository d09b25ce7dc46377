"""Where sources remember what their offsets do not say, in Redis: a hash from n to the entry, fenced like the log."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from tidemill.checkpoint.redisclient import command
from tidemill.errors import CorruptCheckpointError
from tidemill.sources.base import SourceLog

if TYPE_CHECKING:
    from tidemill.checkpoint.redis import RedisLog

_FENCE = """
local g = redis.call('HMGET', KEYS[1], 'token', 'writes', 'number', 'holder')
if g[1] ~= ARGV[1] then return {'fenced', g[3] or '0', g[4] or '{}'} end
local writes = tonumber(g[2] or '0')
if writes < tonumber(ARGV[3]) then return {'lost', writes} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
"""
_PUT = f"""{_FENCE}
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
return {{'ok'}}
"""
_COMPACT = f"""{_FENCE}
for _, n in ipairs(redis.call('HKEYS', KEYS[3])) do
  if tonumber(n) < tonumber(ARGV[4]) then redis.call('HDEL', KEYS[3], n) end
end
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
return {{'ok'}}
"""
"""One script: after a crash either the entries are there or the one that stands for them."""


class RedisSourceLog(SourceLog):
    """Of one source of the query whose log is ``log``; it writes under that log's lease."""

    def __init__(self, log: RedisLog, index: int) -> None:
        self._log = log
        self._key = log.client.address.key("sources", index)

    def put(self, n: int, entry: list[Any]) -> None:
        self._write(_PUT, n, entry)

    def compact(self, n: int, entry: list[Any]) -> None:
        self._write(_COMPACT, n, entry)

    def _write(self, script: str, n: int, entry: list[Any]) -> None:
        body = json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()
        data = b"%08x\n" % zlib.crc32(body) + body
        # Not durable by itself: the plan entry comes after it, and what makes that durable makes this one.
        self._log.write(script, self._key, self._log.generation, False, n, data)

    def read(self) -> list[tuple[int, list[Any]]]:
        found = self._log.client.one(command("HGETALL", self._key))
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return sorted((int(n), self._decoded(int(n), data)) for n, data in pairs)

    def _decoded(self, n: int, data: bytes) -> list[Any]:
        checksum, _, body = data.partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(body):
            raise CorruptCheckpointError(
                f"source log entry {n} of checkpoint {self._log.client.address} (key {self._key}) is not what was "
                f"written (checksum {checksum.decode(errors='replace')} differs); restore the checkpoint from a copy, "
                "or start with a new one"
            )
        entry: list[Any] = json.loads(body)
        return entry
