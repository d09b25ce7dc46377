"""Session windows that touch, as SQL; a file of its own, since executors need nothing else of the planner."""

from __future__ import annotations

from collections.abc import Sequence


def islands_sql(rows: str, keys: Sequence[str]) -> str:
    """``rows`` (with s_start and s_end) and, as ``s_first`` and ``s_last``, the session that they merge into.

    Two sessions of one key merge if one starts at or before the other's end.
    """
    by = f"PARTITION BY {', '.join(keys)} " if keys else ""
    same = ", ".join([*keys, "s_island"])
    return (
        f"SELECT *, min(s_start) OVER (PARTITION BY {same}) AS s_first, "
        f"max(s_end) OVER (PARTITION BY {same}) AS s_last FROM (SELECT *, "
        f"sum(s_new) OVER ({by}ORDER BY s_start, s_end ROWS UNBOUNDED PRECEDING) AS s_island "
        f"FROM (SELECT *, CASE WHEN s_start <= max(s_end) OVER ({by}ORDER BY s_start, s_end "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS s_new FROM ({rows})))"
    )
