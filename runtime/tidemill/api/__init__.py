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

from tidemill.api.job import GROUP, KIND, VERSION, Checkpoint, JobSpec, Metadata, Status, StreamingJob
from tidemill.api.load import inspect, load, manifest_text, missing_secrets, parse
from tidemill.api.moments import StopAt, parse_duration, parse_stop_at
from tidemill.api.problems import Problem
from tidemill.api.query import Encode, Program, Query, Sink, Trigger
from tidemill.api.source import DeadLetter, Decode, DropDuplicates, Function, Source, Table, Watermark

__all__ = [
    "GROUP",
    "KIND",
    "VERSION",
    "Checkpoint",
    "DeadLetter",
    "Decode",
    "DropDuplicates",
    "Encode",
    "Function",
    "JobSpec",
    "Metadata",
    "Problem",
    "Program",
    "Query",
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
    "parse_stop_at",
]
