"""The kernel functions by family; loaded when a query first names one."""

from __future__ import annotations

import importlib

FAMILIES = (
    "times",
    "decimals",
    "texts",
    "regexes",
    "numbers",
    "formats",
    "hashes",
    "patterns",
    "documents",
    "separated",
    "urls",
    "intervals",
)


def load() -> None:
    """Import every family, so that all builders are known."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
