"""Spark's Murmur3 (x86, 32 bits, seed 42) and xxHash64 (seed 42) over Arrow columns, vectorised with numpy.

A row's hash runs through its columns: each column's hash is seeded with that of the columns before it, and a NULL leaves
it as it is. Arrays and structs run through their elements in the same way.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.kernel.functions.rows import by_row
from tidemill.kernel.macros import KernelFunction, kernel

Array = np.ndarray[Any, Any]
SEED = 42


def _u32(value: int) -> np.uint32:
    return np.uint32(value & 0xFFFFFFFF)


def _u64(value: int) -> np.uint64:
    return np.uint64(value & 0xFFFFFFFFFFFFFFFF)


# --- Murmur3 --------------------------------------------------------------------------------------------------------


def _rotl32(x: Array, r: int) -> Array:
    return (x << _u32(r)) | (x >> _u32(32 - r))


def _mix_k1(k: Array) -> Array:
    return _rotl32(k * _u32(0xCC9E2D51), 15) * _u32(0x1B873593)


def _mix_h1(h: Array, k: Array) -> Array:
    return _rotl32(h ^ k, 13) * _u32(5) + _u32(0xE6546B64)


def _fmix(h: Array, length: Array | int) -> Array:
    h = h ^ (np.asarray(length).astype(np.uint32))
    h = (h ^ (h >> _u32(16))) * _u32(0x85EBCA6B)
    h = (h ^ (h >> _u32(13))) * _u32(0xC2B2AE35)
    return h ^ (h >> _u32(16))


class Murmur3:
    """Hashes as uint32 columns."""

    dtype = np.uint32

    @staticmethod
    def int32(values: Array, seed: Array) -> Array:
        return _fmix(_mix_h1(seed, _mix_k1(values.astype(np.int32).view(np.uint32))), 4)

    @staticmethod
    def int64(values: Array, seed: Array) -> Array:
        wide = values.astype(np.int64).view(np.uint64)
        low, high = (wide & _u64(0xFFFFFFFF)).astype(np.uint32), (wide >> _u64(32)).astype(np.uint32)
        return _fmix(_mix_h1(_mix_h1(seed, _mix_k1(low)), _mix_k1(high)), 8)

    @staticmethod
    def text(data: Array, starts: Array, sizes: Array, seed: Array) -> Array:
        """Words of four bytes, then each byte that is left as a signed number: Spark's variant."""
        found = seed.copy()
        words = sizes // 4
        for at in range(int(words.max(initial=0))):
            rows = np.flatnonzero(words > at)
            found[rows] = _mix_h1(
                found[rows], _mix_k1(_word(data, starts[rows] + 4 * at, 4).astype(np.uint32))
            )
        for at in range(3):
            rows = np.flatnonzero(sizes - words * 4 > at)
            byte = data[starts[rows] + words[rows] * 4 + at].view(np.int8).astype(np.int32).view(np.uint32)
            found[rows] = _mix_h1(found[rows], _mix_k1(byte))
        return _fmix(found, sizes)


def _word(data: Array, places: Array, size: int) -> Array:
    """Little-endian numbers of ``size`` bytes at ``places``."""
    found = np.zeros(len(places), np.uint64)
    for n in range(size):
        found |= data[places + n].astype(np.uint64) << _u64(8 * n)
    return found


# --- xxHash64 -------------------------------------------------------------------------------------------------------

_P1, _P2, _P3, _P4, _P5 = (
    _u64(0x9E3779B185EBCA87), _u64(0xC2B2AE3D27D4EB4F), _u64(0x165667B19E3779F9), _u64(0x85EBCA77C2B2AE63),
    _u64(0x27D4EB2F165667C5),
)  # fmt: skip


def _rotl64(x: Array, r: int) -> Array:
    return (x << _u64(r)) | (x >> _u64(64 - r))


def _avalanche(h: Array) -> Array:
    h = (h ^ (h >> _u64(33))) * _P2
    h = (h ^ (h >> _u64(29))) * _P3
    return h ^ (h >> _u64(32))


