"""1 -> 3 -> 2 executors under a steady feed from Kafka: ``python -m bench.rescale [--rate N] [--seconds N]``.

Prints the longest pause between two commits at each step, beside the longest without any change.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.table import Table
from tests.crash.rescaling import one_three_two, rescale
from tests.services.kafka import KafkaBroker
from tidemill.engine.processes import LocalCluster


def steady(cluster: LocalCluster, batches: Callable[[int], None]) -> None:
    batches(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rate", type=int, default=5_000, help="records a second")
    parser.add_argument("--seconds", type=float, default=10, help="with each number of executors")
    options = parser.parse_args()
    table = Table("Rescaling under load, on this machine")
    with tempfile.TemporaryDirectory() as folder, KafkaBroker(Path(folder)) as broker:
        stories = {
            "no change": rescale(broker, Path(folder) / "steady", steady, options.rate),
            "1 -> 3 -> 2 executors": rescale(
                broker, Path(folder) / "scaled", partial(one_three_two, seconds=options.seconds), options.rate
            ),
        }
    for name, story in stories.items():
        exact = "exact" if story.found == story.wanted and story.rows == len(story.found) else "WRONG"
        table.row(f"{name}: longest pause between commits", f"{story.pause():.2f} s", aim="a batch")
        told = (
            f"{story.fed} records, {len(story.commits)} batches, {story.moved} shards moved, output {exact}"
        )
        table.row(f"  {told}", "", aim="")
    table.show()


if __name__ == "__main__":
    main()
