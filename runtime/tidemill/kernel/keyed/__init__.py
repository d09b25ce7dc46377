"""Keyed state: one structure for aggregation, deduplication and joins, whose cost follows the batch."""

from tidemill.kernel.keyed.delta import Delta, ShardDelta, decode_delta
from tidemill.kernel.keyed.expiry import NEVER
from tidemill.kernel.keyed.table import KeyedTable

__all__ = ["NEVER", "Delta", "KeyedTable", "ShardDelta", "decode_delta"]
