"""PySpark's functions, by PySpark's names: ``from tidemill.sql import functions as F``.

A function that does not exist here is refused by name, with the nearest that does.
"""

from __future__ import annotations

from typing import Any

from tidemill.errors import PySparkAttributeError, nearest
from tidemill.sql.functions import (
    aggregates,
    core,
    formats,
    hashing,
    maths,
    nested,
    ranking,
    text,
    times,
    userdefined,
)
from tidemill.sql.functions.aggregates import *  # noqa: F403
from tidemill.sql.functions.core import *  # noqa: F403
from tidemill.sql.functions.formats import *  # noqa: F403
from tidemill.sql.functions.hashing import *  # noqa: F403
from tidemill.sql.functions.maths import *  # noqa: F403
from tidemill.sql.functions.nested import *  # noqa: F403
from tidemill.sql.functions.ranking import *  # noqa: F403
from tidemill.sql.functions.text import *  # noqa: F403
from tidemill.sql.functions.times import *  # noqa: F403
from tidemill.sql.functions.userdefined import *  # noqa: F403

_MODULES = (core, maths, text, times, nested, aggregates, ranking, formats, hashing, userdefined)

__all__ = sorted({name for module in _MODULES for name in module.__all__})


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    near = nearest(name, __all__, 3)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise PySparkAttributeError(f"function {name!r} does not exist in Tidemill{hint}", "UNRESOLVED_ROUTINE")
