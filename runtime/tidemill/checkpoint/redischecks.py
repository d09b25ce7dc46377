"""What is asked of a Redis before a checkpoint is kept in it."""

from __future__ import annotations

import logging
from typing import Any

from tidemill.checkpoint.redisclient import PERMIT, Client, Command, command, script
from tidemill.checkpoint.redisurl import Address
from tidemill.errors import CheckpointError

log = logging.getLogger("tidemill.redis")

OLDEST = 7
"""Major version. Older ones replicate scripts as text, and count scripts' writes otherwise than WAIT needs."""
OPENING_PATIENCE = 5.0
"""Seconds that opening waits for a server: who starts a query wants to hear soon that the address is wrong."""
FORMAT = 1
"""Of what lies in Redis; it grows when an older Tidemill could not read what a newer one writes."""


def check(client: Client) -> None:
    """Raise `CheckpointError` with the remedy if this is no Redis for checkpoints; warn of settings that lose them."""
    address = client.address
    patience = min(address.settings.patience, OPENING_PATIENCE)
    key = address.key("check")
    info = _info(client.one(Command(key, ("INFO", "everything")), patience=patience))
    _check_version(address, info)
    _check_settings(address, info)
    _check_permissions(client, key, patience)
    _check_format(client)


def _info(answer: Any) -> dict[str, str]:
    if isinstance(answer, dict):
        return {str(k): str(v) for k, v in answer.items()}
    lines = bytes(answer).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _check_version(address: Address, info: dict[str, str]) -> None:
    version = info.get("redis_version", "0")
    if int(version.partition(".")[0]) < OLDEST:
        raise CheckpointError(
            f"Redis {address.server} has version {version}, and a checkpoint needs {OLDEST}.0 or later; upgrade it, or "
            "give another server"
        )


def _check_settings(address: Address, info: dict[str, str]) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        log.warning(
            "Redis %s has maxmemory-policy %s: when it is full it throws away keys, checkpoints among them; "
            "set maxmemory-policy noeviction",
            address.server,
            policy,
        )
    if info.get("aof_enabled") == "0" and address.settings.replicas == 0:
        log.warning(
            "Redis %s has appendonly no: if it is restarted, a job loses its latest batches or all of its checkpoint; "
            "set appendonly yes, or keep replicas and give ?replicas=1",
            address.server,
        )
    if address.settings.replicas and address.mode != "cluster":
        there = int(info.get("connected_slaves", "0"))
        if there < address.settings.replicas:
            log.warning(
                "Redis %s has %d replicas, and this checkpoint wants %d: nothing commits before they are there",
                address.server,
                there,
                address.settings.replicas,
            )


def _check_permissions(client: Client, key: str, patience: float) -> None:
    """Try every command on a key of ours, and name all that are refused: one at a time would take as many starts."""
    tries = [
        script("return 1", [key]),
        *(command(*words) for words in _tries(key)),
    ]
    refused: dict[str, str] = {}
    for each in tries:
        try:
            client.one(each, patience=patience)
        except CheckpointError as error:
            if "does not permit" not in str(error):
                raise
            refused[str(each.words[0]).lower()] = str(error.__cause__ or error)
    if refused:
        user = client.address.username or "default"
        raise CheckpointError(
            f"Redis {client.address.server} does not permit user {user!r} what a checkpoint needs: "
            f"{', '.join(sorted(refused))} ({next(iter(refused.values()))}); {PERMIT}"
        )


def _tries(key: str) -> list[tuple[Any, ...]]:
    """A key for each type: several executors may be trying at the same time."""
    text, key, group = f"{key}:text", f"{key}:hash", f"{key}:set"
    return [
        ("SET", text, 1, "PX", 1000), ("GET", text), ("PTTL", text), ("EXISTS", text), ("DEL", text),
        ("HSET", key, "a", 1), ("HSETNX", key, "a", 1), ("HGET", key, "a"), ("HMGET", key, "a"), ("HGETALL", key),
        ("HKEYS", key), ("HVALS", key), ("HLEN", key), ("HEXISTS", key, "a"), ("HSTRLEN", key, "a"),
        ("HINCRBY", key, "a", 1), ("HDEL", key, "a"), ("DEL", key),
        ("SADD", group, "a"), ("SMEMBERS", group), ("SREM", group, "a"), ("DEL", group),
    ]  # fmt: skip


def _check_format(client: Client) -> None:
    key = client.address.key("lease")
    found = client.one(command("HGET", key, "format"))
    if found is not None and int(found) > FORMAT:
        raise CheckpointError(
            f"checkpoint {client.address} has format version {int(found)}, and this Tidemill reads up to {FORMAT}; "
            "install the version that wrote it, or a later one"
        )
