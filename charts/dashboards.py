"""What the dashboards show: all jobs, one job, the operator.

Executors report figures that their driver reports of them, too, and drivers of two revisions overlap for a moment:
hence `max by (..., executor)` before any sum.
"""

from __future__ import annotations

from charts.grafana import Panel, Row, dashboard, variable

ALL = '{namespace=~"$namespace", tidemill_job=~"$job"}'
ONE = '{namespace="$namespace", tidemill_job="$job", query=~"$query"}'
JOB = '{namespace="$namespace", tidemill_job="$job"}'
OPERATOR = '{namespace=~"$namespace"}'
BY_JOB = "by (namespace, tidemill_job)"
BY_EXECUTOR = "by (namespace, tidemill_job, executor)"
NAME = "{{namespace}}/{{tidemill_job}}"
PER = "[$__rate_interval]"


def _of(labels: str, name: str, value: str) -> str:
    """The selector with one more label."""
    return labels.removesuffix("}") + f', {name}="{value}"}}'


def _rate(metric: str, labels: str, by: str = "") -> str:
    return f"sum{f' {by} ' if by else ''}(rate({metric}{labels}{PER}))"


def _executors(metric: str, labels: str, by: str, how: str = "sum") -> str:
    return f"{how} {by} (max {BY_EXECUTOR} (rate({metric}{labels}{PER})))"


def _quantile(q: float, histogram: str, labels: str, by: str = "le") -> str:
    return f"histogram_quantile({q}, sum by ({by}) (rate({histogram}_bucket{labels}{PER})))"


JOBS = dashboard(
    "tidemill-jobs",
    "Tidemill: all jobs",
    [
        variable("namespace", "label_values(tidemill_query_active, namespace)"),
        variable("job", 'label_values(tidemill_query_active{namespace=~"$namespace"}, tidemill_job)'),
    ],
    [
        Panel(
            "Jobs", {"jobs": f"count(count {BY_JOB} (tidemill_query_active{ALL}))"}, kind="stat", width=4, height=4,
            help="With a driver that answers.",
        ),
        Panel("Queries that run", {"queries": f"sum(tidemill_query_active{ALL})"}, kind="stat", width=4, height=4),
        Panel(
            "Executors missing",
            {"missing": f"sum(max {BY_JOB} (tidemill_executors_expected{ALL}) - max {BY_JOB} (tidemill_executors{ALL}))"},
            kind="stat", width=4, height=4, colours={0: "green", 1: "orange"},
        ),
        Panel(
            "Jobs failing", {"failing": 'sum(max by (namespace) (tidemill_operator_jobs{phase="Failing"}))'},
            kind="stat", width=4, height=4, colours={0: "green", 1: "red"}, help="In all namespaces, as operators see it.",
        ),
        Panel(
            "Rows read", {"rows": _rate("tidemill_input_rows_total", ALL)},
            unit="rowsps", kind="stat", width=4, height=4,
        ),
        Panel(
            "Worst lag", {"lag": f"max(tidemill_source_lag_seconds{ALL})"},
            unit="s", kind="stat", width=4, height=4, colours={0: "green", 60: "orange", 300: "red"},
        ),
        Panel(
            "Jobs",
            {
                "rows read:rowsps": _rate("tidemill_input_rows_total", ALL, BY_JOB),
                "lag:s": f"max {BY_JOB} (tidemill_source_lag_seconds{ALL})",
                "lag rows:short": f"sum {BY_JOB} (tidemill_source_lag_rows{ALL})",
                "since a commit:s": f"max {BY_JOB} (tidemill_checkpoint_age_seconds{ALL})",
                "batch open:s": f"max {BY_JOB} (tidemill_batch_open_seconds{ALL})",
                "executors:short": f"max {BY_JOB} (tidemill_executors{ALL})",
                "at work:percentunit": _executors("tidemill_executor_busy_seconds_total", ALL, BY_JOB, "avg"),
                "state rows:short": f"sum {BY_JOB} (tidemill_state_rows{ALL})",
                "drivers before:short": f'max {BY_JOB} (tidemill_recoveries_total{_of(ALL, "kind", "driver")})',
            },
            kind="table", width=24, height=10, help="Click on a job to see it alone.",
        ),
        Panel("Rows read", {NAME: _rate("tidemill_input_rows_total", ALL, BY_JOB)}, unit="rowsps"),
        Panel("Rows written", {NAME: _rate("tidemill_output_rows_total", ALL, BY_JOB)}, unit="rowsps"),
        Panel("Lag", {NAME: f"max {BY_JOB} (tidemill_source_lag_seconds{ALL})"}, unit="s"),
        Panel(
            "Batches, 95th percentile",
            {NAME: _quantile(0.95, "tidemill_batch_seconds", ALL, "namespace, tidemill_job, le")}, unit="s",
            help="From trigger to commit.",
        ),
        Panel(
            "Executors at work", {NAME: _executors("tidemill_executor_busy_seconds_total", ALL, BY_JOB, "avg")},
            unit="percentunit",
        ),
        Panel("State", {NAME: f"sum {BY_JOB} (tidemill_state_bytes{ALL})"}, unit="bytes"),
        Panel(
            "Attempts that failed",
            {NAME: f'sum {BY_JOB} (increase(tidemill_recoveries_total{_of(ALL, "kind", "attempt")}{PER}))'},
        ),
        Panel(
            "Late rows and bad records",
            {
                f"late {NAME}": _rate("tidemill_late_rows_total", ALL, BY_JOB),
                f"bad {NAME}": _rate("tidemill_bad_records_total", ALL, BY_JOB),
            },
            unit="rowsps",
        ),
        Panel("Memory of the pods", {NAME: f"sum {BY_JOB} (process_resident_memory_bytes{ALL})"}, unit="bytes"),
    ],
)  # fmt: skip

