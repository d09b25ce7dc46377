"""Commands to Redis that are tried again until they are answered, whichever server is the primary by then.

Every command that goes through `Client.run` must be one that does no harm if it runs twice: an answer that is lost on
its way looks like a command that never came.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tidemill.checkpoint.redisurl import Address
from tidemill.errors import CheckpointError, NotReplicatedError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.cluster import ClusterNode, RedisCluster
    from redis.exceptions import (
        AskError,
        AuthenticationError,
        AuthorizationError,
        ConnectionError,
        MovedError,
        NoPermissionError,
        RedisClusterException,
        RedisError,
        ResponseError,
        TimeoutError,
    )
    from redis.retry import Retry
    from redis.sentinel import MasterNotFoundError, Sentinel
except ImportError as missing:
    raise CheckpointError(
        "a checkpoint in Redis needs the package redis; install it with: pip install 'tidemill[redis]'"
    ) from missing

log = logging.getLogger("tidemill.redis")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds between tries; each pause is twice the one before. A failover takes seconds, a lost connection nothing."""
TRIP_BYTES = 32 << 20
"""A pipeline holds no more than this at a time: the server buffers what it has not worked off yet."""
_TEMPORARY = (
    "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "OOM", "BUSY", "MISCONF", "UNBLOCKED",
)  # fmt: skip
"""Refusals that end by themselves, or when someone mends the server."""


class Command(NamedTuple):
    """One command; ``key`` decides which server of a cluster gets it."""

    key: str
    words: tuple[Any, ...]


def command(name: str, key: str, *arguments: Any) -> Command:
    return Command(key, (name, key, *arguments))


def script(text: str, keys: Sequence[str], *arguments: Any) -> Command:
    """A Lua script; its keys share a slot. (A pipeline of redis-py's cluster client refuses ``eval``; ours are plain.)"""
    return Command(keys[0], ("EVAL", text, len(keys), *keys, *arguments))


