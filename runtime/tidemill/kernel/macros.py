"""Functions that DuckDB lacks, as Python over Arrow columns.

A name is ``tm_<function>`` with the function's parameters after ``__``, as ``tm_decimal_multiply__38_6``: the plan's SQL
is all that has to travel to an executor. Each is slow beside DuckDB's own (about a microsecond a row), so expressions
call them for the rows only that a native expression cannot answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KernelFunction:
    """``call`` takes Arrow columns of one length and returns one; ``returns`` is DuckDB's name of its type."""

    call: Callable[..., Any]
    returns: str
    volatile: bool = False


Builder = Callable[..., KernelFunction]
_BUILDERS: dict[str, Builder] = {}


def kernel(name: str) -> Callable[[Builder], Builder]:
    """Make a builder known under ``tm_<name>``; it takes the parameters as text."""

    def add(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        return builder

    return add


def build(name: str) -> KernelFunction:
    """The function behind a name found in SQL."""
    stem, _, parameters = name.removeprefix("tm_").partition("__")
    if stem not in _BUILDERS:
        from tidemill.kernel import functions

        functions.load()
    return _BUILDERS[stem](*(parameters.split("_") if parameters else ()))
