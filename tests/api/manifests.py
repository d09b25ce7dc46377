"""A manifest that is right, and ways to make it wrong."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from tidemill.api import inspect

WEB_LOGS = """\
apiVersion: tidemill.dev/v1alpha1
kind: StreamingJob
metadata: {name: web-logs}
spec:
  sources:
    - name: access
      format: kafka
      options: {kafka.bootstrap.servers: "kafka:9092", subscribe: web-access, startingOffsets: earliest}
      decode:
        format: json
        schema: datum TIMESTAMP, host STRING, path STRING, status INT, bytes BIGINT
        metadata: [partition, offset, timestamp, key]
      watermark: {eventTime: datum, delay: 60 seconds}
      dropDuplicates: {columns: [host, path, datum], withinWatermark: true}
      deadLetter: {format: kafka, options: {kafka.bootstrap.servers: "kafka:9092", topic: web-access-bad}}
  tables:
    - name: hosts
      format: csv
      options: {path: hosts.csv, header: "true"}
      schema: host STRING, team STRING
      refresh: 1 hour
  functions: []
  queries:
    - name: hits
      sql: >-
        SELECT window(datum, '60 seconds') AS w, team, count(*) AS hits
        FROM access JOIN hosts USING (host) GROUP BY 1, 2
      outputMode: append
      trigger: {processingTime: 10 seconds}
      sink: {format: parquet, options: {path: out/hits}, partitionBy: []}
  image: ghcr.io/tidemill/tidemill:0.1.0
  checkpoint: {location: "redis://redis:6379/0", id: web-logs, onExisting: Resume}
  stopAt: "03:00 Europe/Paris"
  conf: {spark.sql.session.timeZone: UTC}
  driver: {resources: {}, podTemplate: {}}
  executor: {replicas: 2, resources: {}, podTemplate: {}}
  suspend: false
"""

REMOVED = object()


def web_logs() -> dict[str, Any]:
    """The manifest as plain data, to be changed at will."""
    return copy.deepcopy(yaml.safe_load(WEB_LOGS))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The manifest with ``value`` at a path below spec, such as ``sources.0.format``."""
    document = web_logs()
    at: Any = document["spec"]
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if value is REMOVED:
        del at[int(last) if isinstance(at, list) else last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return document


def complaints(document: Any) -> list[str]:
    """Every problem of a document, without line numbers."""
    _, problems, _ = inspect(
        document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
    )
    return [str(problem).split(": ", 1)[1] if problem.line else str(problem) for problem in problems]
