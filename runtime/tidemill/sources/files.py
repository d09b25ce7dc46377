"""Files as they appear in a directory, each read once.

**When a file is taken.** A file is taken when nobody on this machine has it open for writing (the kernel says so on
Linux), when it is as long as it says itself (Parquet, ORC), and, on file systems that cannot tell who writes, when it
has not changed for `SETTLE_SECONDS`. Its size is fixed in the offset then: what is appended later is not read, so that
a batch that runs again reads the same bytes, and a warning names the file. As in Spark, a path is read once: write new
files under new names, best under a hidden name first (``.x`` or ``_x``), then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tidemill.clock import SYSTEM, Clock
from tidemill.errors import AnalysisException, IllegalArgumentException, SourceError
from tidemill.kernel.decode import text_rules
from tidemill.kernel.moments import parse_moment
from tidemill.kernel.records import Bad, text_value
from tidemill.sources.base import Limits, Offset, Partition, Piece, Rows, Source, SourceLog
from tidemill.sources.infer import infer, partition_schema
from tidemill.sources.listing import (
    File,
    Place,
    base_of,
    files,
    is_being_written,
    is_whole,
    local_path,
    partition_values,
    roots,
)
from tidemill.sources.log import MemorySourceLog
from tidemill.sources.options import Options
from tidemill.sources.readers import READERS, Content, Reader, together
from tidemill.sources.seen import SeenFiles, as_json, from_json
from tidemill.types import StructField, StructType, to_arrow, to_arrow_schema

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
"""How long a file must rest where nobody can say who writes it, as on network file systems."""

PARTITION_BYTES = 128 << 20
"""Spark's ``maxPartitionBytes``: files are read in groups of about so many bytes."""
FEW_FILES = 16
"""So many files of a partition are shared one by one;"""
SMALL_BYTES = 1 << 20
"""of more, those that have no more than this together are one piece."""

_PLACE = ("path", "pathGlobFilter", "recursiveFileLookup", "basePath", "modifiedAfter", "modifiedBefore",
          "ignoreMissingFiles", "ignoreCorruptFiles", "timeZone")  # fmt: skip
_STREAM = ("maxFilesPerTrigger", "maxBytesPerTrigger", "latestFirst", "maxFileAge", "fileNameOnly", "cleanSource",
           "sourceArchiveDir")  # fmt: skip
_TIMES = ("dateFormat", "timestampFormat", "timestampNTZFormat")
_RECORDS = ("mode", "columnNameOfCorruptRecord", "encoding", "charset", "lineSep", "multiLine", "inferSchema",
            "samplingRatio")  # fmt: skip
_OWN: Mapping[str, tuple[str, ...]] = {
    "text": ("lineSep", "wholetext", "encoding"),
    "json": (*_RECORDS, *_TIMES, "primitivesAsString"),
    "csv": (*_RECORDS, *_TIMES, "sep", "delimiter", "header", "quote", "escape", "comment", "nullValue", "emptyValue",
            "nanValue", "positiveInf", "negativeInf", "ignoreLeadingWhiteSpace", "ignoreTrailingWhiteSpace"),
    "parquet": ("mergeSchema",),
    "orc": ("mergeSchema",),
    "avro": ("mode", "avroSchema"),
}  # fmt: skip
_IGNORED = ("maxCachedFiles", "discardCachedInputRatio", "cleanSource.numThreads", "locale", "enforceSchema",
            "maxColumns", "maxCharsPerColumn", "unescapedQuoteHandling", "charToEscapeQuoteEscaping", "preferDate",
            "prefersDecimal", "allowComments", "allowUnquotedFieldNames", "allowSingleQuotes",
            "allowNumericLeadingZeros", "allowNonNumericNumbers", "allowBackslashEscapingAnyCharacter",
            "allowUnquotedControlChars", "dropFieldIfAllNull", "datetimeRebaseMode", "int96RebaseMode",
            "enableDateTimeParsingFallback", "ignoreExtension", "compression",
            "mergeSchema")  # fmt: skip


