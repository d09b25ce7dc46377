"""``python -m tidemill``, and the console script."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line."""
    # A container's first process hears no SIGTERM that nobody handles; what ends before it has begun has not succeeded.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
    # Ctrl-C while the parts are being loaded ends the process without a word; `run` then handles it in its own way.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Arrow's own allocator keeps what a large batch took for the next one; the system's gives it back, as fast.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from tidemill.cli import main as run

    run()


if __name__ == "__main__":
    main()
