"""``python -m tidemill``, and the console script."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    # Ctrl-C while the parts are being loaded ends the process without a word; `run` then handles it in its own way.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tidemill.cli import main as run

    run()


if __name__ == "__main__":
    main()
