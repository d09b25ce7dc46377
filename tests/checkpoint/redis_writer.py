"""A process that holds a checkpoint and writes a plan entry for each line of its input; a test stops and kills it."""

from __future__ import annotations

import sys

from tidemill.checkpoint import open_
from tidemill.errors import TidemillError


def main(location: str) -> None:
    log, _ = open_(location)
    generation = log.acquire("the first driver")
    print("acquired", generation.number, flush=True)
    for line in sys.stdin:
        try:
            log.put_new("query", "plan", int(line), {"by": "first"}, generation)
            print("written", flush=True)
        except TidemillError as error:
            print(type(error).__name__, error, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
