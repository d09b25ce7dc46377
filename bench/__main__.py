"""All benchmarks of the streaming core, as one table: ``python -m bench [--rows N] [--no-kafka] [--state]``.

Ratios are to a ceiling measured in the same run on the same machine; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import keyed_state, latency, throughput
from bench.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="records of the throughput benchmark")
    parser.add_argument("--no-kafka", action="store_true", help="leave out what needs a broker")
    parser.add_argument("--state", action="store_true", help="also batches over 10 M keys of state (minutes)")
    options = parser.parse_args()
    table = Table("Tidemill, on this machine")
    with ExitStack() as stack:
        broker = None
        if not options.no_kafka:
            from tests.services.kafka import KafkaBroker

            folder = stack.enter_context(tempfile.TemporaryDirectory())
            broker = stack.enter_context(KafkaBroker(Path(folder)))
        latency.main(table, broker)
        throughput.main(options.rows, table, broker)
    table.show()
    if options.state:
        keyed_state.main()


if __name__ == "__main__":
    main()
