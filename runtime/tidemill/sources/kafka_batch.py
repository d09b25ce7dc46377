"""The fast way to read a Kafka partition: librdkafka's own batches, taken over by numpy and Arrow.

confluent-kafka makes a Python object of every record, which costs more than all the rest. The library inside its wheel
can hand out pointers to records by the thousand (`rd_kafka_consume_batch`). Here numpy gathers the fields of all those
records at once, and Arrow copies keys and values in one go: a `BinaryView` array is laid over librdkafka's buffers and
cast to a plain one.

Two pieces are not public. A record's timestamp lies behind the public part of its struct; it is read where 2.x has it,
and the first and last of every batch are compared with what the public function says. And records are let go together
as the list that newer versions give out to share consumers, laid out as they lay it out, which is compared too; else
each is a call. Where anything else does not hold (another platform, another layout), `available` is false or `Unusable`
is raised, and the reader of `tidemill.sources.kafka_read` does the work, with the same answers.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import glob
import logging
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import confluent_kafka
import numpy as np
import pyarrow as pa

from tidemill.errors import SourceError

log = logging.getLogger(__name__)

CONSUMER = 1
NO_ERROR = 0
_PLACES = (0, 2, 3, 4, 5, 6, 7, 11, 12)
"""Eight-byte words of ``rd_kafka_message_t``, and of what lies behind it, that are gathered; see `Records`."""
ERROR, PARTITION, VALUE, VALUE_SIZE, KEY, KEY_SIZE, OFFSET, KIND, TIME = range(len(_PLACES))
_WINDOW = 31
"""Arrow's views hold 31-bit offsets, so that memory is looked at through windows of 2 GB."""
_INLINE = 12
"""Values up to so many bytes stand in the view itself."""


class Unusable(Exception):
    """This librdkafka is not laid out as expected."""


@functools.cache
def _library() -> Any:
    """librdkafka from confluent-kafka's wheel, its functions declared; None if it is not there."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    package = os.path.dirname(confluent_kafka.__file__)
    patterns = (f"{package}.libs/librdkafka*.so*", f"{package}/.dylibs/librdkafka*.dylib")
    found = [path for pattern in patterns for path in glob.glob(pattern)]
    try:
        return _declared(found[0]) if found else None
    except (OSError, AttributeError) as error:
        log.debug("librdkafka cannot be called directly: %s", error)
        return None


def _declared(path: str) -> Any:
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    free = ctypes.CDLL(path)
    # Short calls keep the interpreter's lock: giving it up and back costs more than they take.
    held = ctypes.PyDLL(path)
    functions = {
        "rd_kafka_conf_new": (free, pointer, []),
        "rd_kafka_conf_set": (free, number, [pointer, text, text, text, size]),
        "rd_kafka_conf_set_log_cb": (free, None, [pointer, pointer]),
        "rd_kafka_new": (free, pointer, [number, pointer, text, size]),
        "rd_kafka_topic_new": (free, pointer, [pointer, text, pointer]),
        "rd_kafka_topic_destroy": (free, None, [pointer]),
        "rd_kafka_consume_start": (free, number, [pointer, ctypes.c_int32, ctypes.c_int64]),
        "rd_kafka_consume_stop": (free, number, [pointer, ctypes.c_int32]),
        "rd_kafka_consume_batch": (
            free,
            ctypes.c_ssize_t,
            [pointer, ctypes.c_int32, number, pointer, size],
        ),
        "rd_kafka_poll": (free, number, [pointer, number]),
        "rd_kafka_destroy_flags": (free, None, [pointer, number]),
        "rd_kafka_last_error": (held, number, []),
        "rd_kafka_message_timestamp": (held, ctypes.c_int64, [pointer, ctypes.POINTER(number)]),
        "rd_kafka_message_destroy": (held, None, [pointer]),
    }
    made = type("Library", (), {})()
    for name, (library, result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        setattr(made, name, function)
    made.together = _declared_together(free, held)
    return made


@dataclass(frozen=True)
class _Together:
    """Functions over a list of records: a count and as many addresses."""

    malloc: Any
    count: Any
    get: Any
    destroy: Any


def _declared_together(free: Any, held: Any) -> _Together | None:
    """None where librdkafka is older than its share consumers."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    try:
        found = _Together(
            held.rd_kafka_mem_malloc, held.rd_kafka_messages_count, held.rd_kafka_messages_get,
            free.rd_kafka_messages_destroy,
        )  # fmt: skip
    except AttributeError:
        return None
    found.malloc.restype, found.malloc.argtypes = pointer, [pointer, size]
    found.count.restype, found.count.argtypes = size, [pointer]
    found.get.restype, found.get.argtypes = pointer, [pointer, size]
    found.destroy.restype, found.destroy.argtypes = None, [pointer]
    return found


