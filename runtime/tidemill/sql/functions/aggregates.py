"""Functions of all rows of a group."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill.sql.column import Column, ColumnOrName
from tidemill.sql.functions.building import call, call_distinct, distinct, lit, optional


def any_value(col: ColumnOrName, ignoreNulls: bool | Column | None = None) -> Column:
    """Some value of the group; ``ignoreNulls``: one that is not null, if there is one."""
    return call("any_value", col, optional(ignoreNulls))


def approx_count_distinct(col: ColumnOrName, rsd: float | None = None) -> Column:
    """About how many distinct values there are; ``rsd`` is the standard error that may be."""
    return call("approx_count_distinct", col, optional(rsd))


def approxCountDistinct(col: ColumnOrName, rsd: float | None = None) -> Column:
    """About how many distinct values there are; the old name."""
    return call("approx_count_distinct", col, optional(rsd))


def approx_percentile(
    col: ColumnOrName, percentage: Column | float | Sequence[float], accuracy: Column | int = 10000
) -> Column:
    """About the value at a percentage from 0 to 1, or the values at several."""
    return call("approx_percentile", col, lit(percentage), lit(accuracy))


def array_agg(col: ColumnOrName) -> Column:
    """The values as an array, nulls left out."""
    return call("array_agg", col)


def avg(col: ColumnOrName) -> Column:
    """The mean of the values."""
    return call("avg", col)


def bit_and(col: ColumnOrName) -> Column:
    """The bits that all values have."""
    return call("bit_and", col)


def bit_or(col: ColumnOrName) -> Column:
    """The bits that any value has."""
    return call("bit_or", col)


def bit_xor(col: ColumnOrName) -> Column:
    """The bits that an odd number of values have."""
    return call("bit_xor", col)


def bool_and(col: ColumnOrName) -> Column:
    """Whether all values are true."""
    return call("bool_and", col)


def bool_or(col: ColumnOrName) -> Column:
    """Whether any value is true."""
    return call("bool_or", col)


def collect_list(col: ColumnOrName) -> Column:
    """The values as an array, nulls left out."""
    return call("collect_list", col)


def collect_set(col: ColumnOrName) -> Column:
    """The distinct values as an array, nulls left out."""
    return call("collect_set", col)


def corr(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The Pearson correlation of two columns."""
    return call("corr", col1, col2)


def count(col: ColumnOrName) -> Column:
    """How many values are not null; with ``'*'``, how many rows there are."""
    return call("count", col)


def count_distinct(col: ColumnOrName, *cols: ColumnOrName) -> Column:
    """How many distinct values, or combinations of values, have no null."""
    return call_distinct("count", col, *cols)


def countDistinct(col: ColumnOrName, *cols: ColumnOrName) -> Column:
    """How many distinct values, or combinations of values, have no null."""
    return call_distinct("count", col, *cols)


def count_if(col: ColumnOrName) -> Column:
    """How many values are true."""
    return call("count_if", col)


