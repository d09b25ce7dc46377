"""Reading a manifest: text to `StreamingJob`, or every problem at once."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tidemill.api.base import EXPLANATIONS, Part
from tidemill.api.document import Document, describe, read_documents
from tidemill.api.job import KIND, StreamingJob
from tidemill.api.problems import Path, Problem, dotted, line_of
from tidemill.api.references import missing_secrets
from tidemill.errors import ManifestError, did_you_mean, nearest
from tidemill.secrets import SecretResolver

_LARGEST = 3 * 1024 * 1024
"""A cluster's API server takes 1.5 MB (etcd's limit); YAML may be a little longer than JSON."""


def load(path_or_text: str | FilePath, env: Mapping[str, str] | None = None) -> StreamingJob:
    """The one StreamingJob of a file or of YAML text (a `str` with a line end is text).

    With ``env`` every ``${NAME}`` and ``secretRef`` must lead somewhere in it; without, nothing is looked up. Either
    way the job holds references, not values: `tidemill.secrets.SecretResolver` turns them into values where they
    are used. Raises ManifestError with all problems.
    """
    text, where = manifest_text(path_or_text)
    job, problems, lines = inspect(text)
    if job is not None and env is not None:
        missing = missing_secrets(job, SecretResolver(env))
        problems = [replace(p, line=line_of(p.path, lines)) for p in missing]
    if job is None or problems:
        raise ManifestError(map(str, problems), where)
    return job


def inspect(text: str) -> tuple[StreamingJob | None, list[Problem], Mapping[Path, int]]:
    """The job, or what is wrong with ``text`` in the order of its lines; and the line of each path."""
    document, problems = _the_job(read_documents(text))
    if document is None:
        return None, problems, {}
    job, found = parse(document.data)
    # A value that two readers read differently needs no second complaint about one of the readings.
    unclear = {problem.path for problem in problems}
    problems += [replace(p, line=line_of(p.path, document.lines)) for p in found if p.path not in unclear]
    return (None if problems else job), sorted(problems, key=lambda p: p.line or 0), document.lines


def parse(data: object) -> tuple[StreamingJob | None, list[Problem]]:
    """The job that ``data`` (an object as JSON has it) describes, or what is wrong with it."""
    if not isinstance(data, dict):
        return None, [Problem((), f"expected a StreamingJob, found {describe(data)}")]
    raw = without_nulls(StreamingJob, data)
    try:
        job, problems = StreamingJob.model_validate(raw, by_alias=True, by_name=False), []
    except ValidationError as error:
        job, problems = None, [_problem(details, raw) for details in error.errors(include_url=False)]
    told = {problem.path for problem in problems}
    # What a field has said already, a rule need not say again in other words.
    problems += [
        Problem(path, message) for path, message in _broken_rules(StreamingJob, raw, ()) if path not in told
    ]
    return (None if problems else job), problems


# --- Which document -------------------------------------------------------------------------------------------------


def manifest_text(path_or_text: str | FilePath) -> tuple[str, str]:
    """The text of a file, or text itself, and what messages call it. Raises ManifestError."""
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        return path_or_text, "manifest"
    path = FilePath(path_or_text)
    try:
        if path.stat().st_size > _LARGEST:
            raise ManifestError(
                [f"it is larger than {_LARGEST // 1024**2} MB; no cluster would take it"], str(path)
            )
        return path.read_text("utf-8"), str(path)
    except FileNotFoundError:
        raise ManifestError([f"there is no such file{_file_beside(path)}"], str(path)) from None
    except IsADirectoryError:
        raise ManifestError(["it is a directory; name the file"], str(path)) from None
    except UnicodeDecodeError:
        raise ManifestError(["it is no UTF-8 text; save it as UTF-8"], str(path)) from None
    except OSError as error:
        raise ManifestError([f"it cannot be read: {error.strerror}"], str(path)) from None


def _file_beside(path: FilePath) -> str:
    """The manifest in the same directory that may be meant; by stems, since all end alike."""
    beside = {p.stem: p.name for p in path.parent.glob("*.y*ml")} if path.parent.is_dir() else {}
    near = nearest(path.stem, beside)
    return f"; did you mean {beside[near[0]]!r}?" if near else ""


def _the_job(documents: list[Document]) -> tuple[Document | None, list[Problem]]:
    """The one document that is a StreamingJob. Other kinds may lie in the same file, as kubectl allows."""
    if not documents:
        return None, [Problem((), "it is empty; a manifest begins with 'apiVersion: tidemill.dev/v1alpha1'")]
    kinds = [d.data.get("kind") if isinstance(d.data, dict) else None for d in documents]
    jobs = [d for d, kind in zip(documents, kinds, strict=True) if kind == KIND]
    if len(jobs) > 1:
        again = [d.lines.get((), 1) for d in jobs[1:]]
        return None, [
            Problem(
                (),
                f"a file holds one StreamingJob, this one {len(jobs)}; move this one to its own file",
                line,
            )
            for line in again
        ]
    if not jobs and len(documents) > 1:
        found = ", ".join(str(kind) for kind in kinds)
        return None, [
            Problem((), f"none of its {len(documents)} documents is a StreamingJob (kinds: {found})")
        ]
    chosen = jobs[0] if jobs else documents[0]
    if chosen.data is None:
        return None, chosen.problems
    return chosen, list(chosen.problems)


# --- The tree of models ---------------------------------------------------------------------------------------------


def part_of(annotation: object) -> type[Part] | None:
    """The model inside ``Model``, ``list[Model]``, ``Model | None`` and the like."""
    if typing.get_origin(annotation) is None:
        return annotation if isinstance(annotation, type) and issubclass(annotation, Part) else None
    found = (part_of(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model), None)


@cache
def fields_of(model: type[Part]) -> Mapping[str, type[Part] | None]:
    """Each field by its name in YAML, with the model of its value."""
    return {field.alias or name: part_of(field.annotation) for name, field in model.model_fields.items()}


def without_nulls(model: type[Part], raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` without fields of value null: the API server takes ``watermark:`` for no watermark, and so do we."""
    fields = fields_of(model)
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        below = fields.get(key)
        if value is None and key in fields:
            continue
        if below and isinstance(value, dict):
            value = without_nulls(below, value)
        elif below and isinstance(value, list):
            value = [without_nulls(below, item) if isinstance(item, dict) else item for item in value]
        kept[key] = value
    return kept


