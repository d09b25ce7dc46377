"""URLs, and bytes from text."""

from __future__ import annotations

import base64
import re

import pyarrow as pa

from tidemill.kernel.functions.rows import Refused, by_row
from tidemill.kernel.macros import KernelFunction, kernel

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
    if key:
        match = re.search(rf"(?:^|&){re.escape(key)}=([^&]*)", query or "") if part == "QUERY" else None
        return match.group(1) if match else None
    user, _, host = (authority or "").rpartition("@")
    parts = {
        "HOST": re.sub(r":\d*$", "", host) or None, "PATH": path, "QUERY": query, "REF": fragment, "PROTOCOL": scheme,
        "FILE": path + (f"?{query}" if query is not None else ""), "AUTHORITY": authority, "USERINFO": user or None,
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
