"""JSON by path, URLs, and bytes from text."""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.macros import KernelFunction, kernel

# --- URLs -----------------------------------------------------------------------------------------------------------

_URL = re.compile(r"^(?:([A-Za-z][\w+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$", re.S)
_FORBIDDEN = re.compile(r"[\s<>\"{}|\\^`]|%(?![0-9A-Fa-f]{2})")


def url_part(url: str, part: str, key: str, strict: bool) -> str | None:
    """One part of a URL as java.net.URI cuts it; None where it has none."""
    found = _URL.match(url)
    if found is None or _FORBIDDEN.search(url):
        if strict:
            raise Refused("INVALID_URL", f"{url!r} is no URL; use `try_parse_url` for NULL instead.")
        return None
    scheme, authority, path, query, fragment = found.groups()
    if key and part == "QUERY":
        match = re.search(rf"(?:^|&){re.escape(key)}=([^&]*)", query or "")
        return match.group(1) if match else None
    if key:
        return None
    user, _, host = (authority or "").rpartition("@")
    parts = {
        "HOST": re.sub(r":\d*$", "", host) or None, "PATH": path if scheme or authority is not None or path else path,
        "QUERY": query, "REF": fragment, "PROTOCOL": scheme, "FILE": path + (f"?{query}" if query is not None else ""),
        "AUTHORITY": authority, "USERINFO": user or None,
    }  # fmt: skip
    return parts.get(part)


@kernel("parse_url")
def _parse_url(mode: str) -> KernelFunction:
    return by_row(lambda u, p, k: url_part(u, p, k, mode == "strict"), "VARCHAR", pa.string())


@kernel("to_binary")
def _to_binary(mode: str) -> KernelFunction:
    def read(text: str, form: str) -> bytes | None:
        try:
            if form.lower() == "hex":
                return bytes.fromhex("0" + text if len(text) % 2 else text)
            if form.lower() in ("utf-8", "utf8"):
                return text.encode()
            if form.lower() == "base64":
                return base64.b64decode(text, validate=True)
        except ValueError:
            pass
        if mode == "lenient":
            return None
        raise Refused(
            "CONVERSION_INVALID_INPUT", f"{text!r} is no {form} text; use `try_to_binary` for NULL instead."
        )

    return by_row(read, "BLOB", pa.binary())


# --- JSON -----------------------------------------------------------------------------------------------------------


class Number(str):
    """A number as the text wrote it."""


def _loads(text: str) -> Any:
    """JSON as Jackson reads it: single quotes allowed, numbers as they are written."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def dumps(value: Any) -> str:
    """JSON text without blanks; numbers as they were."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dumps(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\*\]|\['([^']*)'\]")


@lru_cache(maxsize=512)
def path_steps(path: str) -> tuple[str | int, ...] | None:
    """``$.a[0]['b'][*]`` as its steps ('*' for every element); None if it is no path."""
    if not path.startswith("$"):
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if not found:
            return None
        name, index, quoted = found.groups()
        steps.append(
            name
            if name is not None
            else int(index)
            if index is not None
            else quoted
            if quoted is not None
            else _ALL
        )
        at = found.end()
    return tuple(steps)


_ALL = "\0*"


def _walk(value: Any, steps: tuple[str | int, ...]) -> list[Any]:
    """Every value at the end of the path; a missing one is left out."""
    if not steps:
        return [value]
    step, rest = steps[0], steps[1:]
    if step == _ALL:
        return [v for item in value for v in _walk(item, rest)] if isinstance(value, list) else []
    if isinstance(step, int):
        return _walk(value[step], rest) if isinstance(value, list) and step < len(value) else []
    if isinstance(value, list):
        return [v for item in value if isinstance(item, dict) for v in _walk(item, steps)]
    return _walk(value[step], rest) if isinstance(value, dict) and step in value else []


def get_json_object(text: str, path: str) -> str | None:
    """The value at a path as text."""
    steps = path_steps(path)
    if steps is None:
        return None
    try:
        document = _loads(text)
    except ValueError:
        return None
    found = [v for v in _walk(document, steps) if v is not None or _ALL in steps]
    if not found:
        return None
    if _ALL in steps and (len(found) != 1 or steps[-1] == _ALL):
        return dumps(found) if len(found) > 1 else dumps(found[0])
    return _text(found[0]) if len(found) == 1 else dumps(found)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value) if isinstance(value, str) else dumps(value)


@kernel("get_json_object")
def _get_json_object() -> KernelFunction:
    return by_row(get_json_object, "VARCHAR", pa.string())


def array_length(text: str) -> int | None:
    try:
        found = _loads(text)
    except ValueError:
        return None
    return len(found) if isinstance(found, list) else None


@kernel("json_array_length")
def _json_array_length() -> KernelFunction:
    return by_row(array_length, "INTEGER", pa.int32())


@kernel("json_object_keys")
def _json_object_keys() -> KernelFunction:
    def keys(text: str) -> list[str] | None:
        try:
            found = _loads(text)
        except ValueError:
            return None
        return list(found) if isinstance(found, dict) else None

    return by_row(keys, "VARCHAR[]", pa.list_(pa.string()))
