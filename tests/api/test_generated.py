"""What is generated from the models: the CRD and the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.manifests import WEB_LOGS
from tidemill.api import crd, docs, load
from tidemill.api.formats import ROLES

ROOT = Path(__file__).parents[2]
Schema = dict[str, Any]


def test_the_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--check", str(ROOT / "crds")]) == 0, capsys.readouterr().err
    assert docs.main(["--check", str(ROOT / "docs")]) == 0, capsys.readouterr().err


def test_a_stale_file_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--check", str(tmp_path)]) == 1
    assert "is not what the models say; run: python -m tidemill.api.crd crds/" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert crd.main([str(tmp_path)]) == 0
    assert crd.main(["--check", str(tmp_path)]) == 0


def test_the_example_of_the_reference_is_a_manifest() -> None:
    page = docs.text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert example == docs.EXAMPLE
    env = {"KAFKA_USER": "me", "KAFKA_PASSWORD": "secret"}
    assert [query.name for query in load(example, env).spec.queries] == ["raw", "hits"]


def test_the_reference_names_every_field_and_every_format() -> None:
    page = docs.text()
    for path, schema in walk(spec()):
        if not path.endswith((".options[]", ".conf[]", ".podTemplate", ".podTemplate.metadata")):
            for name in schema.get("properties", {}):
                assert f"| `{name}` |" in page, (path, name)
    for formats in ROLES.values():
        for name, format in formats.items():
            assert name in page
            assert all(f"`{option}`" in page for option in format.options)


# --- The rules of structural schemas --------------------------------------------------------------------------------

ALLOWED = {
    *(
        "description",
        "type",
        "format",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "default",
    ),
    *("minItems", "maxItems", "maxProperties", "required", "properties", "items", "additionalProperties"),
    *("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"),
    *("x-kubernetes-list-map-keys", "x-kubernetes-validations"),
}


TYPES = ("object", "array", "string", "integer", "number", "boolean")


def root() -> Schema:
    return crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def spec() -> Schema:
    return root()["properties"]["spec"]


def status() -> Schema:
    return root()["properties"]["status"]


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from walk(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


def test_the_schema_is_structural() -> None:
    for path, schema in walk(root()):
        assert set(schema) <= ALLOWED, path
        free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
        assert schema.get("type") in TYPES or free, path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert (schema.get("type") == "array") == ("items" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
        if schema.get("x-kubernetes-list-type") == "map":
            assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), path


def test_every_text_and_list_of_the_spec_is_bounded() -> None:
    """Else the API server could not bound the cost of the rules, and a status could grow past what etcd takes."""
    for path, schema in [*walk(spec()), *walk(status())]:
        if schema.get("type") == "string":
            assert "maxLength" in schema or "enum" in schema, path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


def test_every_field_says_what_it_is_for() -> None:
    for path, schema in [*walk(spec(), "spec"), *walk(status(), "status")]:
        for name, below in schema.get("properties", {}).items():
            assert len(below.get("description", "")) > 10, f"{path}.{name}"


def test_a_rule_names_only_fields_that_are_there() -> None:
    found = 0
    for path, schema in walk(root()):
        for rule in schema.get("x-kubernetes-validations", ()):
            found += 1
            assert len(rule["message"]) < 2048
            places = re.findall(r"\b(?:self|oldSelf)((?:\.\w+)+)", rule["rule"])
            for steps in [*places, rule.get("fieldPath", "")]:
                at = schema
                for step in steps.strip(".").split("."):
                    if not step or step in FUNCTIONS:
                        break
                    assert step in at["properties"], (path, rule)
                    at = at["properties"][step]
    assert found >= 60


FUNCTIONS = ("exists", "exists_one", "all", "matches", "lowerAscii", "split", "substring", "contains")
"""What CEL calls on a value."""


def test_a_pattern_is_told_in_words() -> None:
    """`should match '^[a-z...'` helps nobody, so there is a rule with a sentence in its place."""
    for path, schema in walk(root()):
        assert "pattern" not in schema or ".secretRef." in path, path
    (name, *_) = spec()["properties"]["queries"]["items"]["properties"]["name"]["x-kubernetes-validations"]
    assert name["message"].startswith("is no name; write letters, digits and _")
    assert name["messageExpression"].startswith('"\'" + self + "\' is no name; write')


def test_what_kubectl_shows_is_in_the_schema() -> None:
    version = crd.definition()["spec"]["versions"][0]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    scale = version["subresources"]["scale"]
    paths += [scale["specReplicasPath"], scale["statusReplicasPath"], scale["labelSelectorPath"]]
    assert version["subresources"]["status"] == {}
    for path in paths:
        at = root()
        for step in path.strip(".").split("."):
            if at is root()["properties"]["metadata"] or step == "creationTimestamp":
                break
            at = at["properties"][step]


def test_defaults_grow_where_the_scale_subresource_looks() -> None:
    executor = spec()["properties"]["executor"]
    assert executor["default"] == {}
    assert executor["properties"]["replicas"]["default"] == 1
    query = spec()["properties"]["queries"]["items"]["properties"]
    assert query["trigger"]["default"] == {"processingTime": "0 seconds"}


def test_names_are_as_the_operator_will_use_them() -> None:
    names = yaml.safe_load(crd.text())["spec"]["names"]
    assert (names["plural"], names["shortNames"], names["categories"]) == ("streamingjobs", ["sj"], ["all"])
    assert load(WEB_LOGS).kind == names["kind"]
