"""Columns of fixed width, changed in place by slot."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tidemill.kernel.keyed.vectors import Bools, Bytes, Ints, Vector


class Saved(NamedTuple):
    """Old values of some slots."""

    values: npt.NDArray[Any]
    valid: Bools | None


def is_fixed(kind: pa.DataType) -> bool:
    """Whether a `FixedColumn` can hold the type."""
    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width)
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))


class FixedColumn:
    """One column of numbers, decimals, times, booleans or fixed-size binaries, as raw numpy memory."""

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._is_bool = pa.types.is_boolean(kind)
        self._values = Vector(_memory_of(1 if self._is_bool else kind.bit_width // 8))
        self._valid: Vector | None = None  # from the first null on

    def reserve(self, size: int) -> None:
        self._values.reserve(size)
        if self._valid is not None:
            self._valid.reserve(size)

    def take(self, slots: Ints) -> pa.Array:
        values = self._values.data.take(slots)
        buffer = pa.py_buffer(_pack(values) if self._is_bool else values)
        if self._valid is None:
            return pa.Array.from_buffers(self.kind, len(slots), [None, buffer], 0)
        valid = self._valid.data.take(slots)
        nulls = len(slots) - int(np.count_nonzero(valid))
        bitmap = pa.py_buffer(_pack(valid)) if nulls else None
        return pa.Array.from_buffers(self.kind, len(slots), [bitmap, buffer], nulls)

    def put(self, slots: Ints, array: pa.Array) -> None:
        """Write ``array[i]`` to ``slots[i]``; slots are distinct and reserved."""
        self._values.data[slots] = self._memory(array)
        if array.null_count and self._valid is None:
            self._valid = Vector(np.bool_)
            self._valid.reserve(len(self._values.data))
            self._valid.data.fill(True)
        if self._valid is not None:
            self._valid.data[slots] = _validity(array)

    def save(self, slots: Ints) -> Saved:
        valid = None if self._valid is None else self._valid.data.take(slots)
        return Saved(self._values.data.take(slots), valid)

    def restore(self, slots: Ints, saved: Saved) -> None:
        self._values.data[slots] = saved.values
        if self._valid is not None:
            self._valid.data[slots] = True if saved.valid is None else saved.valid

    @property
    def nbytes(self) -> int:
        return self._values.nbytes + (self._valid.nbytes if self._valid is not None else 0)

    def _memory(self, array: pa.Array) -> npt.NDArray[Any]:
        data = array.buffers()[1]
        if data is None or not len(array):
            return np.zeros(len(array), self._values.data.dtype)
        if self._is_bool:
            return _unpack(data, array.offset, len(array))
        values = np.frombuffer(data, self._values.data.dtype, array.offset + len(array))
        return values[array.offset :]


def _memory_of(width: int) -> np.dtype[Any]:
    """A numpy type that moves ``width`` bytes as they are."""
    return np.dtype(f"u{width}" if width in (1, 2, 4, 8) else f"V{width}")


def _validity(array: pa.Array) -> Bools | bool:
    if not array.null_count:
        return True
    bitmap = array.buffers()[0]
    return _unpack(bitmap, array.offset, len(array)).view(np.bool_)


def _pack(flags: npt.NDArray[Any]) -> Bytes:
    return np.packbits(flags, bitorder="little")


def _unpack(buffer: pa.Buffer, offset: int, length: int) -> Bytes:
    start, end = offset // 8, (offset + length + 7) // 8
    data = np.frombuffer(buffer, np.uint8, end)[start:]
    return np.unpackbits(data, count=offset - 8 * start + length, bitorder="little")[offset - 8 * start :]
