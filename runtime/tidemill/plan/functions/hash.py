"""Hashes: Spark's own Murmur3 and xxHash64, and the cryptographic ones."""

from __future__ import annotations

from tidemill.errors import AnalysisException
from tidemill.plan.functions.registry import Call, special
from tidemill.plan.typed import Typed
from tidemill.types import (
    BinaryType,
    DayTimeIntervalType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    StringType,
    YearMonthIntervalType,
)


def _bytes(call: Call) -> Typed:
    """Text hashes as its UTF-8 bytes."""
    value = call.arg(0)
    if isinstance(value.type, BinaryType):
        return value
    if not isinstance(value.type, (StringType, NullType)):
        raise call.mismatch("be text or binary")
    text = call.coerced(0, StringType())
    return Typed(f"encode({text.sql})", BinaryType(), text.nullable)


@special("md5", least=1, most=1)
def _md5(call: Call) -> Typed:
    value = _bytes(call)
    return Typed(f"md5({value.sql})", StringType(), value.nullable)


@special("sha sha1", least=1, most=1)
def _sha1(call: Call) -> Typed:
    value = _bytes(call)
    return Typed(f"sha1({value.sql})", StringType(), value.nullable)


@special("sha2", least=2, most=2)
def _sha2(call: Call) -> Typed:
    value, bits = _bytes(call), call.coerced(1, IntegerType())
    if bits.value in (0, 256):
        return Typed(f"sha256({value.sql})", StringType(), value.nullable)
    return Typed(f"tm_sha2({value.sql}, {bits.sql})", StringType(), True)


@special("crc32", least=1, most=1)
def _crc32(call: Call) -> Typed:
    value = _bytes(call)
    return Typed(f"tm_crc32({value.sql})", LongType(), value.nullable)


@special("hash", least=1)
def _hash(call: Call) -> Typed:
    return Typed(f"tm_hash({_hashed(call)})", IntegerType(), False)


@special("xxhash64", least=1)
def _xxhash64(call: Call) -> Typed:
    return Typed(f"tm_xxhash64({_hashed(call)})", LongType(), False)


def _hashed(call: Call) -> str:
    if any(isinstance(a.type, MapType) for a in call.args):
        raise AnalysisException(
            f"{call.name}() cannot take maps, whose entries have no order; hash map_entries() sorted",
            "DATATYPE_MISMATCH.HASH_MAP_TYPE",
        )
    return ", ".join(_plain(a) for a in call.args)


def _plain(value: Typed) -> str:
    """Spark hashes an interval as its microseconds or months."""
    if isinstance(value.type, DayTimeIntervalType):
        return f"epoch_us({value.sql})"
    if isinstance(value.type, YearMonthIntervalType):
        return f"CAST(date_part('year', {value.sql}) * 12 + date_part('month', {value.sql}) AS INTEGER)"
    return value.sql
