"""(e) A batch that touches 1 k and 100 k keys, over 100 k, 1 M and 10 M keys of state.

    python bench/keyed_state.py [--sizes 100000,1000000,10000000] [--batches 15]

A batch does what a windowed count does: find the keys, gather their rows, update two columns, cut and encode the
delta, accept. The keys are strings and the rows expire, so that all parts of the table take part. Prints medians in
milliseconds, the ratio to the same batch over the smallest state, and the bytes of memory that each key takes.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.kernel.keyed import KeyedTable

TOUCHED = (1_000, 100_000)
LOAD_ROWS = 200_000
STEPS = ("find", "gather", "update", "delta", "accept")
SCHEMA = pa.schema([("host", pa.string()), ("hits", pa.int64()), ("bytes", pa.float64())])


def hashes_of(keys: np.ndarray) -> np.ndarray:
    """A 64-bit hash of key numbers (splitmix64), standing in for DuckDB's."""
    mixed = (keys.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def rows_of(keys: np.ndarray) -> pa.Table:
    hosts = pc.binary_join_element_wise("host-", pa.array(keys).cast(pa.string()), "")
    counts = np.ones(len(keys), np.int64)
    return pa.table([hosts, counts, counts.astype(np.float64)], schema=SCHEMA)


def filled(size: int, report: dict[str, float]) -> KeyedTable:
    """A table of ``size`` keys, inserted in batches; the longest of them goes to the report."""
    table = KeyedTable(SCHEMA, stable=["host"])
    begun = time.perf_counter()
    slowest = 0.0
    for first in range(0, size, LOAD_ROWS):
        keys = np.arange(first, min(first + LOAD_ROWS, size))
        rows, hashes, expiry = rows_of(keys), hashes_of(keys), keys * 1000
        start = time.perf_counter()
        table.begin()
        table.insert(rows, hashes, expiry)
        table.accept()
        slowest = max(slowest, time.perf_counter() - start)
    report["slowest insert of 200 k, ms"] = slowest * 1e3
    report["inserts, M rows/s"] = size / (time.perf_counter() - begun) / 1e6
    return table


def batch(table: KeyedTable, keys: np.ndarray, times: dict[str, list[float]]) -> None:
    hashes = hashes_of(keys)
    start = time.perf_counter()
    with timed("find", times):
        _, slots = table.find(hashes)
    with timed("gather", times):
        old = table.gather(slots)
    with timed("update", times):
        table.begin()
        hits = pc.add(old.column("hits"), 1)
        table.update(slots, pa.table({"hits": hits, "bytes": pc.add(old.column("bytes"), 0.5)}))
    with timed("delta", times):
        table.delta()
    with timed("accept", times):
        table.accept()
    times["total"].append(time.perf_counter() - start)


@contextmanager
def timed(step: str, times: dict[str, list[float]]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[step].append(time.perf_counter() - start)


def measure(table: KeyedTable, touched: int, batches: int) -> dict[str, float]:
    """Median milliseconds of each step, over random keys of the state."""
    rng = np.random.default_rng(touched)
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(batches + 3):
        if number == 3:
            times.clear()
        batch(table, rng.choice(len(table), min(touched, len(table)), replace=False, shuffle=True), times)
    return {step: statistics.median(values) * 1e3 for step, values in times.items()}


def arrivals(table: KeyedTable, report: dict[str, float], batches: int = 500) -> None:
    """What batches of 1 k new keys wait, growth and upkeep of the table included."""
    waits = []
    for number in range(batches):
        keys = np.arange(10**12 + 1000 * number, 10**12 + 1000 * (number + 1))
        rows, hashes, expiry = rows_of(keys), hashes_of(keys), keys
        start = time.perf_counter()
        table.begin()
        table.insert(rows, hashes, expiry)
        table.delta()
        table.accept()
        waits.append((time.perf_counter() - start) * 1e3)
    for name, share in (("median", 50), ("p99", 99), ("longest", 100)):
        report[f"1 k new keys, {name} ms"] = float(np.percentile(waits, share))


def recovery(table: KeyedTable, report: dict[str, float]) -> None:
    start = time.perf_counter()
    blobs = [table.snapshot(shard).blob for shard in range(table.shards)]
    report["snapshot of all shards, s"] = time.perf_counter() - start
    report["snapshot, bytes/key"] = sum(map(len, blobs)) / len(table)
    again = KeyedTable(SCHEMA, stable=["host"])
    start = time.perf_counter()
    again.load(blobs)
    report["load of all shards, s"] = time.perf_counter() - start


def resident() -> int:
    """Bytes of memory that the process holds, those given back to malloc returned to the system first."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except (OSError, AttributeError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="100000,1000000,10000000")
    parser.add_argument("--batches", type=int, default=15, help="of 100 k keys; ten times as many of 1 k")
    args = parser.parse_args()
    filled(LOAD_ROWS, {})  # what a process takes once is no key's memory
    least: dict[int, float] = {}
    print(
        f"{'keys':>12} {'touched':>9} {'total ms':>9} {'ratio':>6}   "
        + " ".join(f"{step:>8}" for step in STEPS)
    )
    for size in (int(part) for part in args.sizes.split(",")):
        report: dict[str, float] = {}
        before = resident()
        table = filled(size, report)
        report["memory, bytes/key (by our count)"] = table.nbytes / size
        report["memory, bytes/key (resident)"] = (resident() - before) / size
        for touched in TOUCHED:
            cost = measure(table, touched, args.batches * (10 if touched < 10_000 else 1))
            ratio = cost["total"] / least.setdefault(touched, cost["total"])
            steps = " ".join(f"{cost[step]:8.2f}" for step in STEPS)
            print(f"{size:12,} {touched:9,} {cost['total']:9.2f} {ratio:5.2f}x   {steps}", flush=True)
        recovery(table, report)
        arrivals(table, report)
        print("".join(f"{'':14}{name}: {value:.2f}\n" for name, value in report.items()), end="", flush=True)


if __name__ == "__main__":
    main()
