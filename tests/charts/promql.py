"""As much of PromQL as it takes to say which metrics and labels an expression uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Whatever may stand in an expression, longest first; what matches none of these is a mistake of this file.
_TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<comment>\#.*)
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<range>\[[^\]]*\])
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<number>[0-9][0-9a-z.]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},@])
    """,
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = _GROUPING | {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Uses:
    """What an expression uses."""

    metrics: Mapping[str, frozenset[str]]
    """Each metric with the labels that it is selected by."""
    labels: frozenset[str]
    """Labels that are grouped or joined by."""


def uses(expression: str) -> Uses:
    """
    >>> uses('sum by (query) (rate(rows_total{job="a"}[5m])) > 0').metrics
    {'rows_total': frozenset({'job'})}
    """
    tokens = _tokens(expression)
    metrics: dict[str, frozenset[str]] = {}
    labels: set[str] = set()
    i = 0
    while i < len(tokens):
        kind, text = tokens[i]
        following = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        if kind == "name" and text in _GROUPING:
            if following == "(":
                i = _until(tokens, i, ")")
                labels |= _names(tokens, i)
        elif (
            kind == "name"
            and text not in _WORDS
            and following != "("
            and text not in _aggregations(tokens, i)
        ):
            selected: set[str] = set()
            if following == "{":
                i = _until(tokens, i, "}")
                selected = _names(tokens, i)
            metrics[text] = metrics.get(text, frozenset()) | selected
        i += 1
    return Uses(metrics, frozenset(labels))


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        assert match is not None, f"{expression!r}: cannot read what begins at {expression[at : at + 20]!r}"
        assert match.lastgroup is not None
        if match.lastgroup not in ("space", "comment"):
            found.append((match.lastgroup, match[0]))
        at = match.end()
    return found


def _until(tokens: list[tuple[str, str]], start: int, end: str) -> int:
    return next(i for i in range(start, len(tokens)) if tokens[i][1] == end)


def _names(tokens: list[tuple[str, str]], end: int) -> set[str]:
    """The names between the bracket that closes at ``end`` and the one that opens it."""
    start = max(i for i in range(end) if tokens[i][1] in "({")
    return {text for kind, text in tokens[start:end] if kind == "name"}


def _aggregations(tokens: list[tuple[str, str]], i: int) -> set[str]:
    """The name at ``i``, if it is an operator such as the `sum` of `sum by (...)`."""
    following = tokens[i + 1][1] if i + 1 < len(tokens) else ""
    return {tokens[i][1]} if following in ("by", "without") else set()
