"""Which checkpoints a Redis holds."""

from __future__ import annotations

from tidemill.checkpoint.redischecks import OPENING_PATIENCE
from tidemill.checkpoint.redisclient import Client, command
from tidemill.checkpoint.redislease import CHECKPOINTS
from tidemill.checkpoint.redisurl import join, parse


def names(location: str) -> list[str]:
    """The locations of the checkpoints at and below ``location``, with its settings and credentials."""
    address = parse(location)
    client = Client(address)
    try:
        patience = min(address.settings.patience, OPENING_PATIENCE)
        known = sorted(n.decode() for n in client.one(command("SMEMBERS", CHECKPOINTS), patience=patience))
    finally:
        client.close()
    if not address.name:
        return [join(location, name) for name in known]
    below = [name for name in known if name.startswith(f"{address.name}/")]
    here = [location] if address.name in known else []
    return here + [join(location, name.removeprefix(f"{address.name}/")) for name in below]
