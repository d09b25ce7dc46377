"""Options as a source sees them: names in any case, values checked, mistakes answered with the nearest right name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from tidemill.errors import SourceError, did_you_mean

log = logging.getLogger(__name__)

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = {
    "microsecond": "us",
    "millisecond": "ms",
    "second": "s",
    "sec": "s",
    "minute": "m",
    "hour": "h",
    "day": "d",
}


class Options:
    """The options of one source, checked against what its format knows.

    ``ignored`` are options of Spark that have no meaning here: accepted, and noted in the debug log. ``prefixes`` are
    passed through unchecked. Raises `SourceError` for a name that is neither, or a value of the wrong kind.
    """

    def __init__(
        self,
        format: str,
        given: Mapping[str, str],
        known: Iterable[str],
        ignored: Iterable[str] = (),
        prefixes: Sequence[str] = (),
    ) -> None:
        self.format = format
        # A text stays the object that it is: `str` of a Secret would be `***`.
        self.given = {name: value if isinstance(value, str) else str(value) for name, value in given.items()}
        self._values = {name.lower(): value for name, value in self.given.items()}
        self._check({k.lower(): k for k in known}, {i.lower() for i in ignored}, prefixes)

    def _check(self, known: Mapping[str, str], ignored: set[str], prefixes: Sequence[str]) -> None:
        for name in self.given:
            lower = name.lower()
            if lower in ignored and lower not in known:
                log.debug("option %r of format %r has no meaning here and is ignored", name, self.format)
            elif lower not in known and not any(lower.startswith(p) for p in prefixes):
                hint = did_you_mean(name, known.values()) or f"; it knows {', '.join(sorted(known.values()))}"
                raise SourceError(f"option {name!r} is not known to format {self.format!r}{hint}")

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def text(self, name: str, default: str | None = None) -> str | None:
        return self._values.get(name.lower(), default)

    def required(self, name: str, example: str) -> str:
        value = self.text(name)
        if not value:
            raise SourceError(f"format {self.format!r} needs the option {name!r}, such as {example!r}")
        return value

    def whole(self, name: str, default: int | None = None, minimum: int = 1) -> int | None:
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[+-]?\d+", value.strip()) or int(value) < minimum:
            kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
            raise self.wrong(name, kind)
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name)
        if value is None:
            return default
        if value.strip().lower() not in ("true", "false"):
            raise self.wrong(name, "'true' or 'false'")
        return value.strip().lower() == "true"

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of ``choices``, as they are written there, whatever case the user wrote."""
        value = self.text(name, default)
        for each in choices:
            if each.lower() == str(value).lower():
                return each
        raise self.wrong(name, f"one of {', '.join(choices)}", did_you_mean(str(value), choices))

    def seconds(self, name: str, default: float | None = None, unit: str = "ms") -> float | None:
        """A duration such as ``100ms``, ``7d`` or ``1 hour``; a bare number is in ``unit``."""
        value = self.text(name)
        if value is None:
            return default
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", value.strip().lower())
        word = found.group(2) if found else ""
        word = _WORDS.get(word.removesuffix("s") if len(word) > 2 else word, word)
        if not found or (word or unit) not in _SECONDS:
            raise self.wrong(name, "a duration such as 100ms, 30s, 5m, 2h or 7d")
        return float(found.group(1)) * _SECONDS[word or unit]

    def wrong(self, name: str, expected: str, hint: str = "") -> SourceError:
        return SourceError(f"option {name!r}: {self.text(name)!r} is not {expected}{hint}")
