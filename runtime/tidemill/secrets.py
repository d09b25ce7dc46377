"""Secrets: how a manifest refers to them, where they are found, and what keeps them out of print.

A manifest refers to a secret in two ways:

- ``${NAME}`` inside a text: the environment variable NAME (``$${`` stands for the characters ``${``).
- ``secretRef: {name: kafka, key: password}`` in place of a text: the file ``<directory>/kafka/password``, as
  Kubernetes mounts a Secret; without such a file the environment variable ``KAFKA_PASSWORD``. Inside it is the text
  ``${secret:kafka/password}``, so that options stay texts, and plans and checkpoints hold references only.

Both are looked up late, by `SecretResolver`, and become a `Secret`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill.errors import TidemillError

MASK = "***"

DIRECTORY_VARIABLE = "TIDEMILL_SECRETS_DIR"
"""Names the directory of `SecretRef` files. The operator sets it to where it mounts the job's Secrets."""

_SHORTEST_MASKED = 4
"""`SecretResolver.mask` leaves shorter values alone: replacing each ``1`` or ``on`` would ruin the text and hide
nothing."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# Neither may lead out of the directory of secrets: a name begins with a letter or digit, a key is not `..`.
_SECRET = r"secret:(?P<secret>[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)/(?P<key>(?!\.{1,2}\})[-._a-zA-Z0-9]+)"
_REFERENCE = re.compile(rf"\$(?:\$(?=\{{)|\{{(?:(?P<name>{_NAME})|{_SECRET})\}})")
_OPENING = re.compile(r"\$\{")


class Secret(str):
    """A text that does not show itself: ``str``, ``repr``, ``format`` and ``%s`` give ``***``.

    It *is* the text for whoever compares, encodes, splits or parses it. The trap: ``str(value)``, ``Path(value)`` and
    confluent_kafka call ``str`` and get ``***``; pass it on as it is, and hand `plain` of it to a library.
    ``json.dumps`` and ``"".join`` see the value.

    >>> password = Secret("hunter2")
    >>> f"{password} {password!r}", password == "hunter2", password.reveal()
    ("*** '***'", True, 'hunter2')
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The plain text."""
        return str.__str__(self)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return repr(MASK)

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __add__(self, other: str) -> Secret:
        return Secret(self.reveal() + plain(other))

    def __radd__(self, other: str) -> Secret:
        return Secret(plain(other) + self.reveal())

    def __getnewargs__(self) -> tuple[str]:
        return (self.reveal(),)


def plain(text: str) -> str:
    """The text itself, for a library that would call ``str`` on it: at the last moment, and never for a message."""
    return text.reveal() if isinstance(text, Secret) else text


@dataclass(frozen=True)
class SecretRef:
    """A key of a Kubernetes Secret, or of its stand-in on a laptop. ``str()`` gives its form inside a text."""

    name: str
    key: str

    @property
    def variable(self) -> str:
        """The environment variable that stands in for the file.

        >>> SecretRef("kafka", "sasl.password").variable
        'KAFKA_SASL_PASSWORD'
        """
        return re.sub(r"[^A-Z0-9]", "_", f"{self.name}_{self.key}".upper())

    def __str__(self) -> str:
        return f"${{secret:{self.name}/{self.key}}}"


@dataclass(frozen=True)
class EnvRef:
    """An environment variable. ``str()`` gives its form inside a text."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"


class MissingSecret(TidemillError):
    """A reference leads nowhere. The message names the reference and the remedy, never a value."""


def references(text: str) -> list[EnvRef | SecretRef]:
    """What ``text`` refers to, in order.

    >>> [str(found) for found in references("redis://:${secret:redis/password}@${HOST} $${literal}")]
    ['${secret:redis/password}', '${HOST}']
    """
    return [_reference(found) for found in _REFERENCE.finditer(text) if found[0] != "$$"]


def _reference(found: re.Match[str]) -> EnvRef | SecretRef:
    return EnvRef(found["name"]) if found["name"] else SecretRef(found["secret"], found["key"])


def malformed_reference(text: str) -> str | None:
    """What is wrong with the ``${`` in ``text``, or None.

    >>> malformed_reference("${kafka-password}")
    "'${kafka-password}' is no reference; write ${NAME} with letters, digits and _, or $${ for the characters ${"
    """
    # An escape is the two characters `$$` before a `{`: its `${` begins with the second of them.
    understood = {found.start() + (found[0] == "$$") for found in _REFERENCE.finditer(text)}
    for opening in _OPENING.finditer(text):
        if opening.start() not in understood:
            shown = re.match(r"\$\{[^}]{0,40}\}?", text[opening.start() :])
            return (
                f"{(shown[0] if shown else _OPENING.pattern)!r} is no reference; "
                "write ${NAME} with letters, digits and _, or $${ for the characters ${"
            )
    return None


class SecretResolver:
    """Looks references up in an environment and a directory, and remembers the values only to mask them."""

    def __init__(self, env: Mapping[str, str] | None = None, directory: str | Path | None = None) -> None:
        """``directory`` defaults to the environment's TIDEMILL_SECRETS_DIR."""
        self._env = os.environ if env is None else env
        named = directory or self._env.get(DIRECTORY_VARIABLE)
        self._directory = Path(named) if named else None
        self._seen: set[str] = set()

    def resolve(self, text: str) -> str:
        """``text`` with its references replaced: a `Secret` if it had any.

        Raises MissingSecret.
        """
        if isinstance(text, Secret) or "${" not in text:
            return text
        resolved = _REFERENCE.sub(
            lambda found: "$" if found[0] == "$$" else self._look_up(_reference(found)), text
        )
        return Secret(resolved) if references(text) else resolved

    def resolve_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """Every value of ``options``, resolved. Raises MissingSecret, naming the option."""
        found = {}
        for key, text in options.items():
            try:
                found[key] = self.resolve(text)
            except MissingSecret as error:
                raise MissingSecret(f"option {key!r}: {error}") from None
        return found

    def mask(self, text: str) -> str:
        """``text`` with every value that this resolver has given out replaced by ``***``.

        For text that others wrote: a client library's error message may quote its configuration.
        """
        for value in sorted(self._seen, key=len, reverse=True):
            text = text.replace(value, MASK)
        return text

    def _look_up(self, reference: EnvRef | SecretRef) -> str:
        value = self._from_env(reference) if isinstance(reference, EnvRef) else self._from_ref(reference)
        if len(value) >= _SHORTEST_MASKED:
            self._seen.add(value)
        return value

    def _from_env(self, reference: EnvRef) -> str:
        if reference.name not in self._env:
            raise MissingSecret(f"{reference} is not set; set the environment variable {reference.name}")
        return self._env[reference.name]

    def _from_ref(self, ref: SecretRef) -> str:
        file = self._directory / ref.name / ref.key if self._directory else None
        if file is not None:
            try:
                # Editors end a file with a newline that is no part of a password.
                return file.read_text("utf-8").removesuffix("\n")
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
                raise MissingSecret(
                    f"secret {ref.name!r}, key {ref.key!r}: cannot read {file}: {reason}"
                ) from None
        if ref.variable in self._env:
            return self._env[ref.variable]
        place = (
            f"write it to {file}"
            if file
            else f"put it into the file {ref.name}/{ref.key} of {DIRECTORY_VARIABLE}"
        )
        raise MissingSecret(
            f"secret {ref.name!r} has no key {ref.key!r} here; {place}, or set the environment variable {ref.variable}"
        )
