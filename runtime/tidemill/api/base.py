"""What all models of the manifest share: strictness, names in camelCase, and the kinds of text they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tidemill.api import cel, moments
from tidemill.api.document import describe
from tidemill.api.problems import Path
from tidemill.errors import ParseException
from tidemill.secrets import SecretRef, malformed_reference
from tidemill.types import parse_ddl, parse_type

Raw = Mapping[str, Any]
"""A part of a manifest as it was written."""

Finding = tuple[Path, str]
"""A path below the part that a rule looks at, and what is wrong there."""


@dataclass(frozen=True)
class Rule:
    """What one field cannot say by itself: to people by ``check``, to the API server in CEL.

    ``check`` gets the part as it was written, so that a file with other mistakes is checked as well: it must
    bear fields that are absent or of a wrong type. One check may stand for several rules in CEL.
    """

    check: Callable[[Raw], Iterator[Finding]] | None = None
    cel: str | None = None
    says: str = ""
    """The API server's message; it cannot name values or lines."""
    at: str = ""
    """The field that the API server names, like ``.schema``; the part itself where empty."""
    reason: Literal["Invalid", "Required", "Forbidden"] = "Invalid"
    """How the API server begins: ``Required value: ...`` and ``Forbidden: ...`` need not show the value."""

    def validation(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        said = {"message": self.says, "rule": self.cel or ""}
        if self.at:
            said["fieldPath"] = self.at
        if self.reason != "Invalid":
            said["reason"] = f"FieldValue{self.reason}"
        return said


class Part(BaseModel):
    """Base of every object in a manifest."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        # Python code may write output_mode=...; `tidemill.api.load` reads files by their own names only.
        validate_by_name=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        if found := [rule.validation() for rule in cls.RULES if rule.cel]:
            schema["x-kubernetes-validations"] = found
        return schema


def parts(raw: Raw, key: str) -> Iterator[tuple[int, Raw]]:
    """The mappings of the list ``raw[key]`` with their positions; nothing where there is no such list."""
    value = raw.get(key)
    if isinstance(value, list):
        yield from ((i, item) for i, item in enumerate(value) if isinstance(item, dict))


def part(raw: Raw, key: str) -> Raw:
    """The mapping ``raw[key]``; empty where there is none."""
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def text(raw: Raw, key: str) -> str | None:
    """The text ``raw[key]``; None where there is none."""
    value = raw.get(key)
    return value if isinstance(value, str) else None


# --- Names ----------------------------------------------------------------------------------------------------------

# Words that end a name in SQL's FROM clause, where names of sources, tables and queries stand.
_RESERVED = frozenset(
    [
        "all",
        "and",
        "any",
        "as",
        "between",
        "both",
        "by",
        "case",
        "cast",
        "cross",
        "distinct",
        "else",
        "end",
        "except",
        "exists",
        "false",
        "for",
        "from",
        "full",
        "group",
        "having",
        "in",
        "inner",
        "intersect",
        "into",
        "is",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "natural",
        "not",
        "null",
        "offset",
        "on",
        "or",
        "order",
        "outer",
        "right",
        "select",
        "set",
        "some",
        "table",
        "then",
        "trailing",
        "true",
        "union",
        "unique",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
    ]
)


def _no_keyword(name: str) -> str:
    if name.lower() in _RESERVED:
        raise ValueError(
            f"{name!r} is a word of SQL; a query could not name it; add a word, like '{name}_rows'"
        )
    return name


SQL_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
DNS_LABEL_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

SqlName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=SQL_NAME_PATTERN,
        json_schema_extra=cel.extra(
            cel.validation(
                f"!(self.lowerAscii() in {cel.one_of(sorted(_RESERVED))})",
                "is a word of SQL; a query could not name it; add a word, like 'order_rows'",
            )
        ),
    ),
    AfterValidator(_no_keyword),
]
"""A name that SQL takes without quotes. 63 characters: it also becomes a metric label and part of a file name."""

ColumnName = Annotated[str, Field(min_length=1, max_length=255)]

EXPLANATIONS = {
    SQL_NAME_PATTERN: "is no name; write letters, digits and _, and no digit first, so that SQL needs no quotes",
    DNS_LABEL_PATTERN: "is no name in Kubernetes; write lower-case letters, digits and -, beginning with a letter",
    moments.DURATION_PATTERN: "is no duration; write a number and a unit, like '60 seconds' or '1 hour'",
    moments.STOP_AT_PATTERN: "is no time of day with a zone, like '03:00 Europe/Paris'",
}
"""Patterns in words; fields add their own by `explained`."""


def explained(pattern: str, words: str) -> str:
    """``pattern``, with ``words`` for the message when a value does not match."""
    EXPLANATIONS[pattern] = words
    return pattern


# --- Texts with a grammar -------------------------------------------------------------------------------------------


def _check_ddl(ddl: str) -> str:
    try:
        names = parse_ddl(ddl).names
    except ParseException as error:
        raise ValueError(error.desc) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"schema {ddl[:60]!r}: no JSON schema ({error}); write it like 'a INT, b STRING'"
        ) from None
    twice = sorted({name for name in names if [n.lower() for n in names].count(name.lower()) > 1})
    if twice:
        raise ValueError(f"schema names {', '.join(map(repr, twice))} twice")
    return ddl


def _check_type(ddl: str) -> str:
    try:
        parse_type(ddl)
    except ParseException as error:
        told = error.desc.replace("schema ", "type ").replace("'a INT, b STRING'", "'INT' or 'ARRAY<STRING>'")
        raise ValueError(told) from None
    return ddl


Ddl = Annotated[str, Field(min_length=1, max_length=20_000), AfterValidator(_check_ddl)]
TypeDdl = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_check_type)]


def _duration(*rules: cel.Validation) -> Any:
    said = cel.extra(*rules, pattern=moments.DURATION_PATTERN)
    return Field(min_length=1, max_length=100, json_schema_extra=said)


_NOT_NEGATIVE = cel.validation(
    f"!{cel.fits(moments.NEGATIVE_PATTERN)}", "is negative; write '0 seconds' or longer"
)
_FIXED = cel.validation(f"!{cel.fits('(?i)month|year')}", "has no fixed length; write it in days or hours")
_NOT_ZERO = cel.validation(cel.fits("[1-9]"), "is nothing; a refresh period is longer")

Delay = Annotated[str, _duration(_NOT_NEGATIVE), AfterValidator(moments.check_delay)]
Interval = Annotated[str, _duration(_NOT_NEGATIVE, _FIXED), AfterValidator(moments.check_interval)]
Period = Annotated[str, _duration(_NOT_NEGATIVE, _FIXED, _NOT_ZERO), AfterValidator(moments.check_period)]


# --- Options --------------------------------------------------------------------------------------------------------

_SECRET_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?\Z")
_SECRET_KEY = re.compile(r"(?!\.{1,2}\Z)[-._a-zA-Z0-9]+\Z")
LONGEST_VALUE = 32_768
"""An option can hold a JSON map of offsets for thousands of partitions, or an Avro schema."""


def _secret_text(value: Raw) -> str:
    ref = value.get("secretRef")
    if set(value) != {"secretRef"} or not isinstance(ref, dict) or set(ref) != {"name", "key"}:
        raise ValueError(
            "expected a text, or 'secretRef: {name: ..., key: ...}' with these two keys and no other"
        )
    name, key = ref["name"], ref["key"]
    if not isinstance(name, str) or not _SECRET_NAME.match(name):
        raise ValueError(f"secretRef.name: {describe(name)} is no name of a Secret")
    if not isinstance(key, str) or not _SECRET_KEY.match(key):
        raise ValueError(f"secretRef.key: {describe(key)} is no key of a Secret")
    return str(SecretRef(name, key))


def number_text(value: int | float) -> str:
    """A number as kubectl sends it, so that laptop and cluster see one text.

    >>> number_text(1e3), number_text(0.5), number_text(42)
    ('1000', '0.5', '42')
    """
    return (
        str(int(value))
        if isinstance(value, int) or (value.is_integer() and abs(value) < 1e21)
        else repr(value)
    )


def as_text(value: object) -> object:
    """The text that an option value stands for: ``true`` is "true", a secretRef its reference."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, dict):
        return _secret_text(value)
    if value is None:
        raise ValueError('has no value; write "" for an empty text')
    return value


def _check_references(value: str) -> str:
    if wrong := malformed_reference(value):
        raise ValueError(wrong)
    return value


SecretText = Annotated[str, AfterValidator(_check_references)]
"""A text that may hold ``${NAME}``."""


def _text_of(pattern: re.Pattern[str]) -> dict[str, Any]:
    # Go knows no lookahead; `.` and `..` are refused by the operator.
    plain = pattern.pattern.replace(r"(?!\.{1,2}\Z)", "").removesuffix(r"\Z")
    return {"type": "string", "minLength": 1, "maxLength": 253, "pattern": f"^{plain}$"}


# Texts, numbers, booleans and a secretRef. A structural schema has one type or none, and int-or-string knows no
# booleans; so there is none, and what bounds lists and mappings says that no list and one mapping will do.
_OPTION_SCHEMA = {
    "x-kubernetes-preserve-unknown-fields": True,
    "maxLength": LONGEST_VALUE,
    "minItems": 1,
    "maxItems": 0,
    "maxProperties": 1,
    "required": ["secretRef"],
    "properties": {
        "secretRef": {
            "description": "A key of a Kubernetes Secret in the job's namespace.",
            "type": "object",
            "required": ["name", "key"],
            "properties": {
                "name": {"description": "The name of the Secret.", **_text_of(_SECRET_NAME)},
                "key": {"description": "The key in it.", **_text_of(_SECRET_KEY)},
            },
        }
    },
}

OptionValue = Annotated[
    SecretText,
    Field(max_length=LONGEST_VALUE),
    BeforeValidator(as_text),
    WithJsonSchema(_OPTION_SCHEMA),
]
Options = Annotated[dict[str, OptionValue], Field(max_length=200)]


def _free(value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"expected a mapping, not {describe(value)}")
    return value


if TYPE_CHECKING:
    FreeObject = dict[str, Any]
else:
    FreeObject = Annotated[
        dict[str, Any],
        BeforeValidator(_free),
        WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ]
"""Something that another part of the cluster checks."""
