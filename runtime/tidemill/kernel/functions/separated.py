"""Lines of separated values, read a column at a time by the sources' decoder."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.decode import decoder
from tidemill.kernel.functions.documents import packed, unpacked
from tidemill.kernel.functions.rows import Refused
from tidemill.kernel.macros import KernelFunction, kernel
from tidemill.kernel.names import duck_type
from tidemill.types import StringType, StructType, to_arrow


class LineReader:
    """Reads lines into structs of one type, as from_csv() does; `SourceError` for an option that is not known."""

    def __init__(self, kind: StructType, options: dict[str, str], zone: str) -> None:
        self.arrow = to_arrow(kind)
        self.strict = options.get("mode", "").upper() == "FAILFAST"
        name = options.get("columnnameofcorruptrecord", "_corrupt_record")
        self.corrupt = next(
            (f.name for f in kind if f.name == name and isinstance(f.dataType, StringType)), None
        )
        self.schema = StructType(f for f in kind if f.name != self.corrupt)
        self.decoder = decoder("csv", self.schema, {"timeZone": zone, **options})

    def read(self, lines: Any) -> pa.Array:
        """A column of structs; NULL where there is no line."""
        column = lines.combine_chunks() if isinstance(lines, pa.ChunkedArray) else lines
        if not len(column):
            return pa.array([], self.arrow)
        done = self.decoder.decode(column)
        if self.strict and len(done.bad):
            raise Refused(
                "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
                f"{column[int(done.bad[0])].as_py()!r}: {done.reasons[0]}; mode PERMISSIVE gives null instead",
            )
        columns = {n: done.table.column(n).combine_chunks() for n in self.schema.names}
        if self.corrupt is not None:
            bad = set(done.bad.tolist())
            texts = column.to_pylist()
            # An empty line has no values, and is not corrupt for that.
            columns[self.corrupt] = pa.array(
                [t or None if n in bad else None for n, t in enumerate(texts)], pa.string()
            )
        parts = [columns[f.name].cast(f.type) for f in self.arrow]
        return pa.StructArray.from_arrays(parts, fields=list(self.arrow), mask=pc.is_null(column))


@kernel("from_csv")
def _from_csv(word: str) -> KernelFunction:
    kind, options, zone = unpacked(word)
    assert isinstance(kind, StructType)
    return KernelFunction(LineReader(kind, options, zone).read, duck_type(kind))


__all__ = ["LineReader", "packed"]