class XxHash64:
    """Hashes as uint64 columns."""

    dtype = np.uint64

    @staticmethod
    def int32(values: Array, seed: Array) -> Array:
        word = values.astype(np.int32).view(np.uint32).astype(np.uint64)
        h = (seed + _P5 + _u64(4)) ^ (word * _P1)
        return _avalanche(_rotl64(h, 23) * _P2 + _P3)

    @staticmethod
    def int64(values: Array, seed: Array) -> Array:
        word = values.astype(np.int64).view(np.uint64)
        h = (seed + _P5 + _u64(8)) ^ (_rotl64(word * _P2, 31) * _P1)
        return _avalanche(_rotl64(h, 27) * _P1 + _P4)

    @staticmethod
    def text(data: Array, starts: Array, sizes: Array, seed: Array) -> Array:
        h = seed + _P5
        long = np.flatnonzero(sizes >= 32)
        at = np.zeros(len(sizes), np.int64)
        if len(long):
            h[long], at[long] = XxHash64._lanes(data, starts[long], sizes[long], seed[long])
        h = h + sizes.astype(np.uint64)
        while len(rows := np.flatnonzero(at + 8 <= sizes)):
            k = _rotl64(_word(data, starts[rows] + at[rows], 8) * _P2, 31) * _P1
            h[rows] = _rotl64(h[rows] ^ k, 27) * _P1 + _P4
            at[rows] += 8
        rows = np.flatnonzero(at + 4 <= sizes)
        h[rows] = _rotl64(h[rows] ^ (_word(data, starts[rows] + at[rows], 4) * _P1), 23) * _P2 + _P3
        at[rows] += 4
        while len(rows := np.flatnonzero(at < sizes)):
            h[rows] = _rotl64(h[rows] ^ (data[starts[rows] + at[rows]].astype(np.uint64) * _P5), 11) * _P1
            at[rows] += 1
        return _avalanche(h)

    @staticmethod
    def _lanes(data: Array, starts: Array, sizes: Array, seed: Array) -> tuple[Array, Array]:
        """Four lanes over blocks of 32 bytes."""
        v = [seed + _P1 + _P2, seed + _P2, seed.copy(), seed - _P1]
        blocks = sizes // 32
        for at in range(int(blocks.max())):
            rows = np.flatnonzero(blocks > at)
            for n in range(4):
                word = _word(data, starts[rows] + 32 * at + 8 * n, 8)
                v[n][rows] = _rotl64(v[n][rows] + word * _P2, 31) * _P1
        h = _rotl64(v[0], 1) + _rotl64(v[1], 7) + _rotl64(v[2], 12) + _rotl64(v[3], 18)
        for lane in v:
            h = (h ^ (_rotl64(lane * _P2, 31) * _P1)) * _P1 + _P4
        return h, blocks * 32


# --- columns --------------------------------------------------------------------------------------------------------

Hasher = type[Murmur3] | type[XxHash64]


def hash_column(hasher: Hasher, column: pa.Array, seed: Array) -> Array:
    """``seed`` carried on through one column."""
    kind = column.type
    if pa.types.is_null(kind):
        return seed
    if pa.types.is_struct(kind):
        found = seed
        for index in range(kind.num_fields):
            found = hash_column(hasher, column.field(index), found)
        return np.where(np.asarray(column.is_valid()), found, seed)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _hash_lists(hasher, column, seed)
    valid = np.asarray(column.is_valid())
    return np.where(valid, _hash_values(hasher, column, seed), seed)


def _hash_lists(hasher: Hasher, column: pa.Array, seed: Array) -> Array:
    """Element by element: the first of every list, then the second of those that have one, ..."""
    found = seed.copy()
    valid = np.asarray(column.is_valid())
    offsets = np.asarray(column.offsets)
    sizes = np.where(valid, offsets[1:] - offsets[:-1], 0)
    for at in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > at)
        items = column.values.take(pa.array(offsets[rows] + at))
        found[rows] = hash_column(hasher, items, found[rows])
    return found


