"""Spark SQL text to SQLGlot trees, with every function call left as it was written.

SQLGlot knows hundreds of functions and rewrites them on parsing; our registry decides what a name means instead, so
the parser here keeps each call as ``exp.Anonymous(this=name, expressions=arguments)``. Calls with syntax of their own
(``EXTRACT(YEAR FROM x)``, ``TRIM(BOTH 'x' FROM y)``) become the same shape. Only CAST and TRY_CAST keep their nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokens import TokenType

from tidemill.errors import ParseException, did_you_mean


def call(name: str, *arguments: exp.Expression | None) -> exp.Anonymous:
    """A function call as the parser builds it; arguments that are None are left out."""
    return exp.Anonymous(this=name, expressions=[a for a in arguments if a is not None])


def _text(value: str) -> exp.Expression:
    return exp.Literal.string(value)


def _extract(parser: Any) -> exp.Expression:
    node = parser._parse_extract()
    return call("extract", _text(node.this.name or str(node.this)), node.expression)


def _substring(name: str) -> Callable[[Any], exp.Expression]:
    def parse(parser: Any) -> exp.Expression:
        node = parser._parse_substring()
        return call(name, node.this, node.args.get("start"), node.args.get("length"))

    return parse


def _trim(parser: Any) -> exp.Expression:
    """Spark's trim() takes the characters first."""
    node = parser._parse_trim()
    which = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(
        str(node.args.get("position") or "").upper(), "trim"
    )
    return call(which, node.args.get("expression"), node.this)


def _position(parser: Any) -> exp.Expression:
    node = parser._parse_position()
    return call("position", node.args.get("substr"), node.this, node.args.get("position"))


def _overlay(parser: Any) -> exp.Expression:
    node = parser._parse_overlay()
    return call("overlay", node.this, node.expression, node.args.get("from_"), node.args.get("for_"))


WATERMARK = "watermark"
"""Key of a table alias's ``meta``: the (column, delay) of the relation's WATERMARK clause."""


class TidemillSpark(Spark):
    """Spark's dialect with an empty function table."""

    class Tokenizer(Spark.Tokenizer):
        # Since Spark 4 a doubled quote is a quote, and not the seam of two literals.
        STRING_ESCAPES = ["'", '"', "\\"]  # noqa: RUF012

    class Parser(SparkParser):
        FUNCTIONS: ClassVar[Any] = {}
        FUNCTION_PARSERS = {  # noqa: RUF012
            "CAST": lambda self: self._parse_cast(True),
            "TRY_CAST": lambda self: self._parse_cast(False, safe=True),
            "EXTRACT": _extract,
            "SUBSTRING": _substring("substring"),
            "SUBSTR": _substring("substr"),
            "TRIM": _trim,
            "POSITION": _position,
            "OVERLAY": _overlay,
        }
        NO_PAREN_FUNCTION_PARSERS = {  # noqa: RUF012
            k: v for k, v in SparkParser.NO_PAREN_FUNCTION_PARSERS.items() if k in ("ANY", "CASE", "IF")
        }
        ARRAY_CONSTRUCTORS: ClassVar[Any] = {}  # else array(1, 2)[0] loses its arguments
        # GROUP BY window(...) is a call here; SQLGlot would take the word for the WINDOW clause.
        QUERY_MODIFIER_TOKENS = SparkParser.QUERY_MODIFIER_TOKENS - {TokenType.WINDOW}
        TRIM_PATTERN_FIRST = True
        STRICT_CAST = True

        def _parse_table(self, *args: Any, **kwargs: Any) -> Any:
            """Takes the word of ``FROM STREAM t``; ``FROM STREAM(t)`` parses as a call."""
            follows = self._next is not None and self._next.token_type in (
                TokenType.VAR,
                TokenType.IDENTIFIER,
            )
            named = follows and self._next.text.upper() not in ("AS", "WATERMARK")
            if named:
                self._match_text_seq("STREAM")
            return super()._parse_table(*args, **kwargs)

        def _parse_table_alias(self, alias_tokens: Any = None) -> Any:
            """Reads ``WATERMARK t DELAY OF INTERVAL 10 SECONDS`` too, which stands before the alias."""
            watermark = self._parse_watermark()
            alias = super()._parse_table_alias(alias_tokens)
            if watermark is not None:
                alias = alias or exp.TableAlias()
                alias.meta[WATERMARK] = watermark
            return alias

        def _parse_watermark(self) -> tuple[Any, Any] | None:
            start = self._index
            if not self._match_text_seq("WATERMARK"):
                return None
            column = self._parse_disjunction()
            if column is not None and self._match(TokenType.ALIAS):
                column = exp.Alias(this=column, alias=self._parse_id_var())
            if column is None or not self._match_text_seq("DELAY", "OF"):
                self._retreat(start)
                return None
            delay = self._parse_interval()
            if delay is None:
                self.raise_error("Expected INTERVAL after DELAY OF, as in DELAY OF INTERVAL 10 SECONDS")
            return column, delay


