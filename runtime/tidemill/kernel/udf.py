"""User functions as the kernel knows them. Registration is in `tidemill.kernel.duck`."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tidemill.types import DataType

UdfKind = Literal["python", "pandas", "arrow", "pandas_agg"]


@dataclass(frozen=True)
class UserFunction:
    """A function that the user wrote, with what the engine must know to call it."""

    name: str
    function: Callable[..., Any] = field(compare=False)
    return_type: DataType
    kind: UdfKind = "python"
    deterministic: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Unique for ever, also after pickling: two functions of one name are two functions."""

    @property
    def sql_name(self) -> str:
        """The name under which DuckDB knows it."""
        return f"udf_{self.id}"


def registration(function: UserFunction) -> tuple[Callable[..., Any], str]:
    """What DuckDB is given: a function over Arrow columns, and the name of the type that it returns."""
    raise NotImplementedError