def covar_pop(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The covariance of a population."""
    return call("covar_pop", col1, col2)


def covar_samp(col1: ColumnOrName, col2: ColumnOrName) -> Column:
    """The covariance of a sample."""
    return call("covar_samp", col1, col2)


def every(col: ColumnOrName) -> Column:
    """Whether all values are true."""
    return call("every", col)


def first(col: ColumnOrName, ignorenulls: bool = False) -> Column:
    """The first value that comes; which one that is depends on the order of the input."""
    return call("first", col, lit(True) if ignorenulls else None)


def first_value(col: ColumnOrName, ignoreNulls: bool | Column | None = None) -> Column:
    """The first value that comes; which one that is depends on the order of the input."""
    return call("first_value", col, optional(ignoreNulls))


def grouping(col: ColumnOrName) -> Column:
    """1 where the column is rolled up in this row of a cube or rollup, else 0."""
    return call("grouping", col)


def grouping_id(*cols: ColumnOrName) -> Column:
    """The bits of ``grouping`` of all keys as a number."""
    return call("grouping_id", *cols)


def kurtosis(col: ColumnOrName) -> Column:
    """The excess kurtosis."""
    return call("kurtosis", col)


def last(col: ColumnOrName, ignorenulls: bool = False) -> Column:
    """The last value that comes; which one that is depends on the order of the input."""
    return call("last", col, lit(True) if ignorenulls else None)


def last_value(col: ColumnOrName, ignoreNulls: bool | Column | None = None) -> Column:
    """The last value that comes; which one that is depends on the order of the input."""
    return call("last_value", col, optional(ignoreNulls))


def listagg(col: ColumnOrName, delimiter: Column | str | bytes | None = None) -> Column:
    """The values as one text with ``delimiter`` between them."""
    return call("listagg", col, optional(delimiter))


def listagg_distinct(col: ColumnOrName, delimiter: Column | str | bytes | None = None) -> Column:
    """The distinct values as one text with ``delimiter`` between them."""
    return call("listagg", distinct(col), optional(delimiter))


def max(col: ColumnOrName) -> Column:
    """The greatest value."""
    return call("max", col)


def max_by(col: ColumnOrName, ord: ColumnOrName, k: int | None = None) -> Column:
    """The value of the row where ``ord`` is greatest, or the ``k`` such values as an array."""
    return call("max_by", col, ord, optional(k))


def mean(col: ColumnOrName) -> Column:
    """The mean of the values."""
    return call("avg", col)


def median(col: ColumnOrName) -> Column:
    """The median."""
    return call("median", col)


def min(col: ColumnOrName) -> Column:
    """The least value."""
    return call("min", col)


def min_by(col: ColumnOrName, ord: ColumnOrName, k: int | None = None) -> Column:
    """The value of the row where ``ord`` is least, or the ``k`` such values as an array."""
    return call("min_by", col, ord, optional(k))


def mode(col: ColumnOrName, deterministic: bool = False) -> Column:
    """The most frequent value; ``deterministic``: the least of several."""
    return call("mode", col, lit(True) if deterministic else None)


def percentile(
    col: ColumnOrName, percentage: Column | float | Sequence[float], frequency: Column | int = 1
) -> Column:
    """The value at a percentage from 0 to 1, or the values at several; ``frequency`` is how often each counts."""
    return call(
        "percentile",
        col,
        lit(percentage),
        None if not isinstance(frequency, Column) and frequency == 1 else lit(frequency),
    )


def percentile_approx(
    col: ColumnOrName, percentage: Column | float | Sequence[float], accuracy: Column | int = 10000
) -> Column:
    """About the value at a percentage from 0 to 1, or the values at several."""
    return call("percentile_approx", col, lit(percentage), lit(accuracy))


def product(col: ColumnOrName) -> Column:
    """The product of the values."""
    return call("product", col)


def regr_avgx(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The mean of ``x`` over the pairs without nulls."""
    return call("regr_avgx", y, x)


def regr_avgy(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The mean of ``y`` over the pairs without nulls."""
    return call("regr_avgy", y, x)


def regr_count(y: ColumnOrName, x: ColumnOrName) -> Column:
    """How many pairs have no null."""
    return call("regr_count", y, x)


def regr_intercept(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The intercept of the line through the pairs."""
    return call("regr_intercept", y, x)


def regr_r2(y: ColumnOrName, x: ColumnOrName) -> Column:
    """How much of ``y`` the line through the pairs explains."""
    return call("regr_r2", y, x)


def regr_slope(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The slope of the line through the pairs."""
    return call("regr_slope", y, x)


def regr_sxx(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The sum of squares of ``x`` about its mean."""
    return call("regr_sxx", y, x)


def regr_sxy(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The sum of products of ``x`` and ``y`` about their means."""
    return call("regr_sxy", y, x)


def regr_syy(y: ColumnOrName, x: ColumnOrName) -> Column:
    """The sum of squares of ``y`` about its mean."""
    return call("regr_syy", y, x)


def skewness(col: ColumnOrName) -> Column:
    """The skewness."""
    return call("skewness", col)


def some(col: ColumnOrName) -> Column:
    """Whether any value is true."""
    return call("some", col)


def std(col: ColumnOrName) -> Column:
    """The standard deviation of a sample."""
    return call("std", col)


def stddev(col: ColumnOrName) -> Column:
    """The standard deviation of a sample."""
    return call("stddev", col)


def stddev_pop(col: ColumnOrName) -> Column:
    """The standard deviation of a population."""
    return call("stddev_pop", col)


def stddev_samp(col: ColumnOrName) -> Column:
    """The standard deviation of a sample."""
    return call("stddev_samp", col)


def string_agg(col: ColumnOrName, delimiter: Column | str | bytes | None = None) -> Column:
    """The values as one text with ``delimiter`` between them."""
    return call("string_agg", col, optional(delimiter))


def string_agg_distinct(col: ColumnOrName, delimiter: Column | str | bytes | None = None) -> Column:
    """The distinct values as one text with ``delimiter`` between them."""
    return call("string_agg", distinct(col), optional(delimiter))


def sum(col: ColumnOrName) -> Column:
    """The sum of the values."""
    return call("sum", col)


def sum_distinct(col: ColumnOrName) -> Column:
    """The sum of the distinct values."""
    return call_distinct("sum", col)


def sumDistinct(col: ColumnOrName) -> Column:
    """The sum of the distinct values; the old name."""
    return call_distinct("sum", col)


def try_avg(col: ColumnOrName) -> Column:
    """The mean of the values, or null where it overflows."""
    return call("try_avg", col)


def try_sum(col: ColumnOrName) -> Column:
    """The sum of the values, or null where it overflows."""
    return call("try_sum", col)


def var_pop(col: ColumnOrName) -> Column:
    """The variance of a population."""
    return call("var_pop", col)


def var_samp(col: ColumnOrName) -> Column:
    """The variance of a sample."""
    return call("var_samp", col)


def variance(col: ColumnOrName) -> Column:
    """The variance of a sample."""
    return call("variance", col)


__all__ = [
    "any_value",
    "approxCountDistinct",
    "approx_count_distinct",
    "approx_percentile",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "collect_list",
    "collect_set",
    "corr",
    "count",
    "countDistinct",
    "count_distinct",
    "count_if",
    "covar_pop",
    "covar_samp",
    "every",
    "first",
    "first_value",
    "grouping",
    "grouping_id",
    "kurtosis",
    "last",
    "last_value",
    "listagg",
    "listagg_distinct",
    "max",
    "max_by",
    "mean",
    "median",
    "min",
    "min_by",
    "mode",
    "percentile",
    "percentile_approx",
    "product",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "skewness",
    "some",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "string_agg_distinct",
    "sum",
    "sumDistinct",
    "sum_distinct",
    "try_avg",
    "try_sum",
    "var_pop",
    "var_samp",
    "variance",
]
