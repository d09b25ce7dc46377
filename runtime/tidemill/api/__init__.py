"""The manifest: `StreamingJob` of tidemill.dev/v1alpha1, shared by the command line and the operator.

>>> import tidemill.api
>>> job = tidemill.api.load('''
... apiVersion: tidemill.dev/v1alpha1
... kind: StreamingJob
... metadata: {name: ticks}
... spec:
...   sources:
...     - {name: ticks, format: rate}
...   queries:
...     - {name: all_ticks, sql: SELECT * FROM ticks, sink: {format: console}}
... ''')
>>> job.spec.queries[0].output_mode
'append'
"""

from tidemill.api.cron import Schedule, parse_schedule
from tidemill.api.job import GROUP, KIND, VERSION, Checkpoint, JobSpec, Metadata, Restarts, StreamingJob
from tidemill.api.load import inspect, load, manifest_text, parse
from tidemill.api.moments import StopAt, parse_duration, parse_stop_at
from tidemill.api.problems import Problem
from tidemill.api.query import Encode, Program, Query, Sink, Trigger
from tidemill.api.references import References, missing_secrets, secret_references
from tidemill.api.source import DeadLetter, Decode, DropDuplicates, Function, Source, Table, Watermark
from tidemill.api.status import (
    Certificates,
    Completion,
    Condition,
    Phase,
    QueryStatus,
    Refusal,
    Restart,
    Status,
)

__all__ = [
    "GROUP",
    "KIND",
    "VERSION",
    "Certificates",
    "Checkpoint",
    "Completion",
    "Condition",
    "DeadLetter",
    "Decode",
    "DropDuplicates",
    "Encode",
    "Function",
    "JobSpec",
    "Metadata",
    "Phase",
    "Problem",
    "Program",
    "Query",
    "QueryStatus",
    "References",
    "Refusal",
    "Restart",
    "Restarts",
    "Schedule",
    "Sink",
    "Source",
    "Status",
    "StopAt",
    "StreamingJob",
    "Table",
    "Trigger",
    "Watermark",
    "inspect",
    "load",
    "manifest_text",
    "missing_secrets",
    "parse",
    "parse_duration",
    "parse_schedule",
    "parse_stop_at",
    "secret_references",
]