A_JOB = dashboard(
    "tidemill-job",
    "Tidemill: one job",
    [
        variable("namespace", "label_values(tidemill_query_active, namespace)", many=False),
        variable("job", 'label_values(tidemill_query_active{namespace="$namespace"}, tidemill_job)', many=False),
        variable("query", f"label_values(tidemill_query_active{JOB}, query)"),
    ],
    [
        Panel("Last batch", {"{{query}}": f"max by (query) (tidemill_batch_id{ONE})"}, kind="stat", width=4, height=4),
        Panel(
            "Since the last commit", {"{{query}}": f"time() - max by (query) (tidemill_last_commit_timestamp_seconds{ONE})"},
            unit="s", kind="stat", width=4, height=4,
        ),
        Panel(
            "Batch at work", {"{{query}}": f"max by (query) (tidemill_batch_open_seconds{ONE})"},
            unit="s", kind="stat", width=4, height=4, colours={0: "green", 60: "orange", 300: "red"},
        ),
        Panel(
            "Watermark", {"{{query}}": f"max by (query) (tidemill_watermark_timestamp_seconds{ONE}) * 1000"},
            unit="dateTimeAsIso", kind="stat", width=4, height=4,
        ),
        Panel(
            "Executors",
            {
                "joined": f"max(tidemill_executors{JOB})",
                "expected": f"max(tidemill_executors_expected{JOB})",
                "threads": f"sum(max by (executor) (tidemill_executor_threads{JOB}))",
            },
            kind="stat", width=8, height=4,
        ),
        Row("Throughput and lag"),
        Panel(
            "Rows read, by source", {"{{query}} {{source}}": _rate("tidemill_input_rows_total", ONE, "by (query, source)")},
            unit="rowsps",
        ),
        Panel("Rows written", {"{{query}}": _rate("tidemill_output_rows_total", ONE, "by (query)")}, unit="rowsps"),
        Panel(
            "Bytes",
            {
                "read {{query}}": _rate("tidemill_input_bytes_total", ONE, "by (query)"),
                "of these shared {{query}}": _rate("tidemill_shared_bytes_total", ONE, "by (query)"),
                "written {{query}}": _rate("tidemill_output_bytes_total", ONE, "by (query)"),
            },
            unit="Bps", help="Shared: another query had read them, so they were neither fetched nor decoded again.",
        ),
        Panel(
            "Lag in seconds",
            {"{{query}} {{partition}}": f"topk(20, max by (query, partition) (tidemill_source_lag_seconds{ONE}))"},
            unit="s", help="The 20 partitions that are worst.",
        ),
        Panel(
            "Lag in records",
            {"{{query}} {{partition}}": f"topk(20, max by (query, partition) (tidemill_source_lag_rows{ONE}))"},
        ),
        Panel(
            "Reads that were shared", {"{{query}} {{source}}": _rate("tidemill_shared_reads_total", ONE, "by (query, source)")},
            unit="ops",
        ),
        Row("Batches"),
        Panel("Batches", {"{{query}}": _rate("tidemill_batches_total", ONE, "by (query)")}, unit="ops"),
        Panel(
            "Time of a batch",
            {
                f"{round(q * 100)} % {{{{query}}}}": _quantile(q, "tidemill_batch_seconds", ONE, "query, le")
                for q in (0.5, 0.95, 0.99)
            },
            unit="s", help="From trigger to commit.",
        ),
        Panel(
            "Where a batch's time goes",
            {
                "{{query}} {{step}}": f"{_rate('tidemill_batch_step_seconds_sum', ONE, 'by (query, step)')} / "
                f"{_rate('tidemill_batch_step_seconds_count', ONE, 'by (query, step)')}"
            },
            unit="s", stacked=True,
            help="addBatch computes, commitBatch is the sink, walCommit and commitOffsets are the checkpoint.",
        ),
        Row("Event time and state"),
        Panel(
            "Watermark behind the clock", {"{{query}}": f"max by (query) (tidemill_watermark_delay_seconds{ONE})"}, unit="s",
        ),
        Panel(
            "Late rows", {"{{query}} {{operator}}": _rate("tidemill_late_rows_total", ONE, "by (query, operator)")},
            unit="rowsps",
        ),
        Panel(
            "Bad records", {"{{query}} {{source}}": _rate("tidemill_bad_records_total", ONE, "by (query, source)")},
            unit="rowsps",
        ),
        Panel("Rows of state", {"{{query}} {{operator}}": f"sum by (query, operator) (tidemill_state_rows{ONE})"}),
        Panel(
            "Bytes of state", {"{{query}} {{operator}}": f"sum by (query, operator) (tidemill_state_bytes{ONE})"},
            unit="bytes", stacked=True,
        ),
        Panel(
            "Since the last commit", {"{{query}}": f"max by (query) (tidemill_checkpoint_age_seconds{ONE})"}, unit="s",
        ),
        Row("Executors"),
        Panel(
            "At work", {"{{executor}}": _executors("tidemill_executor_busy_seconds_total", JOB, "by (executor)")},
            unit="percentunit", help="One alone at work: a few keys or one partition have most of the rows.",
        ),
        Panel("Shards of state", {"{{executor}}": f"max by (executor) (tidemill_executor_shards{JOB})"}, stacked=True),
        Panel(
            "Joined", {"{{executor}}": f"max by (executor) (tidemill_executor_joined{JOB})"}, stacked=True,
        ),
        Panel(
            "Rows exchanged", {"{{executor}}": _executors("tidemill_exchange_bytes_total", JOB, "by (executor)")}, unit="Bps",
        ),
        Panel(
            "Rows spilled to files", {"{{executor}}": _executors("tidemill_spilled_bytes_total", JOB, "by (executor)")},
            unit="Bps",
        ),
        Panel("Memory", {"{{pod}}": f"process_resident_memory_bytes{JOB}"}, unit="bytes"),
        Panel("Processors", {"{{pod}}": f"rate(process_cpu_seconds_total{JOB}{PER})"}, help="Cores in use."),
        Panel(
            "Failures",
            {
                "attempts {{query}}": f'sum by (query) (increase(tidemill_recoveries_total{_of(ONE, "kind", "attempt")}{PER}))',
                "queries {{query}}": f"sum by (query) (increase(tidemill_query_failures_total{ONE}{PER}))",
                "drivers before {{query}}": f'max by (query) (tidemill_recoveries_total{_of(ONE, "kind", "driver")})',
            },
            help="A driver that took over adds one to the drivers before, planned restarts included.",
        ),
        Panel("Shards moved", {"{{query}}": f"sum by (query) (increase(tidemill_shards_moved_total{ONE}{PER}))"}),
    ],
)  # fmt: skip

