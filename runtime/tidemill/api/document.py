"""YAML into plain data, strictly: what two readers of YAML would read differently is a problem, not a guess.

A manifest is read here on a laptop and by kubectl (Go, YAML 1.1) on its way to a cluster, and both must see the same
job. So a plain ``03:00`` is a text (it is 180 to PyYAML), a date is a text, and what kubectl would turn into another
value than the one that is written (``on``, ``no``, ``0644``, ``1_000``) has to be quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tidemill.api.problems import Path, Problem

_MOST_NODES = 100_000
"""Aliases may repeat a part of the text any number of times; a manifest of a cluster holds 1.5 MB at most."""

_DEEPEST = 64

_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOLEAN = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_OTHER_BOOLEAN = re.compile(r"(?:y|Y|yes|Yes|YES|on|On|ON)\Z|(?:n|N|no|No|NO|off|Off|OFF)\Z")
_OTHER_NUMBER = re.compile(
    r"[-+]?(?:0[xob]?[0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?|\.(?:inf|nan))\Z", re.I
)
_TAGS = "tag:yaml.org,2002:"


@dataclass
class Document:
    """One YAML document as dicts, lists and scalars; ``lines`` has the line of each path."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """SafeLoader without guesses about plain scalars: `_Builder` makes them."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


def read_documents(text: str) -> list[Document]:
    """Every document of ``text`` that is not empty. Text that is no YAML gives one Document with the problem."""
    try:
        return [found for found in _documents(text) if found.data is not None or found.problems]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        return [Document(problems=[Problem((), f"this is no YAML: {said}", mark.line + 1 if mark else None)])]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        said = (
            f"character {chr(error.character)!r} cannot stand in YAML; write it as an escape in double quotes"
        )
        return [Document(problems=[Problem((), f"this is no YAML: {said}", line)])]


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            yield _Builder().build(node)
    finally:
        loader.dispose()


class _TooLarge(Exception):
    """Aliases multiply beyond any manifest."""


class _Builder:
    """Turns one tree of YAML nodes into data, and writes down lines and problems on the way."""

    def __init__(self) -> None:
        self.document = Document()
        self.nodes = 0

    def build(self, node: yaml.Node) -> Document:
        try:
            self.document.data = self.value(node, ())
        except _TooLarge as error:
            self.problem((), str(error), node)
        return self.document

    def problem(self, path: Path, message: str, node: yaml.Node) -> None:
        self.document.problems.append(Problem(path, message, node.start_mark.line + 1))

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise _TooLarge(
                f"larger than a manifest can be ({_MOST_NODES:,} values, {_DEEPEST} levels): does an alias (*name) "
                "repeat itself?"
            )
        # A key's line is better than its value's: a block text begins below its key.
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem(path, "a key must be a text", key_node)
                continue
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if key == "<<" and key_node.style is None:
                merged = self.merge(value_node, path) | merged
                continue
            if key in first:
                self.problem(here, f"written twice (first on line {first[key]}); keep one", key_node)
                continue
            first[key] = line
            self.document.lines[here] = line
            if key_node.style is None and _OTHER_BOOLEAN.match(key):
                self.ambiguous(key, here, key_node)
            found[key] = self.value(value_node, here)
        return merged | found

    def merge(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """The mappings that ``<<:`` brings in; the first one wins."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in parts:
            value = self.value(part, path)
            if isinstance(value, dict):
                merged = value | merged
            else:
                self.problem(path, "'<<' takes a mapping, as in '<<: *name'", part)
        return merged

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if node.tag == _TAGS + "str" and node.style is None:
            return self.plain(text, path, node)
        tag = node.tag.removeprefix(_TAGS)
        if tag != "str":
            self.problem(path, f"tag !!{tag} is not for a manifest; write the value itself", node)
        return text

    def plain(self, text: str, path: Path, node: yaml.ScalarNode) -> Any:
        if _NULL.match(text):
            return None
        if _BOOLEAN.match(text):
            return text.lower() == "true"
        if _INTEGER.match(text):
            return int(text)
        if _FLOAT.match(text):
            return float(text)
        if _OTHER_BOOLEAN.match(text) or _OTHER_NUMBER.match(text):
            self.ambiguous(text, path, node)
        return text

    def ambiguous(self, text: str, path: Path, node: yaml.Node) -> None:
        truth = _OTHER_BOOLEAN.match(text)
        meant = "true or false" if truth else "a plain decimal number"
        also = f"the {'boolean' if truth else 'number'} that kubectl reads, or the text {text!r}"
        self.problem(path, f"{text} without quotes may be {also}; write {meant}, or '{text}' in quotes", node)


def describe(value: Any) -> str:
    """A value as a message names it, cut where it is long.

    >>> describe(True), describe([1]), describe("a")
    ('true (a boolean)', 'a list', "'a'")
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} (a boolean)"
        case int() | float():
            return f"{value} (a number)"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