ONLY: Mapping[str, tuple[str, ...]] = {
    "allowComments": ("false",), "allowUnquotedFieldNames": ("false",), "allowSingleQuotes": ("false",),
    "allowNumericLeadingZeros": ("false",), "allowNonNumericNumbers": ("true",),
    "allowBackslashEscapingAnyCharacter": ("false",), "allowUnquotedControlChars": ("false",),
    "enforceSchema": ("true",), "unescapedQuoteHandling": ("STOP_AT_DELIMITER",), "locale": ("en-US", "en"),
    "prefersDecimal": ("false",), "dropFieldIfAllNull": ("false",),
}  # fmt: skip
"""Options of Spark that are fixed here: the values that ask for nothing else."""


def file_options(format: str, options: Mapping[str, str]) -> Options:
    """The options of a file format, checked."""
    checked = Options(format, options, (*_PLACE, *_STREAM, *_OWN[format]), _IGNORED)
    checked.required("path", "/data/in")
    for name, values in ONLY.items():
        if name in checked and str(checked.text(name)).lower() not in [v.lower() for v in values]:
            raise SourceError(
                f"option {name!r}: only {values[0]!r} is supported, not {checked.text(name)!r}; leave it out"
            )
    return checked


def place_of(options: Options) -> Place:
    """Where the options say that the files are."""

    def moment(name: str) -> int | None:
        text = options.text(name)
        if text is None:
            return None
        rules = text_rules({k: v for k, v in options.given.items() if k.lower() == "timezone"})
        found = parse_moment(text, rules.zone)
        if found is None:
            raise options.wrong(name, "a time such as 2024-01-31T23:59:59")
        return int(pa.scalar(found, pa.timestamp("us")).value) * 1000

    return Place(
        options.required("path", "/data/in"),
        options.text("pathGlobFilter"),
        options.flag("recursiveFileLookup"),
        options.text("basePath"),
        moment("modifiedAfter"),
        moment("modifiedBefore"),
    )


def file_schema(
    format: str, options: Mapping[str, str], user_schema: StructType | None, streaming: bool
) -> StructType:
    """The schema of files: the user's or inferred, with the partition columns last.

    Raises Spark's errors if the path names nothing, and if a stream is given no schema.
    """
    checked = file_options(format, options)
    place = place_of(checked)
    if not roots(place.path):
        full = local_path(place.path)
        meant = "" if full == place.path else f" (looked for {full})"
        raise AnalysisException(
            f"Path does not exist: {place.path}{meant}; create the directory first",
            "PATH_NOT_FOUND",
            {"path": place.path},
        )
    if user_schema is None and streaming and format != "text":
        raise IllegalArgumentException(
            "Schema must be specified when creating a streaming source DataFrame. If some files already exist in the "
            "directory, then depending on the file format you may be able to create a static DataFrame on that "
            "directory with 'spark.read.load(directory)' and infer schema from it.",
            "_LEGACY_ERROR_TEMP_2048",
        )
    found = files(place)
    parts = StructType() if place.recursive else partition_schema(found, base_of(place), user_schema)
    values = user_schema or infer(format, checked, [f for f in found if f.size], READERS)
    return StructType([*(f for f in values.fields if f.name not in parts.names), *parts.fields])


