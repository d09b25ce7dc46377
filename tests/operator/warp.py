"""An event loop on which time passes only while everybody waits: an hour of it takes as long as what is done in it."""

from __future__ import annotations

import asyncio
from typing import Any


class WarpedLoop(asyncio.SelectorEventLoop):
    """``time`` begins at 0. Nothing that runs on it may wait for another thread or process."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        look = selector.select

        def select(timeout: float | None) -> Any:
            if timeout is None:
                raise RuntimeError("everybody waits, and nobody for a time")
            self._now += max(0.0, timeout)
            return look(0)

        selector.select = select

    def time(self) -> float:
        return self._now

    def passes(self, seconds: float) -> None:
        self.run_until_complete(asyncio.sleep(seconds))

    def ends(self) -> None:
        """Cancel what still runs, and close."""

        async def over() -> None:
            await asyncio.gather(*tasks, return_exceptions=True)

        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.run_until_complete(over())
        self.close()
