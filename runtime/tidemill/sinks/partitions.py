"""``partitionBy``: rows cut by the values of some columns, and the directories that those values name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.show import cell
from tidemill.types import DataType, StructType

NULL = "__HIVE_DEFAULT_PARTITION__"
_SPECIAL = frozenset("\"#%'*/:=?\\\x7f{[]^") | {chr(i) for i in range(1, 32)}
"""What Hive escapes in the name of a partition's directory."""


def split(
    rows: pa.Table, schema: StructType, by: tuple[str, ...], time_zone: str
) -> Iterator[tuple[str, pa.Table]]:
    """Each directory (``a=1/b=x``; empty without partition columns) with its rows, those columns left out."""
    if not by:
        yield "", rows
        return
    numbers = [position(schema, name) for name in by]
    rest = rows.select([i for i in range(rows.num_columns) if i not in numbers])
    paths = _paths(rows, schema, numbers, time_zone)
    if len(paths.dictionary) == 1:
        yield paths.dictionary[0].as_py(), rest
        return
    order = pc.sort_indices(pa.table({"i": paths.indices}), sort_keys=[("i", "ascending")])
    sorted_rows, at = rest.take(order), 0
    counts = {c["values"]: c["counts"] for c in pc.value_counts(paths.indices).to_pylist()}
    for i in sorted(counts):
        yield paths.dictionary[i].as_py(), sorted_rows.slice(at, counts[i])
        at += counts[i]


def position(schema: StructType, name: str) -> int:
    """The place of a column, by its name without regard to case."""
    return [n.lower() for n in schema.names].index(name.lower())


def _paths(rows: pa.Table, schema: StructType, numbers: list[int], time_zone: str) -> pa.DictionaryArray:
    parts = [
        _segments(rows.column(i), schema.fields[i].name, schema.fields[i].dataType, time_zone)
        for i in numbers
    ]
    joined = pc.binary_join_element_wise(*parts, "/") if len(parts) > 1 else parts[0]
    found = joined.dictionary_encode()
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _segments(column: pa.ChunkedArray, name: str, kind: DataType, time_zone: str) -> pa.Array:
    """``name=value`` for each row; only distinct values are formatted."""
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    texts = pa.array([_segment(name, v, kind, time_zone) for v in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def _segment(name: str, value: Any, kind: DataType, time_zone: str) -> str:
    text = None if value is None else _writer(kind, time_zone)(value)
    return f"{escape(name)}={escape(text) if text else NULL}"


@lru_cache(maxsize=256)
def _writer(kind: DataType, time_zone: str) -> Any:
    return cell(kind, time_zone)


def escape(text: str) -> str:
    """A name or value as part of a path.

    >>> escape("a/b:c e=")
    'a%2Fb%3Ac e%3D'
    """
    return "".join(f"%{ord(c):02X}" if c in _SPECIAL else c for c in text)
