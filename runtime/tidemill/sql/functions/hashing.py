"""Digests, identities and what the session knows."""

from __future__ import annotations

from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, lit, optional


def assert_true(col: ColumnOrName, errMsg: Column | str | None = None) -> Column:
    """Null where the condition holds; an error where it does not."""
    return call("assert_true", col, optional(errMsg))


def crc32(col: ColumnOrName) -> Column:
    """The CRC-32 of bytes."""
    return call("crc32", col)


def current_catalog() -> Column:
    """The name of the current catalog."""
    return call("current_catalog")


def current_database() -> Column:
    """The name of the current database."""
    return call("current_database")


def current_schema() -> Column:
    """The name of the current database."""
    return call("current_schema")


def current_user() -> Column:
    """The user's name."""
    return call("current_user")


def hash(*cols: ColumnOrName) -> Column:
    """The Murmur 3 hash of the columns, as an INT."""
    return call("hash", *cols)


def isnan(col: ColumnOrName) -> Column:
    """Whether a number is NaN."""
    return call("isnan", col)


def isnotnull(col: ColumnOrName) -> Column:
    """Whether the value is not null."""
    return call("isnotnull", col)


def isnull(col: ColumnOrName) -> Column:
    """Whether the value is null."""
    return call("isnull", col)


def md5(col: ColumnOrName) -> Column:
    """The MD5 of bytes, in hexadecimal."""
    return call("md5", col)


def monotonically_increasing_id() -> Column:
    """A number for each row, growing and unlike any other; not consecutive."""
    return call("monotonically_increasing_id")


def raise_error(errMsg: Column | str) -> Column:
    """An error with this text, as soon as the row is computed."""
    return call("raise_error", lit(errMsg))


def rand(seed: int | None = None) -> Column:
    """A random double from 0 to 1, the same again when a batch is run again."""
    return call("rand", optional(seed))


def randn(seed: int | None = None) -> Column:
    """A random double of the standard normal distribution, the same again when a batch is run again."""
    return call("randn", optional(seed))


def random(seed: int | None = None) -> Column:
    """A random double from 0 to 1, the same again when a batch is run again."""
    return call("random", optional(seed))


def session_user() -> Column:
    """The user's name."""
    return call("session_user")


def sha(col: ColumnOrName) -> Column:
    """The SHA-1 of bytes, in hexadecimal."""
    return call("sha", col)


def sha1(col: ColumnOrName) -> Column:
    """The SHA-1 of bytes, in hexadecimal."""
    return call("sha1", col)


def sha2(col: ColumnOrName, numBits: int) -> Column:
    """The SHA-2 of bytes with 224, 256, 384 or 512 bits, in hexadecimal."""
    return call("sha2", col, lit(numBits))


def spark_partition_id() -> Column:
    """The number of the task that computes the row."""
    return call("spark_partition_id")


def typeof(col: ColumnOrName) -> Column:
    """The value's type, as DDL."""
    return call("typeof", col)


def user() -> Column:
    """The user's name."""
    return call("user")


def uuid(seed: Column | int | None = None) -> Column:
    """A random UUID."""
    return call("uuid", optional(seed))


def version() -> Column:
    """The version of the engine."""
    return call("version")


def xxhash64(*cols: ColumnOrName) -> Column:
    """The xxHash of the columns, as a BIGINT."""
    return call("xxhash64", *cols)


def coalesce(*cols: ColumnOrName) -> Column:
    """The first value that is not null."""
    return call("coalesce", *cols)


def equal_null(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """Equality in which two nulls are equal."""
    return call("equal_null", col1, col2)


def ifnull(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """``col1``, or ``col2`` where it is null."""
    return call("ifnull", col1, col2)


def nanvl(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """``col1``, or ``col2`` where it is NaN."""
    return call("nanvl", col1, col2)


def nullif(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """``col1``, or null where it equals ``col2``."""
    return call("nullif", col1, col2)


def nullifzero(col: ColumnOrName) -> Column:
    """The value, or null where it is zero."""
    return call("nullifzero", col)


def nvl(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """``col1``, or ``col2`` where it is null."""
    return call("nvl", col1, col2)


def nvl2(col1: ColumnOrName, col2: ColumnOrName, col3: ColumnOrName) -> Column:
    """``col2`` where ``col1`` is not null, else ``col3``."""
    return call("nvl2", col1, col2, col3)


def zeroifnull(col: ColumnOrName) -> Column:
    """The value, or zero where it is null."""
    return call("zeroifnull", col)


__all__ = [
    "assert_true",
    "coalesce",
    "crc32",
    "current_catalog",
    "current_database",
    "current_schema",
    "current_user",
    "equal_null",
    "hash",
    "ifnull",
    "isnan",
    "isnotnull",
    "isnull",
    "md5",
    "monotonically_increasing_id",
    "nanvl",
    "nullif",
    "nullifzero",
    "nvl",
    "nvl2",
    "raise_error",
    "rand",
    "randn",
    "random",
    "session_user",
    "sha",
    "sha1",
    "sha2",
    "spark_partition_id",
    "typeof",
    "user",
    "uuid",
    "version",
    "xxhash64",
    "zeroifnull",
]
