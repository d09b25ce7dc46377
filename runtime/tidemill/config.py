"""Settings by Spark's keys: what each is, its default, and what it does here.

Keys that Spark knows and Tidemill has no use for are accepted and recorded, as Spark does with keys of its plugins.
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zoneinfo import available_timezones

from tidemill.errors import IllegalArgumentException, PySparkException, nearest

Kind = Literal["text", "flag", "whole", "duration", "zone"]


@dataclass(frozen=True)
class Setting:
    """One key: the type and default of its value, what it may be, and what it is for."""

    key: str
    default: str | None
    kind: Kind
    meaning: str
    choices: tuple[str, ...] = ()
    static: bool = False
    """Fixed once the session exists."""
    least: int | None = None
    most: int | None = None
    """Bounds of a whole number."""


def _local_zone() -> str:
    """The machine's time zone by its IANA name; UTC where it cannot be told."""
    if os.environ.get("TZ"):
        return os.environ["TZ"].lstrip(":")
    target = os.path.realpath("/etc/localtime")
    name = target.partition("zoneinfo/")[2]
    if not name and Path("/etc/timezone").exists():
        name = Path("/etc/timezone").read_text().strip()
    return "UTC" if name in ("", "Etc/UTC", "UCT", "Universal", "Zulu") else name


_S = "spark.sql.streaming."

SETTINGS: tuple[Setting, ...] = (
    Setting("spark.app.name", "tidemill", "text", "the program's name, for logs", static=True),
    Setting("spark.master", "local[*]", "text", "accepted; one machine runs it until executors are given", static=True),
    Setting("tidemill.executors", "0", "whole", "processes that share a stream's work; 0: this one", static=True),
    Setting("tidemill.executorTimeout", "60s", "duration", "silence after which an executor is given up"),
    Setting("spark.sql.warehouse.dir", "spark-warehouse", "text", "where tables are kept", static=True),
    Setting("spark.sql.session.timeZone", _local_zone(), "zone", "in which times are shown and cut into days"),
    Setting("spark.sql.ansi.enabled", "true", "flag", "overflow and bad casts are errors, not nulls"),
    Setting("spark.sql.caseSensitive", "false", "flag", "whether `a` and `A` are two columns"),
    Setting("spark.sql.sources.default", "parquet", "text", "the format of load() and save() without one"),
    Setting("spark.sql.shuffle.partitions", "200", "whole", "accepted; the number of shards decides here"),
    Setting("spark.sql.execution.arrow.maxRecordsPerBatch", "10000", "whole", "rows per call of a pandas function"),
    Setting("spark.sql.repl.eagerEval.enabled", "false", "flag", "accepted"),
    Setting(_S + "checkpointLocation", None, "text", "where queries without a checkpointLocation keep theirs"),
    Setting(_S + "noDataMicroBatches.enabled", "true", "flag", "a batch without rows when the watermark moves"),
    Setting(_S + "multipleWatermarkPolicy", "min", "text", "which stream's watermark counts", ("min", "max")),
    Setting(_S + "schemaInference", "false", "flag", "file streams infer the schema that none is given for"),
    Setting(_S + "numRecentProgressUpdates", "100", "whole", "length of recentProgress", least=0),
    Setting(_S + "minBatchesToRetain", "100", "whole", "batches that the checkpoint keeps", least=1),
    Setting(_S + "noDataProgressEventInterval", "10000", "duration", "between two idle events"),
    Setting(_S + "pollingDelay", "10", "duration", "between two looks for new data"),
    Setting(_S + "stopTimeout", "0", "duration", "how long stop() waits; 0: for ever"),
    Setting(_S + "stopActiveRunOnRestart", "true", "flag", "a query takes the place of the one with its checkpoint"),
    Setting(_S + "unsupportedOperationCheck", "true", "flag", "refuse what streaming cannot compute"),
    Setting(_S + "statefulOperator.checkCorrectness.enabled", "true", "flag", "refuse chains that lose late rows"),
    Setting(_S + "statefulOperator.allowMultiple", "true", "flag", "accepted"),
    Setting(_S + "metricsEnabled", "false", "flag", "accepted; --metrics-port serves metrics"),
    Setting(_S + "forceDeleteTempCheckpointLocation", "false", "flag", "accepted; temporary checkpoints are deleted"),
    Setting(_S + "stateStore.providerClass", None, "text", "accepted; state is kept as DESIGN says"),
    Setting(_S + "stateStore.stateSchemaCheck", "true", "flag", "accepted; always checked"),
    Setting("tidemill.shards", None, "whole", "parts of the state of a new query", least=1, most=1024),
)  # fmt: skip

KNOWN: Mapping[str, Setting] = {s.key: s for s in SETTINGS}

_UNIT = {
    "": 1,
    "ms": 1,
    "us": 0.001,
    "s": 1000,
    "sec": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}