class _Refused(Exception):
    """Not to be tried again."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _TooFewReplicas(Exception):
    """The primary has the writes, and not enough replicas said that they have them."""


class Client:
    """Connections to one place. Safe to use from several threads. ``run`` is all that there is to it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._redis: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._away_since: float | None = None

    def run(
        self,
        commands: Sequence[Command],
        durable: bool = False,
        patience: float | None = None,
    ) -> list[Any]:
        """The answers, in one round trip to each server concerned.

        ``durable``: return once the replicas that the location asks for have the writes. Tries again for ``patience``
        seconds (by default the location's); then raises `CheckpointError` with the remedy.
        """
        answers: list[Any] = [None] * len(commands)
        for trip in _trips(commands):
            self._trip(commands, trip, answers, durable and self.address.settings.replicas > 0, patience)
        for each, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Exception):
                raise explained(answer, self.address, f" ({each.words[0]} {each.key})") from answer
        return answers

    def one(self, what: Command, durable: bool = False, patience: float | None = None) -> Any:
        return self.run([what], durable, patience)[0]

    def close(self) -> None:
        """Drop the connections; they are made anew if there is more to do."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False)
                self._threads = None
            client, self._redis = self._redis, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    # One trip, until it is through

    def _trip(
        self,
        commands: Sequence[Command],
        trip: list[int],
        answers: list[Any],
        durable: bool,
        patience: float | None,
    ) -> None:
        limit = self.address.settings.patience if patience is None else patience
        deadline, pause = time.monotonic() + limit, FIRST_PAUSE
        asked: dict[int, str] = {}
        while trip:
            trip, error = self._try(commands, trip, answers, durable, asked)
            if error is None:
                break
            if isinstance(error, _Refused):
                raise explained(error.error, self.address) from error.error
            self._say_away(error, limit)
            if time.monotonic() + pause > deadline:
                raise self._given_up(error, limit) from error
            if not isinstance(error, AskError):
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        self._say_back()

    def _try(
        self,
        commands: Sequence[Command],
        trip: list[int],
        answers: list[Any],
        durable: bool,
        asked: dict[int, str],
    ) -> tuple[list[int], Exception | None]:
        """One try: what has to be tried again, and why."""
        try:
            groups = self._groups(commands, trip, asked)
        except (RedisError, RedisClusterException, OSError) as error:
            return trip, self._classified(error)
        left: list[int] = []
        why: Exception | None = None
        asked.clear()
        for numbers, outcome in self._side_by_side(commands, groups, durable):
            problem = self._settle(numbers, outcome, answers, asked)
            if problem is not None:
                left += numbers
                why = problem if why is None or isinstance(problem, _Refused) else why
        return sorted(left), why

    def _settle(
        self, numbers: list[int], outcome: list[Any] | Exception, answers: list[Any], asked: dict[int, str]
    ) -> Exception | None:
        """Keep a group's answers, or say why the whole group has to be tried again."""
        if isinstance(outcome, Exception):
            return self._classified(outcome)
        for number, answer in zip(numbers, outcome, strict=True):
            if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                asked[number] = f"{answer.host}:{answer.port}"
                return answer
            if isinstance(answer, Exception):
                error = self._classified(answer)
                if error is not None:
                    return error
            answers[number] = answer
        return None

    def _classified(self, error: Exception) -> Exception | None:
        """The error as one to try again after, a `_Refused`, or None: it is an answer."""
        if (
            isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError))
            or _is_tls(error)
            or "can't run this command" in str(error)
        ):
            return _Refused(error)
        if isinstance(error, MovedError):
            self._forget_servers()
            return error
        if isinstance(error, ResponseError) and not isinstance(error, ConnectionError):
            words = str(error).split(None, 1) or [""]
            temporary = type(error).__name__ in _TEMPORARY_CLASSES or words[0] in _TEMPORARY
            if not temporary and "OOM" not in str(error) and "READONLY" not in str(error):
                return None
        if not isinstance(error, (_TooFewReplicas,)):
            self._forget_servers()
        return error

    def _forget_servers(self) -> None:
        """Connect anew: the primary may be another one by now, and a name may mean another host. What other threads
        are using is left to them."""
        with self._lock:
            client = self._redis
            if isinstance(client, RedisCluster):
                self._redis = None
                return
        if client is not None:
            with contextlib.suppress(Exception):
                client.connection_pool.disconnect(inuse_connections=False)

    # Which server

    def _groups(
        self, commands: Sequence[Command], trip: list[int], asked: dict[int, str]
    ) -> list[tuple[Any, list[int], bool]]:
        """(connection pool of a server, numbers of the commands, whether to say ASKING)"""
        client = self.client()
        if not isinstance(client, RedisCluster):
            return [(client, trip, False)]
        by_node: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for number in trip:
            other = asked.get(number)
            node = other or client.get_node_from_key(commands[number].key).name
            by_node[node, other is not None].append(number)
        return [
            (client.get_redis_connection(client.get_node(node_name=node)), numbers, asking)
            for (node, asking), numbers in by_node.items()
        ]

    def _side_by_side(
        self, commands: Sequence[Command], groups: list[tuple[Any, list[int], bool]], durable: bool
    ) -> Iterator[tuple[list[int], list[Any] | Exception]]:
        def send(group: tuple[Any, list[int], bool]) -> list[Any] | Exception:
            client, numbers, asking = group
            try:
                return self._send(client, [commands[n] for n in numbers], asking, durable)
            except (RedisError, RedisClusterException, OSError, _TooFewReplicas) as error:
                return error

        if len(groups) == 1:
            outcomes: Sequence[list[Any] | Exception] = [send(groups[0])]
        else:
            outcomes = list(self._pool().map(send, groups))
        return iter([(numbers, outcome) for (_, numbers, _), outcome in zip(groups, outcomes, strict=True)])

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(8, thread_name_prefix="tidemill-redis")
            return self._threads

    def _send(self, client: Any, commands: list[Command], asking: bool, durable: bool) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        settings = self.address.settings
        for each in commands:
            if asking:
                pipeline.execute_command("ASKING")
            pipeline.execute_command(*each.words)
        if durable:
            # WAIT asks for what this connection has written, and a command that found its work done already wrote
            # nothing. So write something.
            tag = commands[0].key.partition("}")[0]
            pipeline.execute_command("SET", f"{tag}}}:synced", 1, "PX", 60_000)
            pipeline.execute_command("WAIT", settings.replicas, int(settings.wait * 1000))
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        if durable:
            answers, tail = answers[:-2], answers[-2:]
            if not any(isinstance(a, Exception) for a in answers):
                self._check_replicas(*tail)
        return answers[1::2] if asking else answers

    def _check_replicas(self, written: Any, acknowledged: Any) -> None:
        for answer in (written, acknowledged):
            if isinstance(answer, Exception):
                raise answer
        if acknowledged < self.address.settings.replicas:
            raise _TooFewReplicas(
                f"{acknowledged} of {self.address.settings.replicas} replicas have acknowledged a write"
            )

    def client(self) -> Any:
        """The client of redis-py behind this one."""
        with self._lock:
            if self._redis is None:
                self._redis = _connected(self.address)
            return self._redis

    # What is said

    def _say_away(self, error: Exception, limit: float) -> None:
        if self._away_since is None and not isinstance(error, (MovedError, AskError)):
            self._away_since = time.monotonic()
            log.warning(
                "Redis %s does not do its work (%s); trying again for up to %g s",
                self.address.server,
                _words(error),
                limit,
            )

    def _say_back(self) -> None:
        if self._away_since is not None:
            away, self._away_since = time.monotonic() - self._away_since, None
            log.warning("Redis %s is back after %.1f s", self.address.server, away)

    def _given_up(self, error: Exception, limit: float) -> CheckpointError:
        return explained(error, self.address, f" within {limit:g} s")


_TEMPORARY_CLASSES = (
    "ReadOnlyError", "OutOfMemoryError", "BusyLoadingError", "ClusterDownError", "MasterDownError", "TryAgainError",
)  # fmt: skip
"""redis-py takes the first word off these."""


