"""Whether an object is what it should be."""

from __future__ import annotations

from typing import Any


def holds(found: Any, wanted: Any, field: str = "") -> bool:
    """Whether ``found`` has all that is ``wanted``. More, that the API server has added, is no matter, but for selectors.

    >>> (
    ...     holds({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]}),
    ...     holds({"selector": {"a": 1, "b": 2}}, {"selector": {"a": 1}}),
    ... )
    (True, False)
    """
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or (
            field in ("selector", "matchLabels") and found.keys() != wanted.keys()
        ):
            return False
        return all(k in found and holds(found[k], v, k) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)