def available() -> bool:
    """Whether this way can be tried here. ``TIDEMILL_KAFKA_BATCH=0`` turns it off."""
    return os.environ.get("TIDEMILL_KAFKA_BATCH", "1") != "0" and _library() is not None


class Handle:
    """One client of the cluster, shared by the partitions of a source. Safe to use from several threads."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._lib = _library()
        self._topics: dict[str, int] = {}
        self._lock = threading.Lock()
        reason = ctypes.create_string_buffer(512)
        conf = self._lib.rd_kafka_conf_new()
        for name, value in settings.items():
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            if self._lib.rd_kafka_conf_set(conf, name.encode(), plain.encode(), reason, 512):
                raise SourceError(f"option 'kafka.{name}' cannot be used: {reason.value.decode()}")
        self._lib.rd_kafka_conf_set_log_cb(conf, None)
        self._rk = self._lib.rd_kafka_new(CONSUMER, conf, reason, 512)
        if not self._rk:
            raise SourceError(f"a 'kafka.' option cannot be used: {reason.value.decode()}")

    def topic(self, name: str) -> int:
        with self._lock:
            if name not in self._topics:
                self._topics[name] = self._lib.rd_kafka_topic_new(self._rk, name.encode(), None)
            return self._topics[name]

    def poll(self) -> None:
        self._lib.rd_kafka_poll(self._rk, 0)

    def close(self) -> None:
        """Call it when all partitions are closed."""
        with self._lock:
            if self._rk:
                for topic in self._topics.values():
                    self._lib.rd_kafka_topic_destroy(topic)
                # 0x8: without waiting for a group that we are not in.
                self._lib.rd_kafka_destroy_flags(self._rk, 0x8)
                self._topics, self._rk = {}, None


@dataclass(frozen=True)
class Records:
    """Records that librdkafka owns until `Queue.release`: their addresses, and for each of `_PLACES` what they hold.

    `ERROR` and `PARTITION` are the lower halves of their words, the kind of timestamp is the upper half of `KIND`.
    """

    at: np.ndarray
    words: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    @property
    def errors(self) -> np.ndarray:
        return self.words[ERROR].astype(np.int32)

    @property
    def offsets(self) -> np.ndarray:
        return self.words[OFFSET]

    def __getitem__(self, part: slice) -> Records:
        return Records(self.at[part], self.words[:, part])


EMPTY = Records(np.empty(0, np.int64), np.empty((len(_PLACES), 0), np.int64))


class Queue:
    """What has been fetched of one partition. Used by one thread at a time."""

    def __init__(self, handle: Handle, topic: str, partition: int, room: int) -> None:
        self._lib = _library()
        self._handle = handle
        self._topic = handle.topic(topic)
        self._partition = partition
        self._room = (ctypes.c_void_p * room)()
        self._started = False

    def start(self, offset: int) -> None:
        """Fetch from ``offset`` on; what was fetched before is dropped."""
        self.stop()
        if self._lib.rd_kafka_consume_start(self._topic, self._partition, offset):
            raise SourceError(
                f"Kafka partition {self._partition} cannot be read (code {self._lib.rd_kafka_last_error()})"
            )
        self._started = True

    def stop(self) -> None:
        if self._started:
            self._lib.rd_kafka_consume_stop(self._topic, self._partition)
            self._started = False

    def take(self, most: int, seconds: float) -> Records:
        """What is there: ``most`` records, or those that came in time."""
        self._handle.poll()
        count = self._lib.rd_kafka_consume_batch(
            self._topic, self._partition, int(seconds * 1000), self._room, min(most, len(self._room))
        )
        if count <= 0:
            return EMPTY
        at = np.array(memoryview(self._room).cast("B").cast("q")[:count], np.int64)
        found = Records(at, _gather(at))
        good = np.flatnonzero(found.errors == NO_ERROR)
        if len(good):
            self._check(found, int(good[0]))
            self._check(found, int(good[-1]))
        return found

    def _check(self, found: Records, i: int) -> None:
        kind = ctypes.c_int()
        moment = self._lib.rd_kafka_message_timestamp(int(found.at[i]), ctypes.byref(kind))
        words = found.words[:, i].tolist()
        told = (words[TIME], words[KIND] >> 32, words[PARTITION] & 0xFFFFFFFF)
        if told != (moment, kind.value, self._partition):
            self.release(found)
            raise Unusable(f"records of librdkafka {confluent_kafka.libversion()[0]} are laid out otherwise")

    def release(self, records: Records) -> None:
        if not len(records):
            return
        together = self._lib.together
        made = None if together is None else _as_list(together, records.at)
        if made is not None:
            together.destroy(made)
        else:
            collections.deque(map(self._lib.rd_kafka_message_destroy, records.at.tolist()), maxlen=0)


def _as_list(together: _Together, at: np.ndarray) -> int | None:
    """The address of a new list of the records at ``at``; None if this librdkafka lays out its lists otherwise."""
    filled = np.concatenate([[len(at)], at])
    # Room for what may lie behind it, so that asking is safe.
    made: int | None = together.malloc(None, filled.nbytes + 64)
    if not made:
        return None
    ctypes.memmove(made, filled.ctypes.data, filled.nbytes)
    last = len(at) - 1
    fits = together.count(made) == len(at) and together.get(made, 0) == int(at[0])
    if fits and together.get(made, last) == int(at[last]):
        return made
    log.debug("librdkafka lays out lists of records otherwise; each is let go by itself")
    _library().together = None
    return None  # never mind the few bytes: how to free them is not known


class _Memory:
    """This process's memory as an array, from an address on; only what is indexed is touched."""

    def __init__(self, address: int, count: int, kind: str, stride: int = 8) -> None:
        self.__array_interface__ = {
            "data": (address, True), "shape": (count,), "strides": (stride,), "typestr": kind, "version": 3,
        }  # fmt: skip


