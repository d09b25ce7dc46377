"""Which files a path means: globs, hidden names, partition directories, and whether a file is still being written."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidemill.errors import SourceError

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_GLOB = re.compile(r"[*?\[{]")


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was listed; ``modified`` in nanoseconds since the epoch."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True)
class Place:
    """Where files are looked for."""

    path: str
    name_glob: str | None = None
    recursive: bool = False
    base: str | None = None
    modified_after: int | None = None
    """Nanoseconds since the epoch; likewise below."""
    modified_before: int | None = None


def local_path(path: str) -> str:
    """A path or ``file:`` address as an absolute path; `SourceError` for an address elsewhere."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        parts = urlsplit(path)
        if parts.scheme != "file":
            raise SourceError(
                f"path {path!r}: files are read from this machine only, not from {parts.scheme}:"
            )
        path = unquote(parts.path)
    return os.path.abspath(os.path.expanduser(path))


def is_hidden(name: str) -> bool:
    """Spark's rule: names that begin with ``.`` or ``_`` (but for ``_key=value``), and copies in progress."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


@lru_cache(128)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """A Hadoop glob (``*``, ``?``, ``[a-z]``, ``[^a]``, ``{x,y}``) of one name as a regular expression."""
    out, depth, at = "", 0, 0
    while at < len(glob):
        one = glob[at]
        if one == "[" and "]" in glob[at + 2 :]:
            end = glob.index("]", at + 2)
            inner = glob[at + 1 : end].replace("\\", "\\\\")
            out += f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
            at = end
        elif one == "{":
            out, depth = out + "(?:", depth + 1
        elif one == "}" and depth:
            out, depth = out + ")", depth - 1
        elif one == "," and depth:
            out += "|"
        elif one == "\\" and at + 1 < len(glob):
            at += 1
            out += re.escape(glob[at])
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(one, re.escape(one))
        at += 1
    if depth:
        raise SourceError(f"glob {glob!r} has a brace that is not closed")
    return re.compile(out + r"\Z")


def roots(path: str) -> list[str]:
    """The files and directories that a path with or without globs names, in order; none if there are none."""
    whole = local_path(path)
    if not _GLOB.search(path):
        return [whole] if os.path.exists(whole) else []
    found = ["/"]
    for part in _glob_parts(whole):
        found = [child for parent in found for child in _matching(parent, part)]
    return found


def _glob_parts(path: str) -> list[str]:
    """The names of a path, cut at slashes that are not inside braces."""
    parts, depth = [""], 0
    for one in path.lstrip("/"):
        depth += {"{": 1, "}": -1}.get(one, 0)
        if one == "/" and depth <= 0:
            parts.append("")
        else:
            parts[-1] += one
    return [p for p in parts if p]


def _matching(parent: str, part: str) -> list[str]:
    if not _GLOB.search(part):
        child = os.path.join(parent, part)
        return [child] if os.path.exists(child) else []
    pattern = glob_pattern(part)
    try:
        names = sorted(os.listdir(parent))
    except (NotADirectoryError, PermissionError):
        return []
    return [os.path.join(parent, n) for n in names if pattern.match(n) and not is_hidden(n)]


def files(place: Place) -> list[File]:
    """Every file of a place, by path. A name that vanishes meanwhile is left out.

    Without ``recursive``, directories count only when they are partitions (``key=value``), as in Spark.
    """
    wanted = glob_pattern(place.name_glob) if place.name_glob else None
    found: dict[str, File] = {}
    for root in roots(place.path):
        for entry in _walk(root, place.recursive):
            if wanted is None or wanted.match(os.path.basename(entry.path)):
                found[entry.path] = entry
    return sorted(filter(lambda f: _in_time(f, place), found.values()), key=lambda f: f.path)


def _in_time(file: File, place: Place) -> bool:
    after = place.modified_after is None or file.modified > place.modified_after
    return after and (place.modified_before is None or file.modified < place.modified_before)


def _walk(root: str, recursive: bool) -> Iterator[File]:
    if os.path.isfile(root):
        about = os.stat(root)
        yield File(root, about.st_size, about.st_mtime_ns)
        return
    try:
        entries = list(os.scandir(root))
    except PermissionError as error:
        raise SourceError(
            f"directory {root!r} may not be listed: {error.strerror}; give this user the right"
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        try:
            about = entry.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(about.st_mode):
            if recursive or "=" in entry.name:
                yield from _walk(entry.path, recursive)
        elif stat.S_ISREG(about.st_mode):
            yield File(entry.path, about.st_size, about.st_mtime_ns)


def base_of(place: Place) -> list[str]:
    """The directories below which partition columns begin, longest first."""
    if place.base is not None:
        return [local_path(place.base)]
    return sorted((r for r in roots(place.path) if os.path.isdir(r)), key=len, reverse=True)


def partition_values(path: str, bases: list[str]) -> dict[str, str | None]:
    """The ``key=value`` directories between a base and a file, values as text.

    >>> partition_values("/data/day=2024-01-01/k=a%20b/x.json", ["/data"])
    {'day': '2024-01-01', 'k': 'a b'}
    """
    for base in bases:
        if path.startswith(base.rstrip("/") + "/"):
            parts = Path(path[len(base.rstrip("/")) + 1 :]).parts[:-1]
            pairs = [p.partition("=") for p in parts if "=" in p]
            return {unquote(k): None if v == NULL_PARTITION else unquote(v) for k, _, v in pairs}
    return {}


def is_being_written(path: str) -> bool | None:
    """Whether any process of this machine has the file open for writing; None: this file system cannot tell.

    The kernel grants a read lease on a file only while nobody has it open for writing. Should a writer come while we
    hold ours, for microseconds, it waits, and we get a signal that is ignored by default.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # gone: not for us
    except OSError:
        return None
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)


_ENDINGS = {"parquet": (b"PAR1", 4, 12), "orc": (b"ORC", 4, 8)}


def is_whole(file: File, format: str) -> bool:
    """Whether a file that says so at its end (Parquet, ORC) has its end; other formats cannot be asked."""
    if format not in _ENDINGS:
        return True
    mark, length, least = _ENDINGS[format]
    if file.size < least:
        return False
    try:
        with open(file.path, "rb") as stream:
            stream.seek(file.size - length)
            return mark in stream.read(length)
    except OSError:
        return False
