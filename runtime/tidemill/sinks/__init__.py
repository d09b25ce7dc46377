"""Where queries write: `create` makes the sink of a streaming query, `write` stores a batch's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from tidemill.sinks.base import Sink
    from tidemill.sinks.encoding import Encoding
    from tidemill.sinks.options import Wiring
    from tidemill.types import StructType


def create(
    format: str,
    options: Mapping[str, Any],
    schema: StructType,
    mode: str = "append",
    partition_by: Sequence[str] = (),
    target: Any = None,
    wiring: Wiring | None = None,
    encoding: Encoding | None = None,
) -> Sink:
    """The sink that a streaming query of ``schema`` writes to; see `tidemill.sinks.make.streaming`."""
    from tidemill.sinks import make

    return make.streaming(format, options, schema, mode, tuple(partition_by), target, wiring, encoding)


def write(
    rows: pa.Table,
    format: str,
    options: Mapping[str, Any],
    schema: StructType,
    mode: str = "errorifexists",
    partition_by: Sequence[str] = (),
    wiring: Wiring | None = None,
) -> None:
    """Store the rows of a batch DataFrame; see `tidemill.sinks.make.batch`."""
    from tidemill.sinks import make

    make.batch(rows, format, options, schema, mode, tuple(partition_by), wiring)
