"""What a call refuses before anything is built: arguments of the wrong Python type."""

from __future__ import annotations

from typing import Any, NoReturn

from tidemill.errors import PySparkTypeError


def wrong_type(name: str, expected: str, value: Any) -> NoReturn:
    """Refuse an argument as PySpark words it: ``Argument `col` should be Column or str, got int.``"""
    raise PySparkTypeError(
        f"Argument `{name}` should be {expected}, got {type(value).__name__}.",
        "NOT_EXPECTED_TYPE",
        {"arg_name": name, "expected_type": expected, "arg_type": type(value).__name__},
    )


def expect(value: Any, kinds: type | tuple[type, ...], name: str, expected: str) -> None:
    """Refuse ``value`` unless it is one of ``kinds``; a bool is no number here, as in PySpark."""
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wrong_type(name, expected, value)
