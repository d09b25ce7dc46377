"""Columns by name, by DataFrame, through projections and joins."""

from __future__ import annotations

import pytest
from sqlglot import exp

from tests.plan.building import SETTINGS, T2, e, group, joined, nullability, schema, select, table, where
from tidemill.errors import AnalysisException
from tidemill.plan import analyze
from tidemill.plan.nodes import Filter, Join, Node, Project, Ref


def x() -> Node:
    return select(table(), "a", "b", "s")


def col(node: Node, name: str) -> Ref:
    found = analyze.column(node, name, SETTINGS)
    assert isinstance(found, Ref)
    return found


def condition_of(error: pytest.ExceptionInfo[AnalysisException]) -> str | None:
    return error.value.condition


def test_a_column_that_is_selected_keeps_its_identity() -> None:
    base = table()
    assert [a.id for a in select(base, "b", "a").output] == [base.output[1].id, base.output[0].id]
    assert select(base, "a AS z").output[0].id != base.output[0].id


def test_a_column_selected_twice_has_two_identities() -> None:
    twice = select(table(), "a", "a")
    assert len({a.id for a in twice.output}) == 2


def test_a_filter_and_a_sort_reach_columns_that_a_select_has_dropped() -> None:
    base = table()
    narrow = select(base, "a")
    for plan in (
        where(narrow, "b > 1"),
        analyze.filter_rows(narrow, exp.LT(this=col(base, "b"), expression=e("1")), SETTINGS),
        analyze.sort(narrow, [e("b")], SETTINGS),
    ):
        assert schema(plan) == "struct<a:int>"


def test_a_select_does_not_reach_them() -> None:
    base = table()
    with pytest.raises(AnalysisException) as missing:
        analyze.project(select(base, "a"), [col(base, "b")], SETTINGS)
    assert condition_of(missing) == "MISSING_ATTRIBUTES.RESOLVED_ATTRIBUTE_MISSING_FROM_INPUT"
    with pytest.raises(AnalysisException) as again:
        analyze.project(analyze.with_columns(base, {"a": e("a + 1")}, SETTINGS), [col(base, "a")], SETTINGS)
    assert condition_of(again) == "MISSING_ATTRIBUTES.RESOLVED_ATTRIBUTE_APPEAR_IN_OPERATION"


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(AnalysisException, match=r"`hosst` cannot be resolved.*\[`host`") as raised:
        select(table("path string, host string"), "hosst")
    assert condition_of(raised) == "UNRESOLVED_COLUMN.WITH_SUGGESTION"


def test_fields_of_structs_maps_and_arrays_of_structs() -> None:
    plan = select(table(), "st.x", "m.k", "ls.p", "st['y'] AS y", "ls[0].q AS q", "ST.Y AS z")
    assert schema(plan) == "struct<x:int,k:int,p:array<int>,y:string,q:string,z:string>"
    with pytest.raises(AnalysisException, match="did you mean 'x'") as raised:
        select(table("st struct<x:int>"), "st.xx")
    assert condition_of(raised) == "FIELD_NOT_FOUND"


def test_an_alias_goes_before_a_struct_of_its_name() -> None:
    assert schema(select(table("a struct<b:string>, b int", "a"), "a.b")) == "struct<b:int>"


def test_stars() -> None:
    both = joined(table("k int, st struct<x:int,y:int>", "l"), table("k int, v int", "r"), "l.k = r.k")
    assert schema(select(both, "r.*", "st.*")) == "struct<k:int,v:int,x:int,y:int>"
    assert schema(select(both, "* EXCEPT (st, v)")) == "struct<k:int,k:int>"
    with pytest.raises(AnalysisException) as raised:
        select(both, "q.*")
    assert condition_of(raised) == "CANNOT_RESOLVE_STAR_EXPAND"


def test_with_columns_replaces_in_place_and_renames_ignore_what_is_not_there() -> None:
    base = table(T2)
    assert schema(analyze.with_columns(base, {"A": e("c"), "z": e("a")}, SETTINGS)) == (
        "struct<A:string,c:string,b:int,z:int>"
    )
    assert schema(analyze.rename(base, {"c": "d", "q": "r"}, SETTINGS)) == "struct<a:int,d:string,b:int>"
    assert analyze.rename(base, {"q": "r"}, SETTINGS) is base
    assert schema(analyze.drop(base, ["C", "nope", e("b")], SETTINGS)) == "struct<a:int>"
    assert schema(analyze.rename_all(base, ["x", "y", "z"])) == "struct<x:int,y:string,z:int>"
    with pytest.raises(AnalysisException) as raised:
        analyze.with_columns(base, {"z": e("a"), "Z": e("b")}, SETTINGS)
    assert condition_of(raised) == "COLUMN_ALREADY_EXISTS"


