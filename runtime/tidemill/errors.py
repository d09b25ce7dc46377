"""Every error that Tidemill raises, as one tree.

    TidemillError                          all of ours
    ├── PySparkException                   what PySpark's API raises: condition + message
    │   ├── AnalysisException              the program cannot be run as written (also ParseException)
    │   ├── PySparkTypeError / ValueError / AttributeError / RuntimeError / NotImplementedError / AssertionError
    │   ├── IllegalArgumentException       a setting or option has a value that it cannot have
    │   ├── StreamingQueryException        a running query has failed
    │   └── SparkRuntimeException          an expression failed on a value (ArithmeticException, ...)
    ├── ManifestError                      a StreamingJob manifest is wrong; lists every problem
    ├── SourceError                        a source cannot be read
    │   └── DataLossError                  offsets that the query needs are gone
    ├── SinkError                          a sink cannot be written
    │   └── FencedError                    a newer generation has taken over
    └── CheckpointError                    the checkpoint cannot be used
        ├── IncompatiblePlanError          the plan has changed in a way that the state cannot follow
        ├── CorruptCheckpointError         an entry or blob is not what was written
        │   └── LostWritesError            a server has lost writes that it had acknowledged
        ├── NotReplicatedError             too few replicas have acknowledged a write
        └── CheckpointLockedError          another process holds it

A message says what happened, with which value, and what to try.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from tidemill.conditions import sql_state


class TidemillError(Exception):
    """Base of all errors raised on purpose."""


class PySparkException(TidemillError):
    """An error with a Spark error condition, such as ``UNRESOLVED_COLUMN.WITH_SUGGESTION``."""

    def __init__(
        self, message: str, condition: str | None = None, parameters: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"[{condition}] {message}" if condition else message)
        self.condition = condition
        self.desc = message
        self.parameters = dict(parameters or {})

    def getCondition(self) -> str | None:
        return self.condition

    def getErrorClass(self) -> str | None:
        return self.condition

    def getMessage(self) -> str:
        return str(self)

    def getMessageParameters(self) -> dict[str, str]:
        """What the message says, by the names that Spark gives; empty where only the message says it."""
        return dict(self.parameters)

    def getSqlState(self) -> str | None:
        """The five letters of SQL's standard, such as ``42703``; None for a condition that has none."""
        return sql_state(self.condition)

    def getQueryContext(self) -> list[object]:
        """Where in the query's text it happened: the message says so, and this list is empty."""
        return []


class AnalysisException(PySparkException):
    """The program cannot be run as written; raised before anything starts."""


class ParseException(AnalysisException):
    """SQL or DDL text that does not parse."""


class PySparkTypeError(PySparkException, TypeError):
    """An argument has the wrong Python type."""


class PySparkValueError(PySparkException, ValueError):
    """An argument has a value that cannot be used."""


class PySparkAttributeError(PySparkException, AttributeError):
    """An attribute that does not exist."""


class PySparkRuntimeError(PySparkException, RuntimeError):
    """The session or query is in a state that does not allow the call."""


class PySparkNotImplementedError(PySparkException, NotImplementedError):
    """A part of PySpark that Tidemill does not have."""


class PySparkAssertionError(PySparkException, AssertionError):
    """Data is not what a test expected."""


class IllegalArgumentException(PySparkException, ValueError):
    """A setting or option has a value that it cannot have."""


class SparkRuntimeException(PySparkException):
    """An expression failed on a value while running."""


class ArithmeticException(SparkRuntimeException):
    """Division by zero or overflow under ANSI rules."""


class NumberFormatException(SparkRuntimeException):
    """A string that is no number was cast to one under ANSI rules."""


class DateTimeException(SparkRuntimeException):
    """A string that is no date or time was cast to one under ANSI rules."""


class ArrayIndexOutOfBoundsException(SparkRuntimeException):
    """An array was indexed past its end under ANSI rules."""


class PythonException(SparkRuntimeException):
    """A user's function has raised; the message has its name and traceback, ``__cause__`` the error itself."""


class StreamingQueryException(PySparkException):
    """A running query has failed; ``cause`` is the first error, if it has one."""

    def __init__(
        self,
        message: str,
        condition: str | None = None,
        cause: BaseException | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, condition, parameters)
        self.cause = cause
        self.__cause__ = cause


class ManifestError(TidemillError):
    """A manifest is wrong. ``problems`` has one sentence for each, all found at once."""

    def __init__(self, problems: Iterable[str], where: str = "manifest") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{where}: {p}" for p in self.problems))


class SourceError(TidemillError):
    """A source cannot be read."""


class DataLossError(SourceError):
    """Offsets that the query still needs are gone."""


class SinkError(TidemillError):
    """A sink cannot be written."""


class FencedError(SinkError):
    """A newer generation has taken over; this process must stop writing."""


class CheckpointError(TidemillError):
    """The checkpoint cannot be used."""


class IncompatiblePlanError(CheckpointError):
    """The plan has changed in a way that the state in the checkpoint cannot follow."""


class CorruptCheckpointError(CheckpointError):
    """An entry or blob is not what was written."""


class LostWritesError(CorruptCheckpointError):
    """A server has lost writes that it had acknowledged: a failover to a replica that lagged behind."""


class NotReplicatedError(CheckpointError):
    """Too few replicas have acknowledged a write that the outside world was to rely on."""


class CheckpointLockedError(CheckpointError):
    """Another process holds the checkpoint."""


class ExecutorLostError(TidemillError):
    """An executor is gone, or no longer answers; the batch can be tried again without it."""


def nearest(word: str, known: Iterable[str], count: int = 1) -> list[str]:
    """The known words most like ``word``, best first; empty if nothing is near.

    >>> nearest("newest", ["earliest", "latest"])
    ['latest']
    """
    by_lower = {k.lower(): k for k in known}
    return [by_lower[m] for m in difflib.get_close_matches(word.lower(), by_lower, n=count, cutoff=0.5)]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'latest'?`` or the empty string.

    >>> did_you_mean("newest", ["earliest", "latest"])
    "; did you mean 'latest'?"
    """
    found = nearest(word, known)
    return f"; did you mean {found[0]!r}?" if found else ""
