"""The function registry: `known_functions` lists it; each family is a module that fills it."""

from __future__ import annotations

import importlib

from tidemill.plan.functions.registry import FUNCTIONS, Call, Function, lookup

FAMILIES = (
    "conditional", "math", "string", "datetime", "collection", "higher", "json", "csv", "hash", "aggregate", "statistics", "window",
    "misc", "fields",
)  # fmt: skip

for _family in FAMILIES:
    importlib.import_module(f"{__name__}.{_family}")


def known_functions() -> dict[str, str]:
    """Every function that is mapped, with its kind (`tidemill.plan.functions.registry`)."""
    return {name: FUNCTIONS[name].kind for name in sorted(FUNCTIONS)}


__all__ = ["FUNCTIONS", "Call", "Function", "known_functions", "lookup"]