class FileReader:
    """Reads listed files into the whole schema, partition columns included. Safe to use from several threads.

    Which columns come from directories is seen from each file's path, since partitions may appear at any time.
    """

    def __init__(self, format: str, options: Options, schema: StructType) -> None:
        self.format = format
        self.schema = schema
        self.place = place_of(options)
        self.arrow = to_arrow_schema(schema)
        self._options = options
        self._rules = text_rules({k: v for k, v in options.given.items() if k.lower() == "timezone"})
        self._readers: dict[frozenset[str], Reader] = {}
        self._reader(frozenset())  # what is wrong with options or schema shows at once

    def read(self, found: Sequence[File]) -> Content:
        groups = self.groups(found)
        return together([self._group(dict(key), group) for key, group in groups.items()], self.arrow)

    def groups(self, found: Sequence[File]) -> dict[tuple[tuple[str, str | None], ...], list[File]]:
        """The files by their partition, in the order in which they are read."""
        bases = [] if self.place.recursive else base_of(self.place)
        groups: dict[tuple[tuple[str, str | None], ...], list[File]] = {}
        for file in found:
            there = partition_values(file.path, bases)
            key = tuple((k, v) for k, v in there.items() if k in self.arrow.names)
            groups.setdefault(key, []).append(file)
        return groups

    def _reader(self, keys: frozenset[str]) -> Reader:
        if keys not in self._readers:
            columns = [f for f in self.schema.fields if f.name not in keys]
            if self.format == "text":
                columns = columns[:1]  # the others are partitions that this file has none of
            self._readers[keys] = READERS[self.format](self._options, StructType(columns))
        return self._readers[keys]

    def _group(self, keys: Mapping[str, str | None], group: Sequence[File]) -> Content:
        done = self._reader(frozenset(keys)).read(group)
        count = done.rows.num_rows
        columns = []
        for f in self.schema.fields:
            if f.name in keys:
                value = self._value(f, keys[f.name], group[0])
                columns.append(pa.repeat(pa.scalar(value, to_arrow(f.dataType)), count))
            elif f.name in done.rows.column_names:
                columns.append(done.rows.column(f.name))
            else:
                columns.append(pa.nulls(count, to_arrow(f.dataType)))
        return Content(pa.table(columns, schema=self.arrow), done.bad)

    def _value(self, f: StructField, text: str | None, file: File) -> Any:
        value = None if text is None else text_value(text, f.dataType, self._rules)
        if isinstance(value, Bad):
            raise SourceError(
                f"directory {f.name}={text} of {file.path}: {text!r} is not {value.reason}; "
                "change the column's type, or the directory's name"
            )
        return value


def read_files(format: str, options: Mapping[str, str], schema: StructType) -> pa.Table:
    """All rows of the files that are there now (a batch read). Bad records go by ``mode``; there is no dead letter."""
    checked = file_options(format, options)
    reader = FileReader(format, checked, schema)
    done = reader.read(files(reader.place))
    if done.bad.num_rows:
        log.warning(
            "%d bad records were left out, the first: %s", done.bad.num_rows, done.bad.slice(0, 1).to_pylist()
        )
    return done.rows


