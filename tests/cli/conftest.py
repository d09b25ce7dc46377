"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import JOB, Cluster
from tidemill.tls import make_authority


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "in").mkdir()
    (tmp_path / "job.yaml").write_text(JOB)
    made = Cluster(tmp_path, make_authority(tmp_path / "tls", ("driver", "executor")))
    try:
        yield made
    finally:
        made.close()
