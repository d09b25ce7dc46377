"""YAML as it is read: strictly, and as kubectl would read it."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.manifests import WEB_LOGS, complaints
from tidemill.api.document import read_documents

# PyYAML's writer leaves these plain, since PyYAML's reader takes them for texts; kubectl does not.
texts = st.text().filter(lambda text: not re.match(r"[yYnN]\Z|[-+]?0o", text))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(texts.filter(bool), inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_what_a_yaml_writer_writes_is_read_back(tree: object) -> None:
    documents = read_documents(yaml.safe_dump(tree))
    assert [d.problems for d in documents] == ([] if tree is None else [[]])
    assert [d.data for d in documents] == ([] if tree is None else [tree])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("03:00", "03:00"),
        ("2013-07-01", "2013-07-01"),
        ("2013-07-01 12:00:00", "2013-07-01 12:00:00"),
        ("true", True),
        ("False", False),
        ("'on'", "on"),
        ("12", 12),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("0.1.0", "0.1.0"),
        ("=", "="),
        ("~", None),
        ("''", ""),
    ],
)
def test_plain_values(written: str, read: object) -> None:
    (document,) = read_documents(f"key: {written}\n")
    assert document.data == {"key": read}
    assert document.problems == []


@pytest.mark.parametrize("word", ["on", "Off", "yes", "NO", "y", "N", "0644", "08", "1_000", "0x1F", "0b1"])
def test_what_readers_of_yaml_disagree_on_has_to_be_quoted(word: str) -> None:
    (document,) = read_documents(f"a: 1\nkey: {word}\n")
    (problem,) = document.problems
    assert problem.line == 2
    assert f"{word} without quotes may be" in problem.message
    assert f"'{word}' in quotes" in problem.message
    assert read_documents(f"key: '{word}'\n")[0].problems == []


def test_an_unclear_value_is_named_once() -> None:
    text = WEB_LOGS.replace('header: "true"', "header: yes")
    assert complaints(text) == [
        (
            "spec.tables[0].options.header: yes without quotes may be the boolean that kubectl reads, or the text "
            "'yes'; write true or false, or 'yes' in quotes"
        )
    ]


def test_a_key_written_twice_is_refused() -> None:
    text = WEB_LOGS.replace("  suspend: false", "  suspend: false\n  stopAt: 04:00 UTC")
    assert complaints(text) == ["spec.stopAt: written twice (first on line 33); keep one"]


def test_a_file_may_hold_other_kinds_but_one_job() -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: code}\n"
    assert complaints(f"---\n{config}---\n{WEB_LOGS}---\n") == []
    assert complaints(f"{WEB_LOGS}---\n{WEB_LOGS}") == [
        "a file holds one StreamingJob, this one 2; move this one to its own file"
    ]
    assert complaints(f"{config}---\n{config}") == [
        "none of its 2 documents is a StreamingJob (kinds: ConfigMap, ConfigMap)"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n", "it is empty; a manifest begins with 'apiVersion: tidemill.dev/v1alpha1'"),
        ("- a\n- b\n", "expected a StreamingJob, found a list"),
        ("just words\n", "expected a StreamingJob, found 'just words'"),
        ("a: [1\nb: 2\n", "this is no YAML: while parsing a flow sequence expected ',' or ']', but got ':'"),
        ("a: \tb\n\tc: d\n", "this is no YAML: while scanning for the next token found character '\\t'"),
    ],
)
def test_text_that_is_no_manifest(text: str, expected: str) -> None:
    (problem, *_) = complaints(text)
    assert problem.startswith(expected)


def test_aliases_and_merges_are_followed_but_cannot_explode() -> None:
    (document,) = read_documents("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\n")
    assert document.data["more"] == {"x": 1, "y": 3}
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9))
    (bomb,) = read_documents(f"l0: &l0 [lol]\n{levels}\n")
    assert "does an alias (*name) repeat itself?" in bomb.problems[0].message
    (loop,) = read_documents("a: &x [*x]\n")
    assert "does an alias (*name) repeat itself?" in loop.problems[0].message


def test_no_tag_makes_an_object() -> None:
    (document,) = read_documents("a: !!python/name:os.system x\nb: !!binary aGk=\n")
    assert [p.message for p in document.problems] == [
        "tag !!python/name:os.system is not for a manifest; write the value itself",
        "tag !!binary is not for a manifest; write the value itself",
    ]