class FileSource(Source):
    """New files of a directory; an offset is explained in `tidemill.sources.seen`."""

    shareable = True

    def __init__(
        self, format: str, options: Mapping[str, str], schema: StructType, clock: Clock = SYSTEM
    ) -> None:
        self.format = format
        self.schema = schema
        self._options = file_options(format, options)
        self._reader = FileReader(format, self._options, schema)
        self._place = self._reader.place
        self._clock = clock
        self._limits = Limits(files=self._options.whole("maxFilesPerTrigger"), bytes=self._bytes())
        if self._limits.files and self._limits.bytes:
            raise SourceError(
                "options 'maxFilesPerTrigger' and 'maxBytesPerTrigger' can't be both set; choose one"
            )
        self._latest_first = self._options.flag("latestFirst")
        self._clean = Cleaner(self._options)
        self._grown: set[str] = set()
        self._frozen: list[File] | None = None
        self._asked = False
        self.open(MemorySourceLog())

    def _bytes(self) -> int | None:
        text = (self._options.text("maxBytesPerTrigger") or "").strip().lower().removesuffix("b")
        if not text:
            return None
        units = {"k": 10, "m": 20, "g": 30, "t": 40}
        digits = text[:-1] if text[-1:] in units else text
        if not digits.isdigit() or not int(digits):
            raise self._options.wrong("maxBytesPerTrigger", "a size such as 1048576, 64m or 1g")
        return int(digits) << units.get(text[-1:], 0)

    def open(self, log: SourceLog) -> None:
        age = self._options.seconds("maxFileAge")
        if self._latest_first and (self._limits.files or self._limits.bytes):
            age = None  # as in Spark: what is old may just not have had its turn
        nanos = None if age is None else int(age * 1_000_000_000)
        self._seen = SeenFiles(log, self._options.flag("fileNameOnly"), nanos)

    @property
    def limits(self) -> Limits:
        return self._limits

    def initial(self) -> Offset:
        return {"n": 0, "files": []}

    def latest(self, start: Offset, limits: Limits) -> Offset:
        if not self._asked:
            # Whoever committed that batch may have died before it cleaned up.
            self._asked = True
            self._clean(from_json(start["files"]))
        self._seen.advance(start["n"], from_json(start["files"]))
        found = files(self._place) if self._frozen is None else self._frozen
        chosen = self._limited(self._ready(self._new(found)), limits)
        if not chosen:
            return start
        return {"n": start["n"] + 1, "files": as_json(chosen)}

    def _new(self, found: Sequence[File]) -> list[File]:
        new: dict[str, File] = {}
        for file in found:
            if self._seen.is_new(file):
                new.setdefault(self._seen.key(file.path), file)
            else:
                self._warn_of_growth(file)
        return sorted(new.values(), key=lambda f: (f.modified, f.path), reverse=self._latest_first)

    def _warn_of_growth(self, file: File) -> None:
        then = self._seen.known(file.path)
        if then and then.path == file.path and then.size != file.size and file.path not in self._grown:
            self._grown.add(file.path)
            log.warning(
                "file %s has changed since it was read (%d bytes then, %d now); the change is not read: write new "
                "files under new names",
                file.path, then.size, file.size,
            )  # fmt: skip

    def _ready(self, new: Sequence[File]) -> Iterator[File]:
        """Those that nobody writes any more, as they are now; looked at only as far as a batch needs."""
        for file in new:
            written = is_being_written(file.path)
            if written:
                log.debug("file %s is still being written", file.path)
                continue
            now = self._settled(file) if written is None else _restated(file)
            if now is not None and is_whole(now, self.format):
                yield now

    def _settled(self, file: File) -> File | None:
        rest = file.modified / 1e9 + SETTLE_SECONDS - self._clock.now()
        if 0 < rest <= SETTLE_SECONDS:
            time.sleep(rest)
        now = _restated(file)
        return now if now is not None and (now.size, now.modified) == (file.size, file.modified) else None

    def _limited(self, ready: Iterator[File], limits: Limits) -> list[File]:
        if limits.bytes is None:
            return list(itertools.islice(ready, limits.files))
        taken: list[File] = []
        total = 0
        for file in ready:
            if taken and total + file.size > limits.bytes:
                break
            taken.append(file)
            total += file.size
        return taken

    def partitions(self, start: Offset, end: Offset) -> list[Partition]:
        if end["n"] == start["n"]:
            return []
        alone = end["n"] == start["n"] + 1
        found = from_json(end["files"]) if alone else self._between(start, end)
        groups: list[list[File]] = []
        total = PARTITION_BYTES
        for file in found:
            if total + file.size > PARTITION_BYTES:
                groups.append([])
                total = 0
            groups[-1].append(file)
            total += file.size
        return [Partition(i, {"files": as_json(group)}) for i, group in enumerate(groups)]

    def split(self, partition: Partition, into: int) -> list[Partition]:
        """By whole files, each in the part where its middle lies."""
        found = from_json(partition.spec["files"])
        total = sum(file.size for file in found) or 1
        groups: list[list[File]] = [[] for _ in range(into)]
        before = 0
        for file in found:
            middle = before + file.size / 2
            groups[min(int(middle * into / total), into - 1)].append(file)
            before += file.size
        return [Partition(i, {"files": as_json(group)}) for i, group in enumerate(filter(None, groups))]

    def _between(self, start: Offset, end: Offset) -> list[File]:
        before = self._seen.batches(start["n"], end["n"] - 1)
        return [*before, *from_json(end["files"])]

    def read(self, partition: Partition) -> Rows:
        found = from_json(partition.spec["files"])
        done = self._reader.read(found)
        return Rows(done.rows, done.bad, sum(f.size for f in found))

    def pieces(self, partition: Partition) -> list[Piece]:
        """Each file, or each few small ones where there are many: a read costs a millisecond, however small it is."""
        found = from_json(partition.spec["files"])
        alone = len(found) <= FEW_FILES
        made = []
        for group in self._reader.groups(found).values():
            runs: list[list[File]] = []
            for file in group:
                if alone or not runs or not _fits(file, runs[-1]):
                    runs.append([])
                runs[-1].append(file)
            made += [_piece(run) for run in runs]
        return made

    def freeze(self) -> None:
        self._frozen = files(self._place)

    def committed(self, end: Offset) -> None:
        self._clean(from_json(end["files"]))

    def metrics(self, start: Offset, end: Offset) -> dict[str, str]:
        taken = len(end["files"]) if end["n"] > start["n"] else 0
        return {
            "latestOffset": str(end["n"]),
            "numFilesTaken": str(taken),
            "numFilesChanged": str(len(self._grown)),
        }


