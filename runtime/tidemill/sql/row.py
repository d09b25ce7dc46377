"""`Row`: one row of a DataFrame, a tuple whose values have names."""

from __future__ import annotations

from typing import Any

from tidemill.errors import PySparkAttributeError, PySparkRuntimeError, PySparkTypeError, PySparkValueError


class Row(tuple[Any, ...]):
    """A tuple with field names, in the order in which they were given.

    >>> row = Row(name="Ada", age=36)
    >>> row
    Row(name='Ada', age=36)
    >>> row.age, row["name"], row[1], "age" in row
    (36, 'Ada', 36, True)
    >>> Person = Row("name", "age")
    >>> Person("Bob", 9).asDict()
    {'name': 'Bob', 'age': 9}
    """

    __fields__: list[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Row:
        if args and kwargs:
            raise PySparkValueError("Can not use both args and kwargs to create Row.", "CANNOT_SET_TOGETHER")
        if not kwargs:
            return tuple.__new__(cls, args)
        row = tuple.__new__(cls, kwargs.values())
        row.__fields__ = list(kwargs)
        return row

    @classmethod
    def named(cls, names: list[str], values: Any) -> Row:
        """A row of ``values`` under ``names``; the list is shared by all rows of one result."""
        row = tuple.__new__(cls, values)
        row.__fields__ = names
        return row

    def asDict(self, recursive: bool = False) -> dict[str, Any]:
        """The values by name; ``recursive`` also turns the rows inside into dicts."""
        if not hasattr(self, "__fields__"):
            raise PySparkTypeError(
                "Cannot convert a Row without field names to a dict", "CANNOT_CONVERT_TYPE"
            )
        values = (_plain(v) for v in self) if recursive else iter(self)
        return dict(zip(self.__fields__, values, strict=False))

    def __contains__(self, item: object) -> bool:
        return item in self.__fields__ if hasattr(self, "__fields__") else super().__contains__(item)

    def __call__(self, *args: Any) -> Row:
        """Rows of these names: a row without names is the maker of rows that have them."""
        if len(args) > len(self):
            raise PySparkValueError(
                f"Can not create Row with fields {list(self)}, expected {len(self)} values but got {args}.",
                "TOO_MANY_VALUES",
            )
        return Row.named(list(self), args)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, slice)):
            return super().__getitem__(item)
        try:
            return super().__getitem__(self.__fields__.index(item))
        except (AttributeError, ValueError):
            names = ", ".join(getattr(self, "__fields__", []))
            raise PySparkValueError(f"{item!r} is no field of this row; it has {names}") from None

    def __getattr__(self, item: str) -> Any:
        if item.startswith("__"):
            raise PySparkAttributeError(f"Attribute `{item}` is not supported.", "ATTRIBUTE_NOT_SUPPORTED")
        try:
            return super().__getitem__(self.__fields__.index(item))
        except (ValueError, IndexError):
            raise PySparkAttributeError(
                f"Attribute `{item}` is not supported.", "ATTRIBUTE_NOT_SUPPORTED"
            ) from None

    def __setattr__(self, key: str, value: Any) -> None:
        if key != "__fields__":
            raise PySparkRuntimeError(f"Row is read-only; make a new Row to change {key!r}", "READ_ONLY")
        self.__dict__[key] = value

    def __reduce__(self) -> Any:
        if hasattr(self, "__fields__"):
            return (Row.named, (self.__fields__, tuple(self)))
        return (Row, tuple(self))

    def __repr__(self) -> str:
        if hasattr(self, "__fields__"):
            return f"Row({', '.join(f'{n}={v!r}' for n, v in zip(self.__fields__, self, strict=False))})"
        return f"<Row({', '.join(map(repr, self))})>"


def _plain(value: Any) -> Any:
    if isinstance(value, Row):
        return value.asDict(recursive=True)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