def _trips(commands: Sequence[Command]) -> Iterator[list[int]]:
    trip: list[int] = []
    size = 0
    for number, each in enumerate(commands):
        length = sum(len(w) for w in each.words if isinstance(w, (bytes, memoryview)))
        if trip and size + length > TRIP_BYTES:
            yield trip
            trip, size = [], 0
        trip.append(number)
        size += length
    if trip:
        yield trip


# --- Connecting -----------------------------------------------------------------------------------------------------


def _connected(address: Address) -> Any:
    settings = address.settings
    common: dict[str, Any] = {
        "username": address.username or None,
        "password": address.password or None,
        "socket_connect_timeout": settings.timeout,
        # An answer to WAIT comes late.
        "socket_timeout": settings.timeout + (settings.wait if settings.replicas else 0),
        "socket_keepalive": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    common |= _tls(address)
    make: Callable[[Address, dict[str, Any]], Any] = {
        "single": _single,
        "sentinel": _sentinel,
        "cluster": _cluster,
    }[address.mode]
    return make(address, common)


def _tls(address: Address) -> dict[str, Any]:
    settings = address.settings
    if not address.tls:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": settings.ssl_ca_certs or None,
        "ssl_certfile": settings.ssl_certfile or None,
        "ssl_keyfile": settings.ssl_keyfile or None,
        "ssl_check_hostname": settings.ssl_check_hostname,
    }


def _single(address: Address, common: dict[str, Any]) -> Any:
    host, port = address.nodes[0]
    return redis.Redis(host=host, port=port, db=address.db, **common)


def _sentinel(address: Address, common: dict[str, Any]) -> Any:
    settings = address.settings
    own = {
        **common,
        "username": settings.sentinel_username or None,
        "password": settings.sentinel_password or None,
    }
    sentinels = Sentinel(list(address.nodes), sentinel_kwargs=own, **common)
    return sentinels.master_for(address.service, db=address.db)


def _cluster(address: Address, common: dict[str, Any]) -> Any:
    nodes = [ClusterNode(host, port) for host, port in address.nodes]
    return RedisCluster(startup_nodes=nodes, **common)


# --- Errors ---------------------------------------------------------------------------------------------------------


def explained(error: Exception, address: Address, how_long: str = "") -> CheckpointError:
    """The error in our words, with what can be done about it."""
    where = f"Redis {address.server}"
    text = _words(error)
    if isinstance(error, (AuthenticationError, AuthorizationError)) or "NOAUTH" in text:
        return CheckpointError(f"{where} refuses {_who(address)}: {text}; {_CREDENTIALS}")
    if isinstance(error, NoPermissionError) or "can't run this command" in text:
        return CheckpointError(
            f"{where} does not permit {_who(address)} what a checkpoint needs: {text}; {PERMIT}"
        )
    if _is_tls(error):
        return CheckpointError(
            f"{where} cannot be spoken to over TLS: {text}; "
            "?ssl_ca_certs= names the file that vouches for the server, ?ssl_certfile= and ?ssl_keyfile= our own, and "
            "redis:// speaks without TLS"
        )
    if isinstance(error, _TooFewReplicas):
        return NotReplicatedError(
            f"{where}: {text}{how_long}; bring its replicas back, or ask for fewer with ?replicas=, and start the "
            "query again: it goes on from the last batch that was acknowledged"
        )
    if "OOM" in text or type(error).__name__ == "OutOfMemoryError":
        return CheckpointError(
            f"{where} is full{how_long and f', and was not relieved{how_long}'}: {text}; raise its maxmemory, or make "
            "room (docs/redis.md says how much a state takes), then start the query again"
        )
    if isinstance(error, MasterNotFoundError):
        return CheckpointError(
            f"{where}: the Sentinels name no primary for the service {address.service!r}{how_long}: {text}; "
            "is the service's name right, and is its primary up?"
        )
    return CheckpointError(
        f"{where} did not do its work{how_long}: {text}; is the address right, and is the server up, reachable from "
        "here, and not in need of rediss:// or a password?"
    )


PERMIT = (
    "permit it with ACL SETUSER <user> ~tidemill:* +ping +info +wait +eval +get +set +pttl +exists +del +hget +hset "
    "+hsetnx +hmget +hkeys +hvals +hlen +hexists +hstrlen +hgetall +hincrby +hdel +sadd +srem +smembers (and "
    "+select for another database than 0, +cluster +command +asking in a cluster)"
)
_CREDENTIALS = (
    "write redis://user:password@host (with a password of special characters percent-encoded), and see that the server "
    "knows the user"
)


def _who(address: Address) -> str:
    return f"user {address.username!r}" if address.username else "the default user"


def _is_tls(error: BaseException | None) -> bool:
    import ssl

    seen = 0
    while error is not None and seen < 5:
        if isinstance(error, ssl.SSLError) and not isinstance(
            error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)
        ):
            return True
        if isinstance(error, FileNotFoundError):
            return True  # a file of certificates
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _words(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return "no answer in time" if isinstance(error, TimeoutError) and "imeout" in text else text
