"""Arrays, maps and structs, and functions of their elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, flat, function, lit, optional, value


def aggregate(
    col: ColumnOrName,
    initialValue: ColumnOrName,
    merge: Callable[[Column, Column], Column],
    finish: Callable[[Column], Column] | None = None,
) -> Column:
    """``finish`` of ``merge`` over the elements of an array, from ``initialValue``."""
    return call("aggregate", col, initialValue, function(merge), None if finish is None else function(finish))


def array(*cols: ColumnOrName | Sequence[ColumnOrName]) -> Column:
    """An array of the columns."""
    return call("array", *flat(cols))


def array_append(col: ColumnOrName, value: Any) -> Column:
    """The array with ``value`` at its end."""
    return call("array_append", col, lit(value))


def array_compact(col: ColumnOrName) -> Column:
    """The array without its nulls."""
    return call("array_compact", col)


def array_contains(col: ColumnOrName, value: Any) -> Column:
    """Whether ``value`` is in the array."""
    return call("array_contains", col, lit(value))


def array_distinct(col: ColumnOrName) -> Column:
    """The array with each value once."""
    return call("array_distinct", col)


def array_except(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The values of one array that are not in the other, each once."""
    return call("array_except", col1, col2)


def array_insert(arr: ColumnOrName, pos: ColumnOrName | int, value: Any) -> Column:
    """The array with ``value`` at the 1-based ``pos``; negative ones count from the end."""
    return call("array_insert", arr, value(pos), lit(value))


