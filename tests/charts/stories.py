"""For each alert, series under which it speaks, and some that come near and must not wake anybody.

Series are promtool's: a value for each minute; `a+bx10` is a and ten more, each b larger than the one before, `_` none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OF = 'namespace="streaming", tidemill_job="web-logs"'
DRIVER = f'{{{OF}, pod="driver-1"}}'
HITS = f'{{{OF}, pod="driver-1", query="hits"}}'
SOURCE = f'{{{OF}, pod="driver-1", query="hits", source="0"}}'
PARTITION = f'{{{OF}, pod="driver-1", query="hits", source="0", partition="access.0"}}'
JOB = {"namespace": "streaming", "tidemill_job": "web-logs"}
QUERY = JOB | {"query": "hits"}
OPERATOR = {"namespace": "tidemill"}


@dataclass(frozen=True)
class Story:
    alert: str
    series: Mapping[str, str]
    at: str
    says: str = ""
    """The summary of the alert that fires; empty: none does."""
    labels: Mapping[str, str] = field(default_factory=lambda: QUERY)


def lasting(metric: str, labels: str, step: str, minutes: int, bounds: Mapping[str, str]) -> dict[str, str]:
    """A histogram that grows by so many a minute, by upper bound."""
    inside = labels.removesuffix("}")
    return {
        f'{metric}_bucket{inside}, step="{step}", le="{bound}"}}': f"0+{more}x{minutes}"
        for bound, more in bounds.items()
    }


def operator(labels: str = "", pod: str = "operator-1") -> str:
    return f'{{namespace="tidemill", pod="{pod}"{labels}}}'


LIVES = {f"driver-{i}": "_ " * 10 * i + f"{i}x9" for i in range(5)}
"""Five pods of a driver, one after the other, ten minutes each."""


def taken_over(pods: int) -> dict[str, str]:
    return {
        f'tidemill_recoveries_total{{{OF}, pod="{pod}", query="hits", kind="driver"}}': values
        for pod, values in list(LIVES.items())[:pods]
    }


STORIES = (
    Story("TidemillLag", {f"tidemill_source_lag_seconds{PARTITION}": "400x20"}, "10m",
          "streaming/web-logs: hits is 6m 40s behind its source"),
    Story("TidemillLag", {f"tidemill_source_lag_seconds{PARTITION}": "400x3 10x20"}, "10m"),
    Story("TidemillLagGrows",
          {f"tidemill_source_lag_rows{PARTITION}": "0+600x70", f"tidemill_source_lag_seconds{PARTITION}": "60x70"},
          "60m", "streaming/web-logs: the lag of hits grows by 10 rows/s"),
    Story("TidemillLagGrows",
          {f"tidemill_source_lag_rows{PARTITION}": "9000x70", f"tidemill_source_lag_seconds{PARTITION}": "60x70"}, "60m"),
    Story("TidemillLagGrows",  # a source that is written more and more, and read as fast
          {f"tidemill_source_lag_rows{PARTITION}": "0+6x70", f"tidemill_source_lag_seconds{PARTITION}": "5x70"}, "60m"),
    Story("TidemillNoCommit", {f"tidemill_batch_open_seconds{HITS}": "0+60x10"}, "8m",
          "streaming/web-logs: a batch of hits has been at work for 8m 0s"),
    Story("TidemillNoCommit", {f"tidemill_batch_open_seconds{HITS}": "0+60x4 0+60x4 0+60x4"}, "9m"),
    Story("TidemillNothingNew",
          {f"tidemill_checkpoint_age_seconds{HITS}": "0+60x70", f"tidemill_batch_open_seconds{HITS}": "0x70",
           f"tidemill_query_active{HITS}": "1x70"},
          "65m", "streaming/web-logs: hits has seen nothing new for 1h 5m 0s"),
    Story("TidemillNothingNew",  # it is at work
          {f"tidemill_checkpoint_age_seconds{HITS}": "0+60x70", f"tidemill_batch_open_seconds{HITS}": "9x70",
           f"tidemill_query_active{HITS}": "1x70"}, "65m"),
    Story("TidemillNothingNew",  # it has done all that there was
          {f"tidemill_checkpoint_age_seconds{HITS}": "0+60x70", f"tidemill_batch_open_seconds{HITS}": "0x70",
           f"tidemill_query_active{HITS}": "0x70"}, "65m"),
    Story("TidemillExecutorsMissing",
          {f"tidemill_executors{DRIVER}": "3x3 2x9", f"tidemill_executors_expected{DRIVER}": "3x12"}, "8m",
          "streaming/web-logs: 1 executors are missing", JOB),
    Story("TidemillExecutorsMissing",  # a standby driver has none, and the one that works has all
          {f"tidemill_executors{DRIVER}": "3x12", f"tidemill_executors_expected{DRIVER}": "3x12",
           f'tidemill_executors{{{OF}, pod="driver-2"}}': "0x12",
           f'tidemill_executors_expected{{{OF}, pod="driver-2"}}': "3x12"}, "8m"),
    Story("TidemillExecutorsLost",
          {f'tidemill_recoveries_total{HITS[:-1]}, kind="attempt"}}': "0 1 2 3 4 5x20"}, "15m",
          "streaming/web-logs: hits loses executors again and again"),
    Story("TidemillExecutorsLost", {f"tidemill_shards_moved_total{HITS}": "0x5 256x20"}, "15m",
          "streaming/web-logs: hits loses executors again and again"),
    Story("TidemillExecutorsLost",  # one loss
          {f'tidemill_recoveries_total{HITS[:-1]}, kind="attempt"}}': "0x5 1x20",
           f"tidemill_shards_moved_total{HITS}": "0x5 64x20"}, "15m"),
    Story("TidemillDriverRestarts", taken_over(5), "45m",
          "streaming/web-logs: the driver has started 4 times within an hour"),
    Story("TidemillDriverRestarts", taken_over(4), "45m"),
    Story("TidemillDown", {f"up{DRIVER}": "1x3 0x9"}, "8m",
          "streaming/web-logs: the pod driver-1 does not answer", JOB | {"pod": "driver-1"}),
    Story("TidemillDown", {f"up{DRIVER}": "1x3 0 1x9", 'up{namespace="shop", pod="till-1"}': "0x20"}, "8m"),
    Story("TidemillCheckpointSlow",
          lasting("tidemill_batch_step_seconds", HITS, "walCommit", 40, {"1.0": "0", "2.0": "60", "+Inf": "60"}), "30m",
          "streaming/web-logs: one in ten writes of hits to its checkpoint takes over 1.9s"),
    Story("TidemillCheckpointSlow",
          lasting("tidemill_batch_step_seconds", HITS, "walCommit", 40, {"0.01": "60", "2.0": "62", "+Inf": "62"})
          | lasting("tidemill_batch_step_seconds", HITS, "addBatch", 40, {"1.0": "0", "2.0": "60", "+Inf": "60"}), "30m"),
    Story("TidemillWatermarkStands",
          {f"tidemill_watermark_delay_seconds{HITS}": "60+60x60", f"tidemill_input_rows_total{SOURCE}": "0+100x60"},
          "55m", "streaming/web-logs: the watermark of hits stands still while rows come in"),
    Story("TidemillWatermarkStands",  # nothing comes in
          {f"tidemill_watermark_delay_seconds{HITS}": "60+60x60", f"tidemill_input_rows_total{SOURCE}": "100x60"}, "55m"),
    Story("TidemillWatermarkStands",  # it moves, a little slower than the clock
          {f"tidemill_watermark_delay_seconds{HITS}": "60+20x60", f"tidemill_input_rows_total{SOURCE}": "0+100x60"},
          "55m"),
    Story("TidemillLateRows", {f'tidemill_late_rows_total{HITS[:-1]}, operator="op0"}}': "0+120x30"}, "20m",
          "streaming/web-logs: hits drops late rows, 2 a second"),
    Story("TidemillLateRows", {f'tidemill_late_rows_total{HITS[:-1]}, operator="op0"}}': "120x30"}, "20m"),
    Story("TidemillBadRecords", {f"tidemill_bad_records_total{SOURCE}": "0x9 3x20"}, "15m",
          "streaming/web-logs: hits could not decode records of source 0", QUERY | {"source": "0"}),
    Story("TidemillBadRecords", {f"tidemill_bad_records_total{SOURCE}": "3x30"}, "25m"),
    Story("TidemillStateGrows", {f'tidemill_state_rows{HITS[:-1]}, operator="op0"}}': "0+10x2000"}, "32h",
          "streaming/web-logs: the state of hits has been growing for a day"),
    Story("TidemillStateGrows", {f'tidemill_state_rows{HITS[:-1]}, operator="op0"}}': "0+10x700 7000x1300"}, "32h"),
    Story("TidemillSpill",  # the driver tells the same of its executor as the executor does: it counts once
          {f'tidemill_spilled_bytes_total{{{OF}, pod="{pod}", executor="e0"}}': "0+61440x50" for pod in ("driver-1", "e0")},
          "40m", "streaming/web-logs: executors write 1kiB a second of each other's rows to files", JOB),
    Story("TidemillSpill",
          {f'tidemill_spilled_bytes_total{{{OF}, pod="e0", executor="e0"}}': "0 61440x50"}, "40m"),
    Story("TidemillNoLeader", {f"tidemill_operator_leader{operator()}": "0x20"}, "9m",
          "No operator of Tidemill is at work", OPERATOR),
    Story("TidemillNoLeader", {"up": "1x20"}, "9m", "No operator of Tidemill is at work", {}),
    Story("TidemillNoLeader",
          {f"tidemill_operator_leader{operator()}": "0x20", f"tidemill_operator_leader{operator(pod='operator-2')}": "1x20"},
          "9m"),
    Story("TidemillOperatorErrors",
          {"tidemill_operator_reconciliations_total" + operator(', result="error"'): "0+1x50"}, "40m",
          "The operator in tidemill fails to carry out what jobs ask for", OPERATOR),
    Story("TidemillOperatorErrors",  # a conflict, and it went on
          {"tidemill_operator_reconciliations_total" + operator(', result="error"'): "0x10 1x40",
           "tidemill_operator_reconciliations_total" + operator(', result="ok"'): "0+9x50"}, "40m"),
    Story("TidemillOperatorBehind", {f"tidemill_operator_queue_depth{operator()}": "50x30"}, "20m",
          "50 jobs wait for the operator in tidemill", OPERATOR),
    Story("TidemillOperatorBehind", {f"tidemill_operator_queue_depth{operator()}": "1000x8 0x3 900x8 0x9"}, "18m"),
    Story("TidemillJobsFailing", {"tidemill_operator_jobs" + operator(', phase="Failing"'): "2x30"}, "20m",
          "2 jobs of the operator in tidemill are failing", OPERATOR),
    Story("TidemillJobsFailing",
          {"tidemill_operator_jobs" + operator(', phase="Failing"'): "1x4 0x30",
           "tidemill_operator_jobs" + operator(', phase="Running"'): "9x30"}, "20m"),
    Story("TidemillJobsRefused", {"tidemill_operator_jobs" + operator(', phase="Refused"'): "1x30"}, "20m",
          "1 jobs of the operator in tidemill are refused as they are written", OPERATOR),
    Story("TidemillJobsRefused", {"tidemill_operator_jobs" + operator(', phase="Running"'): "9x30"}, "20m"),
)  # fmt: skip
