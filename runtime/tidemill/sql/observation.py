"""Figures of a DataFrame that does not stream, beside its rows."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from tidemill.errors import PySparkAssertionError

if TYPE_CHECKING:
    from tidemill.sql.dataframe import DataFrame


class Observation:
    """Given to one ``df.observe(observation, ...)``; `get` has the aggregates named there."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name or str(uuid.uuid4())
        self._figures: DataFrame | None = None
        self._found: dict[str, Any] | None = None

    def _of(self, figures: DataFrame) -> None:
        if self._figures is not None:
            raise PySparkAssertionError(
                "An Observation can be used with a DataFrame only once.", "REUSE_OBSERVATION"
            )
        self._figures = figures

    @property
    def get(self) -> dict[str, Any]:
        """The figures by name; computed when they are first asked for."""
        if self._figures is None:
            raise PySparkAssertionError(
                "Should observe by calling `DataFrame.observe` before `get`.", "NO_OBSERVE_BEFORE_GET"
            )
        if self._found is None:
            self._found = self._figures.collect()[0].asDict()
        return self._found
