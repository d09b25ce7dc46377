"""What an entry of the log looks like in a file: one JSON object with a checksum over the entry's own text."""

from __future__ import annotations

import json
import zlib
from typing import Any

from tidemill.errors import CheckpointError, CorruptCheckpointError

FORMAT = 1
"""Version of every file in a checkpoint directory; it grows when an older Tidemill could not read the newer files."""

_HEAD = '{"format":%d,"crc32":"%08x","entry":'
_TAIL = "}\n"


def encode(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry's file.

    >>> encode({"a": 1})
    b'{"format":1,"crc32":"561bacaf","entry":{"a":1}}\\n'
    """
    body = json.dumps(entry, separators=(",", ":"), allow_nan=True)
    return f"{_HEAD % (FORMAT, zlib.crc32(body.encode()))}{body}{_TAIL}".encode()


def decode(data: bytes, where: str) -> dict[str, Any]:
    """The entry in ``data``; ``where`` names the file in errors."""
    try:
        found = json.loads(data)
        version, stored = int(found["format"]), str(found["crc32"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(where, f"it is no entry ({error})") from error
    if version > FORMAT:
        raise newer(where, version)
    head = len(_HEAD % (version, 0))
    body = data[head : -len(_TAIL)]
    if f"{zlib.crc32(body):08x}" != stored or not isinstance(found.get("entry"), dict):
        raise damaged(where, f"its checksum is {zlib.crc32(body):08x}, and it says {stored}")
    return dict(found["entry"])


def damaged(where: str, what: str) -> CorruptCheckpointError:
    """The error for a file that is not what was written, with what can be done about it."""
    return CorruptCheckpointError(
        f"checkpoint file {where} is damaged: {what}; restore it from a copy of the checkpoint, or start the query "
        "with a new checkpoint location (it then begins at its starting offsets)"
    )


def unreadable(where: str, error: OSError) -> CheckpointError:
    """The error for a file that this user may not read, or that is none."""
    return CheckpointError(
        f"checkpoint file {where} cannot be read: {error.strerror}; run as the user who wrote the checkpoint, or mend "
        "what is in the file's way"
    )


def newer(where: str, version: int) -> CheckpointError:
    """The error for files that a newer Tidemill wrote."""
    return CheckpointError(
        f"checkpoint {where} has format version {version}, and this Tidemill reads up to {FORMAT}; "
        "install the version that wrote it, or a later one"
    )


def unwritten(path: str, error: OSError) -> CheckpointError:
    """The error for a full disk, a broken one, or one that may not be written any more."""
    return CheckpointError(
        f"checkpoint file {path} cannot be written: {error.strerror}; make room on its file system or mend it, then "
        "start the query again: it goes on where it was"
    )