def array_intersect(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The values that are in both arrays, each once."""
    return call("array_intersect", col1, col2)


def array_join(col: ColumnOrName, delimiter: str, null_replacement: str | None = None) -> Column:
    """The array's texts with ``delimiter`` between them; nulls left out, or as ``null_replacement``."""
    return call("array_join", col, lit(delimiter), optional(null_replacement))


def array_max(col: ColumnOrName) -> Column:
    """The greatest element."""
    return call("array_max", col)


def array_min(col: ColumnOrName) -> Column:
    """The least element."""
    return call("array_min", col)


def array_position(col: ColumnOrName, value: Any) -> Column:
    """The 1-based position of ``value``; 0 if it is not there."""
    return call("array_position", col, lit(value))


def array_prepend(col: ColumnOrName, value: Any) -> Column:
    """The array with ``value`` at its start."""
    return call("array_prepend", col, lit(value))


def array_remove(col: ColumnOrName, element: Any) -> Column:
    """The array without the elements equal to ``element``."""
    return call("array_remove", col, lit(element))


def array_repeat(col: ColumnOrName, count: ColumnOrName | int) -> Column:
    """An array of ``count`` times the value."""
    return call("array_repeat", col, value(count))


def array_size(col: ColumnOrName) -> Column:
    """How many elements an array has; null for null."""
    return call("array_size", col)


def array_sort(col: ColumnOrName, comparator: Callable[[Column, Column], Column] | None = None) -> Column:
    """The array in ascending order with nulls last, or in that of a ``comparator`` giving -1, 0 or 1."""
    return call("array_sort", col, None if comparator is None else function(comparator))


def array_union(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The values that are in either array, each once."""
    return call("array_union", col1, col2)


def arrays_overlap(a1: ColumnOrName, a2: ColumnOrName) -> Column:
    """Whether two arrays have a value in common."""
    return call("arrays_overlap", a1, a2)


def arrays_zip(*cols: ColumnOrName) -> Column:
    """An array of structs, the n-th of which holds the n-th element of each array."""
    return call("arrays_zip", *cols)


def cardinality(col: ColumnOrName) -> Column:
    """How many elements an array or map has."""
    return call("cardinality", col)


def create_map(*cols: ColumnOrName | Sequence[ColumnOrName]) -> Column:
    """A map from keys and values, given in turn."""
    return call("map", *flat(cols))


def element_at(col: ColumnOrName, extraction: Any) -> Column:
    """The element of an array at a 1-based position, or of a map under a key."""
    return call("element_at", col, lit(extraction))


def try_element_at(col: ColumnOrName, extraction: ColumnOrName) -> Column:
    """The element of an array at a 1-based position, or of a map under a key; null if there is none."""
    return call("try_element_at", col, extraction)


def exists(col: ColumnOrName, f: Callable[[Column], Column]) -> Column:
    """Whether ``f`` holds for any element."""
    return call("exists", col, function(f))


def explode(col: ColumnOrName) -> Column:
    """A row for each element of an array, or entry of a map."""
    return call("explode", col)


def explode_outer(col: ColumnOrName) -> Column:
    """A row for each element of an array, or entry of a map; one with null where there is none."""
    return call("explode_outer", col)


def filter(col: ColumnOrName, f: Callable[[Column], Column] | Callable[[Column, Column], Column]) -> Column:
    """The elements for which ``f`` holds; it may take the element's position too."""
    return call("filter", col, function(f))


def flatten(col: ColumnOrName) -> Column:
    """An array of arrays as one array."""
    return call("flatten", col)


def forall(col: ColumnOrName, f: Callable[[Column], Column]) -> Column:
    """Whether ``f`` holds for all elements."""
    return call("forall", col, function(f))


def get(col: ColumnOrName, index: ColumnOrName | int) -> Column:
    """The element of an array at a 0-based position; null outside."""
    return call("get", col, value(index))


def inline(col: ColumnOrName) -> Column:
    """A row for each struct of an array, its fields as columns."""
    return call("inline", col)


def inline_outer(col: ColumnOrName) -> Column:
    """A row for each struct of an array, its fields as columns; one with nulls where there is none."""
    return call("inline_outer", col)


def map_concat(*cols: ColumnOrName | Sequence[ColumnOrName]) -> Column:
    """Several maps as one."""
    return call("map_concat", *flat(cols))


def map_contains_key(col: ColumnOrName, value: Any) -> Column:
    """Whether a map has a key."""
    return call("map_contains_key", col, lit(value))


def map_entries(col: ColumnOrName) -> Column:
    """A map as an array of structs of key and value."""
    return call("map_entries", col)


def map_filter(col: ColumnOrName, f: Callable[[Column, Column], Column]) -> Column:
    """The entries for which ``f`` of key and value holds."""
    return call("map_filter", col, function(f))


def map_from_arrays(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """A map from an array of keys and one of values."""
    return call("map_from_arrays", col1, col2)


def map_from_entries(col: ColumnOrName) -> Column:
    """A map from an array of structs of key and value."""
    return call("map_from_entries", col)


def map_keys(col: ColumnOrName) -> Column:
    """The keys of a map, as an array."""
    return call("map_keys", col)


def map_values(col: ColumnOrName) -> Column:
    """The values of a map, as an array."""
    return call("map_values", col)


def map_zip_with(
    col1: ColumnOrName, col2: ColumnOrName, f: Callable[[Column, Column, Column], Column]
) -> Column:
    """Two maps as one, the values made by ``f`` of key and both values."""
    return call("map_zip_with", col1, col2, function(f))


def named_struct(*cols: ColumnOrName) -> Column:
    """A struct from names and values, given in turn."""
    return call("named_struct", *cols)


def posexplode(col: ColumnOrName) -> Column:
    """A row for each element of an array with its 0-based position, or entry of a map."""
    return call("posexplode", col)


def posexplode_outer(col: ColumnOrName) -> Column:
    """As posexplode; one row with nulls where there is no element."""
    return call("posexplode_outer", col)


def reduce(
    col: ColumnOrName,
    initialValue: ColumnOrName,
    merge: Callable[[Column, Column], Column],
    finish: Callable[[Column], Column] | None = None,
) -> Column:
    """``finish`` of ``merge`` over the elements of an array, from ``initialValue``."""
    return call("reduce", col, initialValue, function(merge), None if finish is None else function(finish))


def sequence(start: ColumnOrName, stop: ColumnOrName, step: ColumnOrName | None = None) -> Column:
    """The array of numbers or times from ``start`` to ``stop``, both in it, by ``step``."""
    return call("sequence", start, stop, step)


def size(col: ColumnOrName) -> Column:
    """How many elements an array or map has."""
    return call("size", col)


def shuffle(col: ColumnOrName, seed: Column | int | None = None) -> Column:
    """The elements in a random order."""
    return call("shuffle", col, optional(seed))


def slice(x: ColumnOrName, start: ColumnOrName | int, length: ColumnOrName | int) -> Column:
    """``length`` elements from the 1-based ``start``; negative ones count from the end."""
    return call("slice", x, value(start), value(length))


def sort_array(col: ColumnOrName, asc: bool = True) -> Column:
    """The array sorted, with nulls first ascending and last descending."""
    return call("sort_array", col, lit(asc))


def stack(*cols: ColumnOrName) -> Column:
    """Rows made of the arguments after the first, which says how many."""
    return call("stack", *cols)


def str_to_map(
    text: ColumnOrName, pairDelim: ColumnOrName | None = None, keyValueDelim: ColumnOrName | None = None
) -> Column:
    """A map from text such as ``a:1,b:2``; delimiters are regular expressions."""
    return call("str_to_map", text, pairDelim, keyValueDelim)


def struct(*cols: ColumnOrName | Sequence[ColumnOrName]) -> Column:
    """A struct of the columns, under their names."""
    return call("struct", *flat(cols))


def transform(
    col: ColumnOrName, f: Callable[[Column], Column] | Callable[[Column, Column], Column]
) -> Column:
    """The array of ``f`` of each element; it may take the element's position too."""
    return call("transform", col, function(f))


def transform_keys(col: ColumnOrName, f: Callable[[Column, Column], Column]) -> Column:
    """The map with its keys made by ``f`` of key and value."""
    return call("transform_keys", col, function(f))


def transform_values(col: ColumnOrName, f: Callable[[Column, Column], Column]) -> Column:
    """The map with its values made by ``f`` of key and value."""
    return call("transform_values", col, function(f))


def zip_with(left: ColumnOrName, right: ColumnOrName, f: Callable[[Column, Column], Column]) -> Column:
    """The array of ``f`` of the elements of two arrays at the same position."""
    return call("zip_with", left, right, function(f))


__all__ = [
    "aggregate",
    "array",
    "array_append",
    "array_compact",
    "array_contains",
    "array_distinct",
    "array_except",
    "array_insert",
    "array_intersect",
    "array_join",
    "array_max",
    "array_min",
    "array_position",
    "array_prepend",
    "array_remove",
    "array_repeat",
    "array_size",
    "array_sort",
    "array_union",
    "arrays_overlap",
    "arrays_zip",
    "cardinality",
    "create_map",
    "element_at",
    "exists",
    "explode",
    "explode_outer",
    "filter",
    "flatten",
    "forall",
    "get",
    "inline",
    "inline_outer",
    "map_concat",
    "map_contains_key",
    "map_entries",
    "map_filter",
    "map_from_arrays",
    "map_from_entries",
    "map_keys",
    "map_values",
    "map_zip_with",
    "named_struct",
    "posexplode",
    "posexplode_outer",
    "reduce",
    "sequence",
    "shuffle",
    "size",
    "slice",
    "sort_array",
    "stack",
    "str_to_map",
    "struct",
    "transform",
    "transform_keys",
    "transform_values",
    "try_element_at",
    "zip_with",
]
