"""The operator's rights: as few as the page says, where it works and nowhere else."""

from __future__ import annotations

import re

import pytest

from tests.charts.chart import NAMESPACE, ROOT, VALUE_SETS, Item, of, one, render

Rights = dict[tuple[str, str], set[str]]
"""API group and resource (with the name it is for, if it is for one) to verbs."""


def rights(role: Item) -> Rights:
    found: Rights = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                names = rule.get("resourceNames", [""])
                for name in names:
                    found.setdefault((group, f"{resource} {name}".strip()), set()).update(rule["verbs"])
    return found


def tables() -> list[Rights]:
    """What docs/install.md says: in each namespace, and in the operator's own."""
    page = (ROOT / "docs" / "install.md").read_text()
    found: list[Rights] = []
    for line in page.splitlines():
        if line.startswith("| API group |"):
            found.append({})
        elif found and (cells := re.fullmatch(r"\| ([\w.]+) \| ([^|]+) \| ([a-z, ]+) \| .+ \|", line)):
            group, resource, verbs = cells.groups()
            key = ("" if group == "core" else group, resource.replace("`", "").strip())
            found[-1][key] = set(verbs.strip().split(", "))
    return found


def test_the_page_says_all_of_the_operator_s_rights() -> None:
    everywhere, own = tables()
    items = render()
    assert rights(one(items, "ClusterRole", f"{NAMESPACE}-tidemill-jobs")) == everywhere
    assert rights(one(items, "Role", "tidemill-leader")) == own


@pytest.mark.parametrize("name", VALUE_SETS)
def test_nothing_is_granted_by_a_wildcard_or_beyond_the_operator(name: str) -> None:
    items = render(*VALUE_SETS[name])
    roles = [*of(items, "Role"), *of(items, "ClusterRole")]
    for role in roles:
        assert "*" not in str(role["rules"])
    account = one(items, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    bindings = [*of(items, "RoleBinding"), *of(items, "ClusterRoleBinding")]
    for binding in bindings:
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
        assert [role for role in roles if _is_bound(role, binding)]


def _is_bound(role: Item, binding: Item) -> bool:
    named = (role["kind"], role["metadata"]["name"]) == (
        binding["roleRef"]["kind"],
        binding["roleRef"]["name"],
    )
    return named and role["metadata"].get("namespace") == binding["metadata"].get("namespace")


def test_an_operator_of_some_namespaces_has_rights_in_these_alone() -> None:
    items = render({"watchNamespaces": ["team-a", "team-b"], "rbac": {"aggregate": False}})
    assert of(items, "ClusterRole") == of(items, "ClusterRoleBinding") == []
    roles = {(r["metadata"]["namespace"], r["metadata"]["name"]): rights(r) for r in of(items, "Role")}
    everywhere, own = tables()
    assert roles == {
        ("team-a", "tidemill-jobs"): everywhere,
        ("team-b", "tidemill-jobs"): everywhere,
        (NAMESPACE, "tidemill-leader"): own,
    }


def test_secrets_are_written_and_never_read() -> None:
    for role in [*of(render(), "ClusterRole"), *of(render(), "Role")]:
        assert rights(role).get(("", "secrets"), set()) <= {"create", "patch"}


def test_users_get_jobs_with_the_roles_that_they_have() -> None:
    items = render()
    view, edit = (one(items, "ClusterRole", f"{NAMESPACE}-tidemill-{role}") for role in ("view", "edit"))
    assert "rbac.authorization.k8s.io/aggregate-to-view" in view["metadata"]["labels"]
    assert {
        "rbac.authorization.k8s.io/aggregate-to-edit",
        "rbac.authorization.k8s.io/aggregate-to-admin",
    } < set(edit["metadata"]["labels"])
    assert set().union(*rights(view).values()) == {"get", "list", "watch"}
    assert rights(edit) == {
        ("tidemill.dev", "streamingjobs"): {"create", "update", "patch", "delete"},
        ("tidemill.dev", "streamingjobs/scale"): {"update", "patch"},
    }


def test_nobody_gets_anything_without_rbac() -> None:
    items = render({"rbac": {"create": False}})
    assert [i for i in items if i["apiVersion"].startswith("rbac.")] == []
