"""How reports show time."""

from __future__ import annotations

import pytest

from tidemill.driver.progress import iso


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        (253_402_300_800, "+10000-01-01T00:00:00.000Z"),
        (316_516_204_799, "+11999-12-31T23:59:59.000Z"),
        (-62_135_596_801, "0000-12-31T23:59:59.000Z"),
        (-62_198_755_200, "-0001-01-01T00:00:00.000Z"),
    ],
)
def test_any_year_has_a_form(seconds: float, shown: str) -> None:
    assert iso(seconds) == shown
