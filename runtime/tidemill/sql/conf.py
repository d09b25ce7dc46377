"""``spark.conf``: settings that may change while the session lives."""

from __future__ import annotations

from typing import Any

from tidemill.config import KNOWN, Config
from tidemill.errors import AnalysisException
from tidemill.sql.arguments import expect

_NO_VALUE = object()


class RuntimeConfig:
    """Reads and changes the settings of one session."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def set(self, key: str, value: str | int | bool) -> None:
        """Change a setting; it counts for what is built or started from now on."""
        expect(key, str, "key", "str")
        expect(value, (str, int, float, bool), "value", "bool, int or str")
        known = KNOWN.get(key)
        if known is not None and known.static:
            raise AnalysisException(
                f'Cannot modify the value of the static Spark config: "{key}"; give it to SparkSession.builder.config',
                "CANNOT_MODIFY_STATIC_CONFIG",
            )
        self._config.set(key, value)

    def get(self, key: str, default: Any = _NO_VALUE) -> str | None:
        """The value, or its default, or ``default``; an unknown key without a default is an error."""
        expect(key, str, "key", "str")
        if (
            default is not _NO_VALUE
            and key not in self._config.explicit()
            and (key not in KNOWN or KNOWN[key].default is None)
        ):
            return None if default is None else str(default)
        return self._config.get(key)

    def unset(self, key: str) -> None:
        """Back to the default."""
        self._config.unset(key)

    @property
    def getAll(self) -> dict[str, str]:
        """Everything that has a value."""
        return self._config.all()

    def isModifiable(self, key: str) -> bool:
        """Whether a known setting can be changed now."""
        known = KNOWN.get(key)
        return known is not None and not known.static