def _hash_values(hasher: Hasher, column: pa.Array, seed: Array) -> Array:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return hasher.text(*_buffers(column), seed)
    if pa.types.is_decimal(kind):
        return _hash_decimals(hasher, column, seed)
    if pa.types.is_boolean(kind):
        return hasher.int32(np.asarray(column.fill_null(False)).astype(np.int32), seed)
    if pa.types.is_date32(kind):
        return hasher.int32(np.asarray(column.cast(pa.int32()).fill_null(0)), seed)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return hasher.int64(np.asarray(column.cast(pa.int64()).fill_null(0)), seed)
    values = np.asarray(column.fill_null(0))
    if pa.types.is_float32(kind):
        return hasher.int32(_float_bits(values, np.int32), seed)
    if pa.types.is_float64(kind):
        return hasher.int64(_float_bits(values, np.int64), seed)
    return hasher.int64(values, seed) if kind.bit_width == 64 else hasher.int32(values, seed)


def _float_bits(values: Array, whole: type) -> Array:
    """The bits, where -0.0 counts as 0.0 and every NaN is one."""
    plain = np.where(values == 0, 0, values)
    return np.where(np.isnan(plain), np.array(np.nan, plain.dtype), plain).astype(values.dtype).view(whole)


def _buffers(column: pa.Array) -> tuple[Array, Array, Array]:
    """Bytes, and where each value begins and how long it is."""
    binary = column.cast(pa.binary()) if pa.types.is_string(column.type) else column
    offsets = np.frombuffer(binary.buffers()[1], np.int32)[
        binary.offset : binary.offset + len(binary) + 1
    ].astype(np.int64)
    raw = binary.buffers()[2]
    data = np.frombuffer(raw, np.uint8) if raw is not None and raw.size else np.zeros(1, np.uint8)
    return data, offsets[:-1], offsets[1:] - offsets[:-1]


def _hash_decimals(hasher: Hasher, column: pa.Array, seed: Array) -> Array:
    """Up to 18 digits as a long, else as the bytes of Java's BigInteger."""
    scale = column.type.scale
    unscaled = [0 if v is None else int(v.scaleb(scale)) for v in column.to_pylist()]
    if column.type.precision <= 18:
        return hasher.int64(np.array(unscaled, np.int64), seed)
    raw = [
        v.to_bytes((v.bit_length() if v >= 0 else (v + 1).bit_length()) // 8 + 1, "big", signed=True)
        for v in unscaled
    ]
    return hasher.text(*_buffers(pa.array(raw, pa.binary())), seed)


def _hashing(hasher: Hasher, signed: Any, arrow: pa.DataType) -> Callable[..., pa.Array]:
    def call(*columns: Any) -> pa.Array:
        found = np.full(len(columns[0]), SEED, hasher.dtype)
        with np.errstate(over="ignore"):
            for column in columns:
                flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
                found = hash_column(hasher, flat, found)
        return pa.array(found.view(signed), arrow)

    return call


@kernel("hash")
def _hash() -> KernelFunction:
    return KernelFunction(_hashing(Murmur3, np.int32, pa.int32()), "INTEGER")


@kernel("xxhash64")
def _xxhash64() -> KernelFunction:
    return KernelFunction(_hashing(XxHash64, np.int64, pa.int64()), "BIGINT")


# --- digests --------------------------------------------------------------------------------------------------------

_SHA2 = {
    0: hashlib.sha256,
    224: hashlib.sha224,
    256: hashlib.sha256,
    384: hashlib.sha384,
    512: hashlib.sha512,
}


@kernel("sha2")
def _sha2() -> KernelFunction:
    def digest(raw: bytes, bits: int) -> str | None:
        algorithm = _SHA2.get(bits)
        return algorithm(raw).hexdigest() if algorithm else None

    return by_row(digest, "VARCHAR", pa.string())


@kernel("crc32")
def _crc32() -> KernelFunction:
    return by_row(zlib.crc32, "BIGINT", pa.int64())
