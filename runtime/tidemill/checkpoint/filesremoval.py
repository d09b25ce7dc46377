"""How a checkpoint in a directory is removed: its own files, and the directories that they leave empty."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tidemill.checkpoint.files import check_version
from tidemill.checkpoint.lease import DirectoryLease
from tidemill.checkpoint.removal import Removed
from tidemill.errors import CheckpointError, CorruptCheckpointError

_TEMPORARY = r"(\.\d+\.tmp)?"
_ENTRY = re.compile(rf"[^/]+/(?P<kind>query|plan|prepared|commit)/\d+\.json{_TEMPORARY}")
_BLOBS = re.compile(r"[^/]+/state/[^/]+\.pack")
_REMEMBERED = re.compile(rf"sources/\d+/\d+(\.compact)?{_TEMPORARY}")
_FOLDER = re.compile(r"sources(/\d+)?|[^/]+/(query|plan|prepared|commit|state)")
_MARKS = ("lease", "tidemill.json", "lock")
"""Deleted last, in this order: the second is what finds the checkpoint again if its removal is broken off, the third keeps
others out to the end."""
_MARK = re.compile(rf"({'|'.join(map(re.escape, _MARKS))}){_TEMPORARY}")


class HeldDirectory:
    """See `tidemill.checkpoint.removal.Held`. A checkpoint that is damaged can be removed; one of a newer Tidemill, whose
    files have names that we do not know, cannot."""

    def __init__(self, path: Path, root: Path) -> None:
        """``root``: up to which directories that are empty then go too."""
        self.path, self.root = path, root
        with contextlib.suppress(CorruptCheckpointError):
            check_version(self.path / "tidemill.json")
        self._lease = DirectoryLease(self.path)
        self._lease.hold()

    def remove(self) -> Removed:
        files = sorted(_files(self.path), key=_place)
        ours = [name for name in files if _is_ours(name)]
        marks = [name for name in ours if _MARK.fullmatch(name)]
        sizes = [self._unlink(name) for name in ours if name not in marks]
        for folder in self._folders():
            _remove_empty(folder, self.path)
        sizes += [self._unlink(name) for name in marks]
        _remove_empty(self.path, self.root)
        return Removed(
            location=os.fspath(self.path),
            entries=sum(1 for name in ours if _ENTRY.fullmatch(name)),
            blobs=sum(1 for name in ours if _BLOBS.fullmatch(name)),
            bytes=sum(sizes),
            left=len(files) - len(ours),
        )

    def let_go(self) -> None:
        self._lease.release()

    def _folders(self) -> list[Path]:
        """Of ours, the deepest first."""
        below = [*self.path.glob("sources"), *self.path.glob("*/*/")]
        ours = [f for f in below if _FOLDER.fullmatch(f.relative_to(self.path).as_posix())]
        return sorted(ours, key=lambda f: -len(f.parts))

    def _unlink(self, name: str) -> int:
        path = self.path / name
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise CheckpointError(
                f"checkpoint file {path} cannot be removed: {error.strerror}; run as the user who wrote the checkpoint, "
                "or mend what is in the way, and remove it again"
            ) from error
        return size


def _remove_empty(folder: Path, upto: Path) -> None:
    """Remove ``folder`` if it is empty, and those above it that this empties, up to ``upto``, which goes too."""
    with contextlib.suppress(OSError):  # it is not empty, or a mount, or not ours to remove
        for each in (folder, *folder.parents):
            os.rmdir(each)
            if each == upto:
                break


def _files(path: Path) -> Iterator[str]:
    """Names from ``path`` on of all files below it; what is linked to is elsewhere."""
    for folder, _, names in os.walk(path):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), path)


def _is_ours(name: str) -> bool:
    return any(each.fullmatch(name) for each in (_ENTRY, _BLOBS, _REMEMBERED, _MARK))


def _place(name: str) -> tuple[int, str]:
    """The query's entry first: a driver takes batches without it for damaged, and does not go on from what is left."""
    mark = _MARK.fullmatch(name)
    if mark is not None:
        return 2 + _MARKS.index(mark[1]), name
    entry = _ENTRY.fullmatch(name)
    return int(entry is None or entry["kind"] != "query"), name
