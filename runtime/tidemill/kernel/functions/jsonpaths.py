"""get_json_object's paths: ``$.a['b'][0][*]``, with Hive's ways of flattening."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tidemill.kernel.functions.jsontexts import MALFORMED, NOTHING, compact, parse, plain

ANY = object()
"""A step ``[*]``: all elements."""
NEVER = object()
"""A step ``.*``: Spark reads it, and matches nothing by it."""

_STEP = re.compile(r"\.\*|\['\*'\]|\.\s*([^.\[]+)|\['([^']+)'\]|\[(\*|\d+)\]")

Step = str | int | object


@lru_cache(maxsize=1024)
def steps(path: str) -> tuple[Step, ...] | None:
    """A path's steps: names, positions and `ANY`; None if it is no path."""
    if not path.startswith("$"):
        return None
    found: list[Step] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if not step:
            return None
        name = step.group(1) or step.group(2)
        subscript = step.group(3)
        found.append(
            name if name else NEVER if subscript is None else ANY if subscript == "*" else int(subscript)
        )
        at = step.end()
    return tuple(found)


def look_up(text: str, path: str) -> str | None:
    """What Spark's get_json_object answers."""
    way = steps(path)
    if way is None:
        return None
    value = parse(text, first=True)
    if value is MALFORMED or value is NOTHING:
        return None
    found = _follow(value, way, "raw")
    return None if found is None else ",".join(found)


# Styles, as in Hive: 'raw' writes strings without quotes, 'quoted' with them, 'flat' takes arrays apart.


def _follow(value: Any, way: tuple[Step, ...], style: str) -> list[str] | None:
    """The texts that match, to stand in one place; None if nothing does."""
    if not way:
        return _written(value, style)
    step, rest = way[0], way[1:]
    if isinstance(step, str):
        if not isinstance(value, dict) or value.get(step) is None:
            return None
        return _follow(value[step], rest, style)
    if not isinstance(value, list) or step is NEVER:
        return None
    if step is ANY:
        return _each(value, rest, style)
    assert isinstance(step, int)
    if step >= len(value):
        return None
    return _follow(value[step], rest, "quoted" if rest[:1] == (ANY,) else style)


def _written(value: Any, style: str) -> list[str] | None:
    if style == "raw" and isinstance(value, str):
        return [plain(value)]
    if style == "flat" and isinstance(value, list):
        return _gathered(value, (), style)
    return [compact(value)]


def _gathered(values: Iterable[Any], way: tuple[Step, ...], style: str) -> list[str] | None:
    found: list[str] | None = None
    for value in values:
        some = _follow(value, way, style)
        if some is not None:
            found = (found or []) + some
    return found


def _each(values: list[Any], rest: tuple[Step, ...], style: str) -> list[str] | None:
    if rest[:1] == (ANY,):
        found = _gathered(values, rest[1:], "flat")
        return None if found is None else ["[" + ",".join(found) + "]"]
    if style == "quoted":
        found = _gathered(values, rest, "quoted")
        return None if found is None else ["[" + ",".join(found) + "]"]
    inner = "quoted" if style == "raw" else "flat"
    matches = [m for m in (_follow(v, rest, inner) for v in values) if m is not None]
    if not matches:
        return None
    text = ",".join(",".join(m) for m in matches)
    return [text if len(matches) == 1 else f"[{text}]"]
