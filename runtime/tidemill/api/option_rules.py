"""Checks of a format and its options against the tables of `tidemill.api.formats`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tidemill.api.base import Finding, Raw, part, text
from tidemill.api.document import describe
from tidemill.api.formats import ROLES, Format, Option, given
from tidemill.api.moments import parse_duration
from tidemill.errors import did_you_mean, nearest

_VERBS = {
    "source": "read as a stream",
    "table": "read as a table",
    "sink": "written",
    "dead letter": "a dead letter",
    "decoder": "decoded",
    "encoder": "encoded",
}

_OFFSET_WORDS = {
    "newest": "latest", "largest": "latest", "last": "latest", "end": "latest", "now": "latest",
    "oldest": "earliest", "smallest": "earliest", "first": "earliest", "beginning": "earliest", "start": "earliest",
}  # fmt: skip
"""What other clients and people call them; by spelling alone `newest` is nearer to `earliest`."""


def check_options(role: str, raw: Raw) -> Iterator[Finding]:
    """``format`` and ``options`` of one source, table, sink or dead letter."""
    name = text(raw, "format")
    if name is None:
        return
    known = ROLES[role]
    if name not in known:
        yield ("format",), _unknown_format(role, name)
        return
    options = part(raw, "options")
    yield from _check_names(role, name, known[name], options)
    yield from _check_groups(name, known[name], options)
    for key, value in options.items():
        if option := _find(known[name], key):
            yield from ((("options", key), message) for message in _check_value(key, option, value))


def _unknown_format(role: str, name: str) -> str:
    known = ROLES[role]
    elsewhere = [other for other in ("source", "table", "sink") if name in ROLES[other]]
    if elsewhere:
        return (
            f"{name!r} is a format of {' and '.join(map(_article, elsewhere))}, not one that can be {_VERBS[role]}; "
            f"known: {', '.join(known)}"
        )
    hint = did_you_mean(name, known)
    return f"{name!r} is no format that can be {_VERBS[role]}" + (hint or f"; known: {', '.join(known)}")


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "aeio" else f"a {role}"


def _find(format: Format, key: str) -> Option | None:
    return next((option for name, option in format.options.items() if name.lower() == key.lower()), None)


def _check_names(role: str, name: str, format: Format, options: Raw) -> Iterator[Finding]:
    for key in options:
        if _find(format, key):
            continue
        # `kafka.` alone hands anything to the client; but a slip in a name that the table has is still a slip.
        if any(key.lower().startswith(prefix) for prefix in format.pass_through):
            continue
        hint = did_you_mean(key, format.options)
        known = f"; known: {', '.join(format.options)}" if format.options else "; it has no options"
        yield ("options", key), f"{name} has no such option for {_article(role)}{hint or known}"


def _check_groups(name: str, format: Format, options: Raw) -> Iterator[Finding]:
    for group in format.one_of:
        found = [option for option in group if given(options, option)]
        if not found and len(group) == 1:
            near = [key for key in nearest(group[0], options) if not _find(format, key)]
            instead = f"; it is not called {near[0]!r}" if near else ""
            yield (
                ("options",),
                f"{name} needs the option {group[0]!r} ({format.options[group[0]].meaning}){instead}",
            )
        elif not found:
            yield ("options",), f"{name} needs one of the options {_listed(group)}"
        elif len(found) > 1:
            yield (
                ("options",),
                f"{name} takes one of the options {_listed(group)}, not {' and '.join(found)} together",
            )


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} and {names[-1]!r}" if len(names) > 1 else repr(names[0])


def _check_value(key: str, option: Option, value: object) -> Iterator[str]:
    if isinstance(value, dict | list) or value is None:
        return  # said already, or a secretRef
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    if "${" in shown:
        return  # known when it is looked up
    match option.kind:
        case "boolean" if shown.lower() not in ("true", "false"):
            yield f"{shown!r} is neither true nor false"
        case "count" if not _is_count(value, shown):
            yield f"{describe(value)} is no whole number from 0"
        case "choice" if shown.lower() not in [choice.lower() for choice in option.choices]:
            yield f"{shown!r} is not one of {', '.join(option.choices)}{did_you_mean(shown, option.choices)}"
        case "duration":
            yield from _check_duration(shown)
        case "offsets":
            yield from _check_offsets(shown)


def _is_count(value: object, shown: str) -> bool:
    if isinstance(value, float):
        return value.is_integer() and value >= 0
    return not isinstance(value, bool) and shown.strip().isdecimal()


def _check_duration(shown: str) -> Iterator[str]:
    # Spark writes these in its short form: 7d, 30s, 500ms.
    if shown.strip().isdecimal() or _short_duration(shown.strip().lower()):
        return
    try:
        parse_duration(shown)
    except ValueError as error:
        yield str(error)


def _short_duration(shown: str) -> bool:
    digits = shown.rstrip("abcdefghijklmnopqrstuvwxyz")
    return digits.isdecimal() and shown[len(digits) :] in ("us", "ms", "s", "m", "min", "h", "d")


def _check_offsets(shown: str) -> Iterator[str]:
    if shown.strip().lower() in ("earliest", "latest"):
        return
    try:
        offsets = json.loads(shown)
    except ValueError:
        offsets = None
    if not isinstance(offsets, dict):
        meant = _OFFSET_WORDS.get(shown.strip().lower())
        hint = f"; did you mean {meant!r}?" if meant else did_you_mean(shown, ("earliest", "latest"))
        yield f"{shown!r} is not one of earliest, latest or a JSON map of offsets{hint}"
        return
    for topic, partitions in offsets.items():
        if not isinstance(partitions, dict) or not all(
            number.isdecimal() and isinstance(offset, int) and offset >= -2
            for number, offset in partitions.items()
        ):
            yield (
                f"topic {topic!r}: expected a map of partitions and offsets, like "
                f'{{"{topic}": {{"0": 23, "1": -2}}}} (-2: earliest, -1: latest)'
            )
