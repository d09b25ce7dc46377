"""Where a manifest refers to secrets, and what it refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tidemill.api.job import StreamingJob
from tidemill.api.problems import Path, Problem
from tidemill.secrets import EnvRef, MissingSecret, SecretRef, SecretResolver, references


class References(NamedTuple):
    """What the texts of a manifest refer to."""

    secrets: Mapping[str, tuple[str, ...]]
    """Each Kubernetes Secret, by its name, with the keys that are used; both in alphabetical order."""
    variables: tuple[str, ...]
    """The environment variables, in alphabetical order."""


def secret_references(job: StreamingJob) -> References:
    """The Secrets and the environment variables that ``job`` needs, wherever it may refer to them.

    A ConfigMap that holds a program is no secret, and `Program.config_map` names it.
    """
    found = [reference for _, text in _holders(job) for reference in references(text)]
    refs = sorted({(ref.name, ref.key) for ref in found if isinstance(ref, SecretRef)})
    names = dict.fromkeys(name for name, _ in refs)
    return References(
        {name: tuple(key for owner, key in refs if owner == name) for name in names},
        tuple(sorted({ref.name for ref in found if isinstance(ref, EnvRef)})),
    )


def missing_secrets(job: StreamingJob, resolver: SecretResolver) -> list[Problem]:
    """Every reference of ``job`` that leads nowhere."""
    found = []
    for path, text in _holders(job):
        try:
            resolver.resolve(text)
        except MissingSecret as error:
            found.append(Problem(path, str(error)))
    return found


def holds_references(path: Path) -> bool:
    """Whether the text at ``path`` may hold ``${NAME}``: options, conf, arguments and the checkpoint's location."""
    return (
        path[-2:-1] == ("options",)
        or path[1:2] == ("conf",)
        or path[1:3]
        in (
            ("program", "args"),
            ("checkpoint", "location"),
        )
    )


def _holders(job: StreamingJob) -> Iterator[tuple[Path, str]]:
    for path, text in _texts(job.model_dump(by_alias=True, exclude_none=True), ()):
        if path[:1] == ("spec",) and holds_references(path):
            yield path, text


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _texts(item, (*path, key))
