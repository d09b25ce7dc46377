"""Rules of single texts for the API server, in CEL: what a type, a bound and a list of values cannot say.

The API server puts the field's path before a message, and its type instead of its value; so a message names the value:
``spec.queries[0].name: Invalid value: "string": 'a b' is no name; ...``. Python holds the same rules with the models,
and names more.
"""

from __future__ import annotations

from typing import Any

from tidemill.api.cron import FIELDS, SHAPE
from tidemill.api.moments import STOP_AT_PATTERN, ZONE_PATTERN

Validation = dict[str, str]


def validation(rule: str, words: str, value: str = "self") -> Validation:
    """One entry of ``x-kubernetes-validations``. ``words`` go on after the text ``value``: ``is no name; ...``.

    The API server takes them without the text where that has several lines.
    """
    assert '"' not in words and "\\" not in words, words
    return {"message": words, "messageExpression": f'"\'" + {value} + "\' {words}"', "rule": rule}


def extra(*validations: Validation, **rest: Any) -> dict[str, Any]:
    """What a field of pydantic adds to its schema."""
    return {"x-kubernetes-validations": list(validations), **rest}


def literal(text: str) -> str:
    r"""A raw text of CEL.

    >>> print(literal(r"^\s+$"))
    r'^\s+$'
    """
    assert "'" not in text and "\n" not in text, text
    return f"r'{text}'"


def fits(pattern: str, value: str = "self") -> str:
    """Whether ``value`` matches ``pattern``."""
    return f"{value}.matches({literal(pattern)})"


def one_of(words: list[str]) -> str:
    """A list of texts.

    >>> one_of(["csv", "json"])
    "['csv', 'json']"
    """
    return f"[{', '.join(repr(word) for word in words)}]"


def unchanged(path: str) -> str:
    """Whether an update leaves the optional field alone; what is around it is there by its default.

    >>> unchanged("id")
    '(has(self.id) ? has(oldSelf.id) && self.id == oldSelf.id : !has(oldSelf.id))'
    """
    now, before = f"self.{path}", f"oldSelf.{path}"
    return f"(has({now}) ? has({before}) && {now} == {before} : !has({before}))"


def schedule() -> list[Validation]:
    """A schedule of cron, field by field, so that the message names the wrong one."""
    five = "size(self.split(' ')) == 5"
    return [validation(five, f"is no schedule; write {SHAPE}")] + [
        validation(
            f"!({five}) || self.split(' ')[{i}].split(',').all(term, {fits(field.pattern, 'term')})",
            f"is no {field.where}; it takes {field.takes}",
            f"self.split(' ')[{i}]",
        )
        for i, field in enumerate(FIELDS)
    ]


def zone() -> list[Validation]:
    """A name that the API server's own time zones have: to ask for the hour there fails for any other."""
    return [
        validation(fits(ZONE_PATTERN), "is no time zone; write one like 'Europe/Paris' or 'UTC'"),
        _exists("self", fits(ZONE_PATTERN)),
    ]


def zone_of_stop_at() -> list[Validation]:
    """The zone behind a time of day."""
    return [_exists("self.substring(6)", fits(STOP_AT_PATTERN))]


def _exists(zone: str, sound: str) -> Validation:
    """The API server says ``unknown time zone Pariss evaluating rule: `` before the message."""
    hour = f"timestamp('2000-01-01T00:00:00Z').getHours({zone})"
    return {
        "message": "write one that exists, like 'Europe/Paris' or 'UTC'",
        "rule": f"!{sound} || {hour} >= 0",
    }