_ERRORS = _of(OPERATOR, "result", "error")
_OURS = f"and on (namespace, pod) tidemill_operator_leader{OPERATOR}"
THE_OPERATOR = dashboard(
    "tidemill-operator",
    "Tidemill: the operator",
    [variable("namespace", "label_values(tidemill_operator_leader, namespace)")],
    [
        Panel(
            "At work", {"{{namespace}}": f"max by (namespace) (tidemill_operator_leader{OPERATOR})"},
            kind="stat", width=4, height=4, colours={0: "red", 1: "green"}, help="1: one of the operators has the Lease.",
        ),
        Panel(
            "Jobs", {"{{phase}}": f"sum by (phase) (max by (namespace, phase) (tidemill_operator_jobs{OPERATOR})) > 0"},
            kind="stat", width=12, height=4,
        ),
        Panel(
            "Jobs that wait", {"{{namespace}}": f"max by (namespace) (tidemill_operator_queue_depth{OPERATOR})"},
            kind="stat", width=4, height=4, colours={0: "green", 20: "orange"},
        ),
        Panel(
            "Errors in the last hour",
            {"{{namespace}}": f"sum by (namespace) (increase(tidemill_operator_reconciliations_total{_ERRORS}[1h]))"},
            kind="stat", width=4, height=4, colours={0: "green", 1: "orange"},
        ),
        Panel(
            "Jobs by phase", {"{{phase}}": f"sum by (phase) (max by (namespace, phase) (tidemill_operator_jobs{OPERATOR}))"},
            stacked=True,
        ),
        Panel(
            "Reconciliations", {"{{result}}": _rate("tidemill_operator_reconciliations_total", OPERATOR, "by (result)")},
            unit="ops", help="Near none while no job changes.",
        ),
        Panel(
            "Time of a reconciliation",
            {f"{round(q * 100)} %": _quantile(q, "tidemill_operator_reconciliation_seconds", OPERATOR) for q in (0.5, 0.95)},
            unit="s",
        ),
        Panel(
            "Calls of the API server",
            {"{{verb}} {{resource}}": _rate("tidemill_operator_api_calls_total", OPERATOR, "by (verb, resource)")},
            unit="ops", stacked=True,
        ),
        Panel(
            "Restarts of jobs",
            {"{{cause}}": f"sum by (cause) (increase(tidemill_operator_restarts_total{OPERATOR}{PER}))"}, stacked=True,
        ),
        Panel("Queue", {"{{pod}}": f"tidemill_operator_queue_depth{OPERATOR}"}),
        Panel("Leader", {"{{pod}}": f"tidemill_operator_leader{OPERATOR}"}, stacked=True),
        Panel("Memory", {"{{pod}}": f"process_resident_memory_bytes{OPERATOR} {_OURS}"}, unit="bytes"),
        Panel("Processors", {"{{pod}}": f"rate(process_cpu_seconds_total{OPERATOR}{PER}) {_OURS}"}, help="Cores in use."),
    ],
)  # fmt: skip

DASHBOARDS = {"jobs": JOBS, "job": A_JOB, "operator": THE_OPERATOR}
"""By file name."""