def _fits(file: File, run: Sequence[File]) -> bool:
    """Whether a file may lie in a piece with others: small, and from one directory, for a query that reads the columns
    of directories reads these one after the other."""
    small = sum(f.size for f in run) + file.size <= SMALL_BYTES
    return small and os.path.dirname(file.path) == os.path.dirname(run[-1].path)


def _piece(run: Sequence[File]) -> Piece:
    """Some files, which are nothing else's part."""
    named = as_json(run)
    lane = hashlib.blake2b(json.dumps(named).encode(), digest_size=16).hexdigest()
    return Piece(lane, 0, 1, Partition(0, {"files": named}), whole=True)


def _restated(file: File) -> File | None:
    try:
        about = os.stat(file.path)
    except FileNotFoundError:
        return None
    return File(file.path, about.st_size, about.st_mtime_ns)


class Cleaner:
    """``cleanSource``: what happens to files that a committed batch has read; a failure is only logged."""

    def __init__(self, options: Options) -> None:
        self._mode = options.choice("cleanSource", ("off", "delete", "archive"), "off")
        directory = options.text("sourceArchiveDir")
        if self._mode == "archive" and not directory:
            raise SourceError(
                "option 'cleanSource' is 'archive': the option 'sourceArchiveDir' says where to; set it"
            )
        self._archive = local_path(directory) if directory else ""
        path = local_path(options.required("path", "/data/in"))
        if self._mode == "archive" and (self._archive + "/").startswith(path.rstrip("/") + "/"):
            raise SourceError(
                f"option 'sourceArchiveDir': {self._archive!r} lies in the directory that is read, {path!r}; "
                "choose one outside, or archived files would be read again"
            )

    def __call__(self, done: Sequence[File]) -> None:
        if self._mode == "off":
            return
        for file in done:
            try:
                with contextlib.suppress(FileNotFoundError):  # after a restart: it is done already
                    self._clean(file)
            except OSError as error:
                log.warning(
                    "file %s was read and cannot be cleaned up (%s): %s", file.path, self._mode, error
                )

    def _clean(self, file: File) -> None:
        about = os.stat(file.path)
        if (about.st_size, about.st_mtime_ns) != (file.size, file.modified):
            log.warning("file %s has changed since it was read and is left where it is", file.path)
        elif self._mode == "delete":
            os.unlink(file.path)
        else:
            target = self._archive + file.path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.move(file.path, target)