class Config:
    """A session's settings: what was set, over the defaults.

    >>> config = Config()
    >>> config.set("spark.sql.ansi.enabled", False)
    >>> config.get("spark.sql.ansi.enabled"), config.flag("spark.sql.ansi.enabled")
    ('false', False)
    """

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values: dict[str, str] = {}
        for key, value in (values or {}).items():
            self.set(key, value)

    def set(self, key: str, value: object) -> None:
        """Record a value. Raises `IllegalArgumentException` where a known key cannot have it.

        Warns of a likely typo.
        """
        text = str(value).lower() if isinstance(value, bool) else str(value)
        setting = KNOWN.get(key)
        if setting is not None:
            _check(setting, text)
        elif meant := misspelt(key):
            warnings.warn(f"setting {key!r} is not known; did you mean {meant!r}?", stacklevel=3)
        self._values[key] = text

    def unset(self, key: str) -> None:
        self._values.pop(key, None)

    def get(self, key: str) -> str | None:
        """The value, or the default. Raises `PySparkException` for a key that neither was set nor has a default."""
        if key in self._values:
            return self._values[key]
        if key in KNOWN:
            return KNOWN[key].default
        near = nearest(key, {*KNOWN, *self._values})
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PySparkException(
            f'The SQL config "{key}" cannot be found. Please verify that the config exists.{hint}',
            "SQL_CONF_NOT_FOUND",
        )

    def flag(self, key: str) -> bool:
        return self.get(key) == "true"

    def whole(self, key: str) -> int:
        return int(self.get(key) or 0)

    def milliseconds(self, key: str) -> float:
        return _duration(self.get(key) or "0")

    def explicit(self) -> dict[str, str]:
        """What was set, without defaults."""
        return dict(self._values)

    def all(self) -> dict[str, str]:
        """Everything that has a value."""
        defaults = {k: s.default for k, s in KNOWN.items() if s.default is not None}
        return {**defaults, **self._values}

    def copy(self) -> Config:
        made = Config()
        made._values = dict(self._values)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())


def _check(setting: Setting, text: str) -> None:
    if setting.choices and text.lower() not in setting.choices:
        raise _wrong(setting.key, text, f"one of {', '.join(setting.choices)}")
    if setting.kind == "flag" and text.lower() not in ("true", "false"):
        raise _wrong(setting.key, text, "'boolean'")
    if setting.kind == "whole" and not re.fullmatch(r"[+-]?\d+", text.strip()):
        raise _wrong(setting.key, text, "'int'")
    if setting.least is not None and int(text) < setting.least:
        raise _out_of_bounds(setting, text, f"at least {setting.least}")
    if setting.most is not None and int(text) > setting.most:
        raise _out_of_bounds(setting, text, f"at most {setting.most}")
    if setting.kind == "duration":
        try:
            _duration(text)
        except ValueError:
            raise _wrong(setting.key, text, "duration such as '10s'") from None
    if setting.kind == "zone" and not known_zone(text):
        near = nearest(text, available_timezones())
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise IllegalArgumentException(
            f"The value '{text}' in the config \"{setting.key}\" is invalid. Cannot resolve the given timezone.{hint}",
            "INVALID_CONF_VALUE.TIME_ZONE",
        )


def known_zone(name: str) -> bool:
    """Whether a time zone is one: an IANA name, or an offset such as ``+02:00``."""
    return (
        bool(re.fullmatch(r"(UTC|GMT|Z|(?:UTC|GMT)?[+-]\d{1,2}(:\d\d)?)", name))
        or name in available_timezones()
    )


def _wrong(key: str, text: str, expected: str) -> IllegalArgumentException:
    return IllegalArgumentException(
        f"The value '{text}' in the config \"{key}\" is invalid. It should be a/an {expected} value.",
        "INVALID_CONF_VALUE.TYPE_MISMATCH",
    )


def _out_of_bounds(setting: Setting, text: str, bound: str) -> IllegalArgumentException:
    return IllegalArgumentException(
        f"The value '{text}' in the config \"{setting.key}\" is invalid. It should be {bound}.",
        "INVALID_CONF_VALUE.REQUIREMENT",
    )


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in _UNIT:
        raise ValueError(text)
    return int(match[1]) * _UNIT[match[2]]


def misspelt(key: str) -> str | None:
    """The setting that ``key`` was probably meant to be; None where it is one, or nearly none.

    A key of Spark's that we do not know is fine; one that is nearly a known one is a typo, and typos are silent bugs.

    >>> misspelt("spark.sql.sesion.timeZone"), misspelt("spark.executor.memory")
    ('spark.sql.session.timeZone', None)
    """
    near = nearest(key, KNOWN)
    if key in KNOWN or not near or abs(len(near[0]) - len(key)) > 3:
        return None
    likeness = difflib.SequenceMatcher(None, key.lower(), near[0].lower()).ratio()
    return near[0] if likeness > 0.93 else None
