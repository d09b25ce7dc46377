"""What readers and writers share: collecting a format and its options."""

from __future__ import annotations

from typing import Any, TypeVar

from tidemill.sql.arguments import expect

Self = TypeVar("Self", bound="OptionSetter")


def option_text(value: Any) -> str:
    """An option's value as text; secrets, which are texts of their own kind, stay what they are."""
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


class OptionSetter:
    """A format and options, set one by one. Option names count in any case; a later value replaces an earlier one."""

    _format: str | None
    _options: dict[str, str]

    def format(self: Self, source: str) -> Self:
        """The kind of source or sink: ``csv``, ``json``, ``parquet``, ``text``, ``avro``, ``kafka``, ..."""
        expect(source, str, "source", "str")
        self._format = source
        return self

    def option(self: Self, key: str, value: Any) -> Self:
        """One option; None leaves it as it is."""
        if value is not None:
            for old in [k for k in self._options if k.lower() == key.lower()]:
                del self._options[old]
            self._options[key] = option_text(value)
        return self

    def options(self: Self, **options: Any) -> Self:
        """Several options."""
        for key, value in options.items():
            self.option(key, value)
        return self
