"""A directory of files, exactly once as any reader of the directory sees it.

``prepare`` writes under ``<path>/.tidemill/<query>/`` with names that end in ``.tmp``, which no reader takes for data
(DuckDB's ``**`` looks into hidden directories, so hiding alone would not do). ``commit`` renames to
``part-<query>-<batch>-<task>.<suffix>``: a rename is atomic, and the name says which output it is, so that a second
commit finds the first one's work. What stands under a final name is whole and will not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from tidemill.durable import sync_directories
from tidemill.errors import SinkError
from tidemill.sinks.base import Committable, Generation, Sink, TaskId
from tidemill.sinks.fileformats import FileFormat
from tidemill.sinks.partitions import split
from tidemill.types import StructType

STAGING = ".tidemill"


class FileSink(Sink):
    """See the module. Several queries may write into one directory."""

    modes = frozenset({"append"})

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: FileFormat,
        schema: StructType,
        partition_by: tuple[str, ...] = (),
        time_zone: str = "UTC",
        keep_empty: bool = False,
    ) -> None:
        self.path = os.path.abspath(path)
        self.format, self.schema, self.partition_by, self.time_zone = format, schema, partition_by, time_zone
        self.keep_empty = keep_empty
        """Write a file also where there are no rows: it tells the readers of a batch's output its columns."""
        self._query = ""

    def check(self) -> None:
        self._make_directories(self.path)

    def place(self) -> str:
        return f"files in {self.path}"

    def open(self, generation: Generation, query: str, tasks: int) -> None:
        self._query = query
        staging = self._staging(query)
        self._make_directories(self.path, staging)
        sync_directories([self.path, os.path.dirname(staging), staging])

    def _make_directories(self, *directories: str) -> None:
        try:
            for directory in directories:
                os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"output directory {self.path} cannot be written: {error.strerror} ({error.filename}); "
                "give a directory that this user may write"
            ) from error
        for directory in directories:
            if not os.access(directory, os.W_OK | os.X_OK):
                raise SinkError(
                    f"output directory {directory} cannot be written by this user; change its permissions, "
                    "or give another directory"
                )

    # --- One task --------------------------------------------------------------------------------------------------

    def prepare(self, task: TaskId, rows: pa.Table) -> Committable:
        if rows.num_rows == 0 and not self.keep_empty:
            return Committable(task, {"files": []})
        token, files = secrets.token_hex(4), list[list[str]]()
        staging = self._staging(task.query)
        try:
            for number, (directory, part) in enumerate(self._split(rows)):
                temporary = f"{task.batch:08d}-{task.task:04d}-{token}-{number}.tmp"
                final = _final_name(task, self.format.suffix)
                files.append([temporary, f"{directory}/{final}" if directory else final])
                self._write(f"{staging}/{temporary}", part)
            sync_directories([staging])
        except OSError as error:
            # Where the disk is full, what is of no use must not keep it so.
            self.abort([Committable(task, {"files": files})])
            raise SinkError(
                f"output directory {self.path}: batch {task.batch} cannot be written: {error.strerror}; "
                "make room or mend its permissions, then start the query again"
            ) from error
        return Committable(task, {"files": files})

    def _split(self, rows: pa.Table) -> Iterable[tuple[str, pa.Table]]:
        if rows.num_rows == 0 and self.partition_by:
            return []
        return split(rows, self.schema, self.partition_by, self.time_zone)

    def _write(self, path: str, rows: pa.Table) -> None:
        # Buffered: what a disk that fills up cuts short is then written on, and the next write is an error. Writers of
        # formats do not look at how much a raw file took.
        with open(path, "wb") as file:
            self.format.write(rows, file)
            file.flush()
            os.fsync(file.fileno())

    # --- One batch -------------------------------------------------------------------------------------------------

    def commit(self, batch: int, committables: Sequence[Committable]) -> None:
        touched: set[str] = set()
        for committable in committables:
            staging = self._staging(committable.task.query)
            for temporary, final in committable.meta["files"]:
                self._publish(f"{staging}/{temporary}", final, touched)
        # The commit entry may be durable soon after: then the names have to be as well.
        sync_directories(touched)

    def _publish(self, temporary: str, final: str, touched: set[str]) -> None:
        path = f"{self.path}/{final}"
        directory = os.path.dirname(path)
        # Each time: who tidies up partitions may have taken away one that we made.
        touched |= {directory, *_make_directories(directory, self.path)}
        there = os.path.lexists(path)
        if there and os.path.lexists(temporary):
            raise SinkError(
                f"output file {path} exists, and the checkpoint says that its batch is not written yet: the checkpoint "
                "is older than the output (restored from a copy?). Remove the output's files of this and later "
                "batches, or start the query with a new checkpoint and a new directory"
            )
        if there:
            return
        try:
            os.rename(temporary, path)
        except FileNotFoundError as error:
            if os.path.lexists(temporary):
                raise SinkError(
                    f"output directory {directory} was taken away while a file was put there; start the query again, "
                    "which puts it there anew"
                ) from error
            self._explain_missing(temporary, path)
        except OSError as error:
            raise SinkError(
                f"output file {path} cannot be made visible: {error.strerror}; mend that, then start again"
            ) from error

    def _explain_missing(self, temporary: str, path: str) -> None:
        """Neither name is there. Readers may take finished files away, so that is no error, unless nothing of the
        query's is left at all."""
        if not os.path.isdir(os.path.dirname(temporary)):
            raise SinkError(
                f"output file {path} is gone, and so is {os.path.dirname(temporary)}, where it was prepared: the "
                "output directory has been emptied or moved while the query was in the middle of a batch. Put it "
                "back, or start the query with a new checkpoint"
            )

    def abort(self, committables: Sequence[Committable]) -> None:
        for committable in committables:
            for temporary, _ in committable.meta["files"]:
                _unlink(f"{self._staging(committable.task.query)}/{temporary}")

    def recover(self, query: str, batch: int, committables: Sequence[Committable] | None) -> None:
        keep = {temporary for c in committables or () for temporary, _ in c.meta["files"]}
        staging = self._staging(query)
        with contextlib.suppress(FileNotFoundError):
            for name in set(os.listdir(staging)) - keep:
                _unlink(f"{staging}/{name}")

    def close(self) -> None:
        """Nothing is open. Our staging directory goes if it is empty, so that a finished query leaves its output only;
        those of other queries are theirs."""
        with contextlib.suppress(OSError):
            os.rmdir(self._staging(self._query))
            os.rmdir(f"{self.path}/{STAGING}")

    def _staging(self, query: str) -> str:
        return f"{self.path}/{STAGING}/{short(query)}"


def short(query: str) -> str:
    """Eight letters for a query's id: ids may be long, or hold what a file name may not."""
    return hashlib.blake2s(query.encode(), digest_size=4).hexdigest()


def _final_name(task: TaskId, suffix: str) -> str:
    return f"part-{short(task.query)}-{task.batch:08d}-{task.task:04d}{suffix}"


def _make_directories(directory: str, root: str) -> set[str]:
    """Make a directory below ``root``; gives the parents whose names have to be synced."""
    parents: set[str] = set()
    missing = Path(directory)
    while not missing.exists() and missing != Path(root).parent:
        parents.add(os.fspath(missing.parent))
        missing = missing.parent
    os.makedirs(directory, exist_ok=True)
    return parents


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