_NO_PAREN = {
    exp.CurrentTimestamp: "current_timestamp",
    exp.CurrentDate: "current_date",
    exp.CurrentUser: "current_user",
    exp.CurrentDatetime: "now",
    exp.SessionUser: "session_user",
}


_UNIT_FIRST = {"dateadd", "date_add", "datediff", "date_diff", "timestampadd", "timestampdiff"}
"""Calls whose first of three arguments is a unit, written like a column's name."""


def _uniform(node: exp.Expression) -> exp.Expression:
    """Calls that SQLGlot has nodes for in spite of the empty table, as plain calls."""
    for kind, name in _NO_PAREN.items():
        if isinstance(node, kind):
            return call(name)
    if isinstance(node, exp.Any) and not isinstance(node.parent, (exp.Like, exp.ILike, exp.RegexpLike)):
        inner = node.this
        return call("any", inner.this if isinstance(inner, exp.Paren) else inner)
    if isinstance(node, exp.Column) and not node.args.get("table") and node.name.lower() == "localtimestamp":
        return call("localtimestamp")
    if (
        isinstance(node, exp.Anonymous)
        and str(node.this).lower() in _UNIT_FIRST
        and len(node.expressions) == 3
    ):
        unit = node.expressions[0]
        if isinstance(unit, exp.Column) and not unit.args.get("table"):
            node.set("expressions", [_text(unit.name), *node.expressions[1:]])
    if isinstance(node, exp.Anonymous) and isinstance(node.this, exp.Expression):
        node.set("this", node.this.name)
    return node


def _parse(text: str, into: type[exp.Expression] | None = None) -> exp.Expression:
    try:
        tokens = TidemillSpark().tokenize(text)
        parser = TidemillSpark().parser()
        trees = parser.parse(tokens, text)
    except SqlglotError as error:
        raise ParseException(_reason(text, error), "PARSE_SYNTAX_ERROR") from None
    if len(trees) != 1 or trees[0] is None:
        count = len([t for t in trees if t is not None])
        raise ParseException(f"{text!r}: expected one statement, found {count}", "PARSE_SYNTAX_ERROR")
    return trees[0].transform(_uniform, copy=False)


def _reason(text: str, error: SqlglotError) -> str:
    found = getattr(error, "errors", None)
    if not found:
        return f"a quote or a comment is not closed in {text!r} ({error})"
    first = found[0]
    near = first.get("highlight") or "the end"
    place = f"at or near {near!r} (line {first.get('line')}, position {first.get('col')})"
    return (
        f"syntax error {place}: {_described(text, near, str(first.get('description')))}; in {text.strip()!r}"
    )


_TYPES = (
    *("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "boolean", "binary"),
    *("date", "timestamp", "array", "map", "struct"),
)


def _described(text: str, near: str, said: str) -> str:
    """SQLGlot's reason without the names of its classes, with what was perhaps meant."""
    start = text.split(maxsplit=1)[0]
    if start.upper() not in ("SELECT", "WITH", "FROM", "VALUES", "TABLE") and not start.startswith("("):
        return f"a query begins with SELECT or WITH, not {start!r}{did_you_mean(start.upper(), ['SELECT', 'WITH'])}"
    if said.startswith("Expected TYPE after"):
        return f"{near!r} is no type{did_you_mean(near.lower(), _TYPES)}"
    if said.startswith("Required keyword"):
        return f"something is missing after {near!r}"
    if said == "Invalid expression / Unexpected token":
        return "this was not expected here"
    return re.sub(r" but got <Token.*", "", said)


def parse_expression(text: str) -> exp.Expression:
    """One expression, with an alias if it has one. Raises `ParseException` with the place of the error.

    >>> parse_expression("upper(a)").sql()
    'upper(a)'
    """
    if not text.strip():
        raise ParseException("the expression is empty; write one like 'a + 1'", "PARSE_EMPTY_STATEMENT")
    # A SELECT list is where Spark's parser reads an expression too: only there do aliases, stars and lambdas all parse.
    query = _parse(f"SELECT {text}")
    items = query.args.get("expressions") or []
    extra = [k for k, v in query.args.items() if v and k not in ("expressions", "kind")]
    if not isinstance(query, exp.Select) or len(items) != 1 or extra:
        raise ParseException(f"{text!r} is not one expression; pass one at a time", "PARSE_SYNTAX_ERROR")
    return items[0].pop()


def parse_query(text: str) -> exp.Expression:
    """One statement. Raises `ParseException` with the place of the error."""
    if not text.strip():
        raise ParseException("the statement is empty", "PARSE_EMPTY_STATEMENT")
    return _parse(text)


def function_name(node: exp.Expression) -> str:
    """The lower-case name of a call, or '' if it is none."""
    return str(node.this).lower() if isinstance(node, exp.Anonymous) else ""


__all__ = ["TidemillSpark", "call", "function_name", "parse_expression", "parse_query"]
