"""Makes the operator that a stage asks for."""

from __future__ import annotations

import pyarrow as pa

from tidemill.executor.distinct import DistinctOperator, TakeOperator
from tidemill.executor.group import GroupByOperator
from tidemill.executor.joins import JoinOperator
from tidemill.executor.operator import StatefulOperator
from tidemill.executor.sessions import SessionOperator
from tidemill.plan.stages import Distinct, GroupBy, JoinBy, SessionBy, Stage, Take


def make_operator(stage: Stage, shards: int) -> StatefulOperator | None:
    """The stage's operator with empty state, or None if it has none."""
    schemas: tuple[pa.Schema, ...] = tuple(f.schema for f in stage.fragments)
    match stage.operator:
        case GroupBy() as spec:
            return GroupByOperator(spec, schemas[0], shards)
        case SessionBy() as spec:
            return SessionOperator(spec, schemas[0], shards)
        case Distinct() as spec:
            return DistinctOperator(spec, schemas[0], shards)
        case JoinBy() as spec:
            return JoinOperator(spec, schemas, shards)
        case Take() as spec:
            return TakeOperator(spec, shards)
    return None
