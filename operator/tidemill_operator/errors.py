"""What can go wrong between the operator and the API server."""

from __future__ import annotations


class ClusterError(Exception):
    """The API server refuses, or does not answer (``status`` 0)."""

    def __init__(self, status: int, what: str, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.status = status
        self.message = message

    @property
    def refused(self) -> bool:
        """Whether asking again will not help before somebody changes something."""
        return self.status in (400, 403, 422)