def test_column_names_with_dots_and_backticks() -> None:
    assert analyze.name_parts("`a.b`.c") == ["a.b", "c"]
    assert analyze.name_parts("`a``b`") == ["a`b"]
    for wrong in ("a..b", "`a", "`a`b", ""):
        with pytest.raises(AnalysisException):
            analyze.name_parts(wrong)


# --- Joins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["inner", "left_outer", "rightouter", "FULL", "outer", "cross"])
def test_a_using_join_has_its_keys_once_and_first(how: str) -> None:
    assert schema(joined(x(), table(T2), ["a"], how)) == "struct<a:int,b:bigint,s:string,c:string,b:int>"
    assert schema(
        joined(x(), table(T2), ["b", "a"], how)
    ) == "struct<b:bigint,a:int,s:string,c:string>".replace(
        "b:bigint", "b:int" if how == "rightouter" else "b:bigint"
    )


@pytest.mark.parametrize("how", ["semi", "leftsemi", "left_anti"])
def test_semi_and_anti_joins_have_the_left_columns(how: str) -> None:
    assert schema(joined(x(), table(T2), ["a"], how)) == "struct<a:int,b:bigint,s:string>"


def test_outer_joins_make_the_other_side_nullable() -> None:
    left, right = table("a int not null"), table("b int not null")
    expected = {"inner": "--", "left": "-n", "right": "n-", "full": "nn"}
    assert {how: nullability(joined(left, right, "a = b", how)) for how in expected} == expected


def test_unknown_joins_and_keys_are_refused() -> None:
    with pytest.raises(AnalysisException, match="did you mean 'left") as how:
        joined(x(), table(T2), ["a"], "lefft")
    assert condition_of(how) == "UNSUPPORTED_JOIN_TYPE"
    with pytest.raises(AnalysisException, match="left side") as key:
        joined(x(), table(T2), ["c"])
    assert condition_of(key) == "UNRESOLVED_USING_COLUMN_FOR_JOIN"
    with pytest.raises(AnalysisException) as kind:
        joined(x(), table("q int"), "a")
    assert condition_of(kind) == "JOIN_CONDITION_IS_NOT_BOOLEAN_TYPE"


def test_names_that_both_sides_have_are_ambiguous_but_their_columns_are_not() -> None:
    left, right = x(), table(T2)
    equal = exp.EQ(this=col(left, "a"), expression=col(right, "a"))
    both = analyze.join(left, right, equal, "inner", SETTINGS)
    with pytest.raises(AnalysisException) as raised:
        select(both, "a")
    assert condition_of(raised) == "AMBIGUOUS_REFERENCE"
    chosen = analyze.project(both, [col(left, "a"), col(right, "a"), e("c")], SETTINGS)
    assert schema(chosen) == "struct<a:int,a:int,c:string>"
    assert (
        schema(analyze.drop(both, [col(right, "a")], SETTINGS))
        == "struct<a:int,b:bigint,s:string,c:string,b:int>"
    )


def test_the_far_key_of_a_using_join_can_still_be_named() -> None:
    left, right = x(), table(T2)
    plan = joined(left, right, ["a"], "left")
    assert schema(analyze.project(plan, [col(left, "a"), col(right, "a")], SETTINGS)) == "struct<a:int,a:int>"
    missing = exp.Is(this=col(right, "a"), expression=e("NULL"))
    assert schema(analyze.filter_rows(plan, missing, SETTINGS)) == schema(plan)


def test_what_a_select_above_a_join_leaves_out_is_gone() -> None:
    narrow = select(joined(x(), table("k int, v int"), "a = k"), "b")
    with pytest.raises(AnalysisException) as raised:
        select(narrow, "v")
    assert condition_of(raised) == "UNRESOLVED_COLUMN.WITH_SUGGESTION"


def test_a_self_join_compares_the_two_sides() -> None:
    base = x()
    more = where(base, "a > 1")
    equal = exp.EQ(this=col(base, "a"), expression=col(more, "a"))
    plan = analyze.join(base, more, equal, "inner", SETTINGS)
    assert isinstance(plan, Join)
    assert plan.condition is not None
    sides = [r.attribute_id for r in plan.condition.find_all(Ref)]
    assert sides[0] in {a.id for a in plan.left.output}
    assert sides[1] in {a.id for a in plan.right.output}
    assert not {a.id for a in plan.left.output} & {a.id for a in plan.right.output}
    assert isinstance(plan.right, Filter)
    assert {r.attribute_id for r in plan.right.condition.find_all(Ref)} <= {
        a.id for a in plan.right.child.output
    }


def test_a_self_join_by_aliases() -> None:
    base = x()
    plan = joined(analyze.alias(base, "l"), analyze.alias(base, "r"), "l.a = r.b")
    assert schema(select(plan, "l.a", "r.b", "r.s")) == "struct<a:int,b:bigint,s:string>"


