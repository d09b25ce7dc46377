"""A pack: one file that holds all blobs of one ``put``.

    8 bytes   magic and format
    ...       the blobs, one after the other
    ...       the index: JSON, a list of [name, offset, length, crc32]
    20 bytes  offset of the index (u64), its length (u32), its crc32 (u32), end mark (4 bytes)

It is written front to back in one go, so that one without its end mark was never finished, and no entry names its
blobs.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.state.base import BlobName

_MAGIC = b"TMPACK1\n"
_END = b"END\n"
_TRAILER = struct.Struct("<QII4s")


@dataclass(frozen=True)
class Slice:
    """Where a blob lies."""

    pack: str
    """File name of the pack."""
    offset: int
    length: int
    crc32: int


def lay_out(pack: str, blobs: Mapping[BlobName, bytes]) -> tuple[list[bytes], dict[BlobName, Slice]]:
    """The pieces of a pack's file in order, and where each blob lies in it."""
    slices: dict[BlobName, Slice] = {}
    offset = len(_MAGIC)
    for name, data in blobs.items():
        slices[name] = Slice(pack, offset, len(data), zlib.crc32(data))
        offset += len(data)
    rows = [[name.path(), s.offset, s.length, s.crc32] for name, s in slices.items()]
    index = json.dumps(rows, separators=(",", ":")).encode()
    trailer = _TRAILER.pack(offset, len(index), zlib.crc32(index), _END)
    return [_MAGIC, *blobs.values(), index, trailer], slices


def read_index(descriptor: int, pack: str) -> dict[BlobName, Slice] | None:
    """The index of an open pack; None if it was never finished, or is damaged."""
    size = os.fstat(descriptor).st_size
    if size < len(_MAGIC) + _TRAILER.size:
        return None
    offset, length, crc, end = _TRAILER.unpack(os.pread(descriptor, _TRAILER.size, size - _TRAILER.size))
    if end != _END or offset + length + _TRAILER.size != size:
        return None
    index = os.pread(descriptor, length, offset)
    if zlib.crc32(index) != crc or os.pread(descriptor, len(_MAGIC), 0) != _MAGIC:
        return None
    return {BlobName.parse(path): Slice(pack, at, size, crc) for path, at, size, crc in json.loads(index)}
