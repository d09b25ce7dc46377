"""Where a checkpoint lies in Redis, as a URL:

    redis://[user:password@]host[:6379]/<db>/<name>             one server
    redis+sentinel://[...@]host[:26379],host/<service>/<db>/<name>   the primary that Sentinels name
    redis+cluster://[...@]host[:6379],host/<name>               a Redis Cluster

``rediss`` in place of ``redis`` speaks TLS. ``<db>`` may be left out (0) unless the name begins with a number; the name
may hold slashes. Settings follow as ``?patience=60&replicas=1``: see `Settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal
from urllib.parse import parse_qsl, quote, unquote

from tidemill.errors import CheckpointError, did_you_mean

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
Mode = Literal["single", "sentinel", "cluster"]
_FORMS: Mapping[Mode, str] = {
    "single": "redis://[user:password@]host:6379/0/<name>",
    "sentinel": "redis+sentinel://[user:password@]host:26379,host:26379/<service>/0/<name>",
    "cluster": "redis+cluster://[user:password@]host:6379,host:6379/<name>",
}


@dataclass(frozen=True)
class Settings:
    """What may follow the ``?``; times are in seconds."""

    patience: float = 60.0
    """How long a call tries again while Redis is away, loading, full or failing over, before the query fails."""
    timeout: float = 5.0
    """Of a connection, and of one answer."""
    lease: float = 10.0
    """How long a driver that went silent keeps others out. Renewed every third of it."""
    replicas: int = 0
    """Replicas that must have a write before anything relies on it. 0: the primary's word is enough."""
    wait: float = 3.0
    """How long one try waits for them."""
    ssl_ca_certs: str = ""
    """File with the certificates that vouch for the server. Empty: those of the system."""
    ssl_certfile: str = ""
    """Our own certificate, where the server asks for one, and its key."""
    ssl_keyfile: str = ""
    ssl_check_hostname: bool = True
    sentinel_username: str = ""
    """Where the Sentinels ask for a password of their own."""
    sentinel_password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Address:
    """A parsed location. Nothing here prints a password."""

    mode: Mode
    nodes: tuple[tuple[str, int], ...]
    name: str = ""
    """Of the checkpoint; empty: the server itself."""
    db: int = 0
    service: str = ""
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    settings: Settings = Settings()

    def __str__(self) -> str:
        """The location without user, password and settings."""
        return f"{self.server}/{self.name}" if self.name else self.server

    @property
    def server(self) -> str:
        """The location without the checkpoint's name."""
        scheme = f"redis{'s' * self.tls}{'' if self.mode == 'single' else f'+{self.mode}'}"
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.nodes)
        below = {"single": f"/{self.db}", "sentinel": f"/{self.service}/{self.db}", "cluster": ""}[self.mode]
        return f"{scheme}://{hosts}{below}"

    def key(self, *parts: object) -> str:
        """A key in the slot that the log of this checkpoint shares."""
        return ":".join([f"tidemill:{{{quoted(self.name)}}}", *map(str, parts)])

    def below(self, name: str) -> Address:
        """The address of another checkpoint on the same server."""
        return replace(self, name=name)


def is_redis(location: str) -> bool:
    """Whether a location is meant for Redis, however wrong the rest of it may be."""
    return location.partition("://")[0] in SCHEMES


def quoted(name: str) -> str:
    """A name as it stands in keys: no braces, which would choose the slot, and no colons, which end it."""
    return quote(name, safe="/")


def join(location: str, *names: str) -> str:
    """The location of what lies below another: names go before the settings, and after the database.

    >>> join("redis://host?patience=5", "default/web-logs", "hits")
    'redis://host/0/default/web-logs/hits?patience=5'
    """
    parse(location)
    head, mark, settings = location.partition("?")
    scheme, _, rest = head.partition("://")
    hosts, _, path = rest.partition("/")
    parts = [p for p in path.split("/") if p]
    fixed = 1 if scheme.endswith("+sentinel") else 0
    if not scheme.endswith("+cluster") and not _is_number(parts[fixed : fixed + 1]):
        parts.insert(fixed, "0")
    return f"{scheme}://{'/'.join([hosts, *parts, *(quote(n, safe='/') for n in names)])}{mark}{settings}"


def parse(location: str) -> Address:
    """The address; raises `CheckpointError` that says which part is wrong."""
    scheme, _, rest = location.partition("://")
    kind, _, suffix = scheme.partition("+")
    mode: Mode = "single" if not suffix else "sentinel" if suffix == "sentinel" else "cluster"
    rest, _, settings = rest.partition("?")
    hosts, _, path = rest.partition("/")
    credentials, _, hosts = hosts.rpartition("@")
    user, _, password = credentials.partition(":")
    parts = [unquote(p) for p in path.split("/") if p]
    service = _service(parts, hosts) if mode == "sentinel" else ""
    db = int(parts.pop(0)) if mode != "cluster" and _is_number(parts) else 0
    return Address(
        mode=mode,
        nodes=_nodes(hosts, mode),
        name="/".join(parts),
        db=db,
        service=service,
        tls=kind == "rediss",
        username=unquote(user),
        password=unquote(password),
        settings=_settings(settings),
    )


def _is_number(parts: list[str]) -> bool:
    return bool(parts) and parts[0].isdecimal()


def _service(parts: list[str], hosts: str) -> str:
    if not parts:
        raise CheckpointError(
            f"checkpoint location redis+sentinel://{hosts}: the name of the service that the Sentinels watch is "
            f"missing; write {_FORMS['sentinel']}"
        )
    return parts.pop(0)


def _nodes(hosts: str, mode: Mode) -> tuple[tuple[str, int], ...]:
    default = 26379 if mode == "sentinel" else 6379
    found = tuple(_node(host, default, mode) for host in hosts.split(","))
    if mode == "single" and len(found) > 1:
        raise CheckpointError(
            f"checkpoint location redis://{hosts}: one server is one host; write redis+sentinel:// or redis+cluster:// "
            "for several"
        )
    return found


def _node(text: str, default: int, mode: Mode) -> tuple[str, int]:
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise CheckpointError(
            f"checkpoint location: {text!r} is no host and port of a Redis server; write {_FORMS[mode]}"
        )
    return host, int(port) if port else default


def _settings(text: str) -> Settings:
    known = {f.name: f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known:
            raise CheckpointError(
                f"checkpoint location: {name!r} is no setting of a checkpoint in Redis"
                f"{did_you_mean(name, known) or f'; known: {chr(44).join(known)}'}"
            )
        values[name] = _value(name, value, getattr(Settings, name))
    return Settings(**values)


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise CheckpointError(f"checkpoint location: {name}={text} is neither true nor false")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        number = type(default)(text)
    except ValueError:
        number = -1
    if number < 0 or (number == 0 and name != "replicas"):
        what = "a number of replicas" if name == "replicas" else "a number of seconds above 0"
        raise CheckpointError(f"checkpoint location: {name}={text} is not {what}")
    return number