def _broken_rules(model: type[Part], raw: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    for rule in model.RULES:
        if rule.check:
            yield from ((path + below, message) for below, message in rule.check(raw))
    for key, below in fields_of(model).items():
        value = raw.get(key)
        if below and isinstance(value, dict):
            yield from _broken_rules(below, value, (*path, key))
        elif below and isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _broken_rules(below, item, (*path, key, i))


# --- Pydantic's errors in our words ---------------------------------------------------------------------------------

_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _problem(error: ErrorDetails, raw: Mapping[str, Any]) -> Problem:
    path: Path = error["loc"]
    value, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return Problem(path, _unknown_field(path))
        case "missing":
            return Problem(path, "required field is missing")
        case "value_error":
            return Problem(path, str(context["error"]))
        case "literal_error":
            return Problem(path, _not_one_of(value, path))
        case "string_pattern_mismatch":
            return Problem(path, f"{describe(value)} {EXPLANATIONS[context['pattern']]}")
        case "string_too_short" | "too_short":
            return Problem(path, "it is empty")
        case "string_too_long":
            return Problem(path, f"{describe(value)} is longer than {context['max_length']} characters")
        case "too_long":
            return Problem(
                path, f"it has {context['actual_length']} entries; the most are {context['max_length']}"
            )
        case "greater_than_equal":
            return Problem(path, f"{describe(value)} is less than {context['ge']}")
        case "less_than_equal":
            return Problem(path, f"{describe(value)} is more than {context['le']}")
    if error["type"] in _EXPECTED:
        return Problem(path, _wrong_type(_EXPECTED[error["type"]], value))
    return Problem(path, f"{error['msg']}, found {describe(value)}")


def _wrong_type(expected: str, value: object) -> str:
    quotes = expected == "a text" and isinstance(value, bool | int | float)
    return f"expected {expected}, found {describe(value)}" + ("; put it in quotes" if quotes else "")


def _model_at(path: Path) -> type[Part] | None:
    model: type[Part] | None = StreamingJob
    for step in path:
        if isinstance(step, str) and model is not None:
            model = fields_of(model).get(step)
    return model


def _unknown_field(path: Path) -> str:
    model, name = _model_at(path[:-1]), str(path[-1])
    if model is None:
        return "unknown field"
    fields = list(fields_of(model))
    camel = re.sub(r"[_-]+([a-z])", lambda found: found[1].upper(), name)
    hint = f"; did you mean {camel!r}?" if camel in fields else did_you_mean(name, fields)
    return f"unknown field{hint or _elsewhere(name) or f'; known: {_joined(fields)}'}"


def _joined(words: list[str]) -> str:
    return ", ".join(words)


def _elsewhere(name: str) -> str | None:
    """A field that exists in another part: most slips of indentation end so."""
    places = sorted((dotted(path) for path in _all_fields(StreamingJob, ()) if path[-1] == name), key=len)
    return f"; it belongs to {places[0]}" if places else None


def _all_fields(model: type[Part], path: Path) -> Iterator[Path]:
    for name, below in fields_of(model).items():
        yield (*path, name)
        if below:
            yield from _all_fields(below, (*path, name))


def _not_one_of(value: object, path: Path) -> str:
    choices = _choices_at(path)
    if choices == [True]:
        return f"the only value is true; leave it out otherwise (found {describe(value)})"
    if len(choices) == 1:
        return f"expected {choices[0]}, found {describe(value)}"
    near = nearest(value, [str(c) for c in choices]) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{describe(value)} is not one of {', '.join(map(str, choices))}{hint}"


def _choices_at(path: Path) -> list[object]:
    """The values of the Literal that a field has."""
    names = [step for step in path if isinstance(step, str)]
    model = _model_at(tuple(names[:-1]))
    assert model is not None, path
    field = next(f for name, f in model.model_fields.items() if (f.alias or name) == names[-1])
    return list(_literals(field.annotation))


def _literals(annotation: object) -> Iterator[object]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    else:
        for argument in typing.get_args(annotation):
            yield from _literals(argument)
