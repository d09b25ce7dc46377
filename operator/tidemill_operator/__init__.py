"""The operator: turns StreamingJobs into drivers and executors, and keeps them so.

`handlers` mark a job, `reconcile` takes it from a queue of ours, `observe` says what there is, `decide` says what to do, and
`apply` does it. Only `observe`, `apply` and `cluster` do I/O; only `handlers` and `__main__` know kopf.
"""