def test_an_ambiguous_self_join_is_refused() -> None:
    base = x()
    smaller = exp.LT(this=col(base, "a"), expression=col(base, "b"))
    with pytest.raises(AnalysisException, match=r"alias\('l'\)"):
        analyze.join(base, where(base, "a > 1"), smaller, "inner", SETTINGS)


def test_a_column_that_both_sides_of_a_self_join_show_cannot_be_taken_from_either() -> None:
    base = x()
    more = where(base, "a > 1")
    equal = exp.EQ(this=col(base, "a"), expression=col(more, "a"))
    both = analyze.join(base, more, equal, "inner", SETTINGS)
    for taken in (col(base, "b"), col(more, "b")):
        with pytest.raises(AnalysisException, match="belongs to either"):
            analyze.project(both, [taken], SETTINGS)
    assert len(select(both, "*").output) == 6
    merged = joined(base, group(base, "a"), ["a"])
    assert schema(analyze.project(merged, [col(base, "a"), col(base, "b"), e("n")], SETTINGS)) == (
        "struct<a:int,b:bigint,n:bigint>"
    )


# --- Groups ---------------------------------------------------------------------------------------------------------


def test_aggregates_combine_with_keys() -> None:
    plan = group(table(), "a", agg=("sum(b) / count(*) + a AS r", "sum(b)"))
    assert schema(plan) == "struct<a:int,r:double,sum(b):bigint>"
    assert isinstance(plan, Project)


def test_a_column_beside_aggregates_must_be_a_key() -> None:
    for keys, condition in (((), "MISSING_GROUP_BY"), (("a",), "MISSING_AGGREGATION")):
        with pytest.raises(AnalysisException) as raised:
            group(table(), *keys, agg=("b", "count(*)"))
        assert condition_of(raised) == condition


def test_filters_above_an_aggregation_may_aggregate() -> None:
    counted = group(table(), "a", agg=("sum(b)",))
    assert schema(where(counted, "sum(b) > 1")) == "struct<a:int,sum(b):bigint>"
    assert schema(where(counted, "max(d) > 1")) == "struct<a:int,sum(b):bigint>"
    assert schema(analyze.sort(counted, [e("max(d)")], SETTINGS)) == "struct<a:int,sum(b):bigint>"


@pytest.mark.parametrize(
    ("agg", "condition"),
    [
        ("sum(sum(b))", "NESTED_AGGREGATE_FUNCTION"),
        ("sum(rand())", "AGGREGATE_FUNCTION_WITH_NONDETERMINISTIC_EXPRESSION"),
        ("max(a) AS m, nope", "UNRESOLVED_COLUMN.WITH_SUGGESTION"),
        ("grouping(a)", "UNSUPPORTED_GROUPING_EXPRESSION"),
    ],
)
def test_wrong_aggregates_are_refused(agg: str, condition: str) -> None:
    with pytest.raises(AnalysisException) as raised:
        group(table(), "a", agg=tuple(agg.split(", ")))
    assert condition_of(raised) == condition


# --- Unions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("a int", "a bigint", "bigint"),
        ("a int", "a string", "bigint"),
        ("a decimal(10,2)", "a int", "decimal(12,2)"),
        ("a timestamp", "a date", "timestamp"),
        ("a timestamp", "a string", "timestamp"),
        ("a boolean", "a string", "boolean"),
        ("a double", "a bigint", "double"),
        ("a float", "a bigint", "double"),
        ("a float", "a decimal(10,2)", "double"),
        ("a array<int>", "a array<bigint>", "array<bigint>"),
    ],
)
def test_a_union_widens_its_columns(left: str, right: str, expected: str) -> None:
    plan = analyze.union([table(left), table(right)], SETTINGS)
    assert schema(plan) == f"struct<a:{expected}>"
    assert all(schema(child) == schema(plan) for child in plan.children)


def test_unions_that_do_not_fit_are_refused() -> None:
    cases = [("a int", "a array<int>", "INCOMPATIBLE_COLUMN_TYPE"), ("a boolean", "a int", "INCOMPATIBLE_COLUMN_TYPE"),
             ("a int", "a int, b int", "NUM_COLUMNS_MISMATCH")]  # fmt: skip
    for left, right, condition in cases:
        with pytest.raises(AnalysisException) as raised:
            analyze.union([table(left), table(right)], SETTINGS)
        assert condition_of(raised) == condition


def test_unions_by_name() -> None:
    def by_name(left: str, right: str, missing: bool = False) -> str:
        return schema(analyze.union([table(left), table(right)], SETTINGS, True, missing))

    assert by_name("a int, b bigint", "B bigint, A int") == "struct<a:int,b:bigint>"
    assert by_name("a int, b bigint", "a int, s string", missing=True) == "struct<a:int,b:bigint,s:string>"
    with pytest.raises(AnalysisException) as raised:
        by_name("a int, b bigint", "a int")
    assert condition_of(raised) == "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES"