def _gather(at: np.ndarray) -> np.ndarray:
    lowest = int(at.min())
    view = np.asarray(_Memory(lowest, (int(at.max()) - lowest) // 8 + _PLACES[-1] + 1, "<i8"))
    words = np.empty((len(_PLACES), len(at)), np.int64)
    start = (at - lowest) >> 3
    for row, place in zip(words, _PLACES, strict=True):
        np.take(
            view[place:], start, out=row, mode="clip"
        )  # in bounds anyway; the default mode copies once more
    return words


def binary(addresses: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Pieces of memory as an Arrow binary column of its own; address 0 is a null."""
    count = len(addresses)
    there = addresses != 0
    if not there.any():
        return pa.nulls(count, pa.binary())
    whole = bool(there.all())
    lengths = lengths if whole else np.where(there, lengths, 0)
    # A view is the length, a prefix that a cast does not need, the number of a window and the place in it.
    views = np.zeros((count, 2), np.int64)
    views[:, 0] = lengths
    windows = addresses >> _WINDOW
    numbers = np.unique(windows[there])
    views[:, 1] = (addresses & ((1 << _WINDOW) - 1)) << 32
    if len(numbers) > 1:
        views[:, 1] |= np.searchsorted(numbers, windows)
    if int(lengths.min()) <= _INLINE:
        _short(views, addresses, lengths)
    reach = (1 << _WINDOW) + int(lengths.max())
    seen = [pa.foreign_buffer(int(n) << _WINDOW, reach) for n in numbers]
    valid = None if whole else pa.py_buffer(np.packbits(there, bitorder="little"))
    laid = pa.Array.from_buffers(pa.binary_view(), count, [valid, pa.py_buffer(views), *seen])
    return laid.cast(pa.binary())


def _short(views: np.ndarray, addresses: np.ndarray, lengths: np.ndarray) -> None:
    """Write short values into their views.

    Eight bytes are read at once, up to a value's end: what stands before it is the record's own head, while what stands
    behind it may not be there.
    """
    some = (lengths > 0) & (lengths <= _INLINE)
    places = slice(None) if some.all() else np.flatnonzero(some)
    at, size = addresses[places], lengths[places].astype(np.uint64)
    if not len(at):
        return
    lowest = int(at.min()) - 8
    eights = np.asarray(_Memory(lowest, int(at.max()) - lowest + _INLINE - 7, "<u8", stride=1))
    start = at - lowest
    last = eights[start + lengths[places] - 8]
    first = last >> ((8 - np.minimum(size, 8)) * 8)
    rest = np.zeros(len(at), np.uint64)
    longer = np.flatnonzero(size > 8)
    first[longer] = eights[start[longer]]
    rest[longer] = last[longer] >> ((16 - size[longer]) * 8)
    views[places, 0] = (size | first << 32).view(np.int64)
    views[places, 1] = (first >> 32 | rest << 32).view(np.int64)


def as_table(records: Records, topic: str, partition: int, schema: pa.Schema) -> tuple[pa.Table, int]:
    """Records as Arrow, independent of librdkafka, and the bytes of their keys and values."""
    words, count = records.words, len(records)
    keys, values = binary(words[KEY], words[KEY_SIZE]), binary(words[VALUE], words[VALUE_SIZE])
    stamps = pa.array(words[TIME] * 1000).view(pa.timestamp("us"))
    columns = [
        keys,
        values,
        pa.repeat(topic, count),
        pa.repeat(pa.scalar(partition, pa.int32()), count),
        pa.array(words[OFFSET]),
        stamps,
        # librdkafka: 0 none, 1 create, 2 append; Spark: -1, 0, 1.
        pa.array((words[KIND] >> 32).astype(np.int32) - 1),
    ]
    return pa.table(columns, schema=schema), int(words[VALUE_SIZE].sum() + words[KEY_SIZE].sum())
