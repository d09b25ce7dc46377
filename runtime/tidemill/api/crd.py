"""The CustomResourceDefinition, generated from the models.

    python -m tidemill.api.crd [--check] crds/

A structural schema: no ``$ref``, no ``anyOf``, each value of one type (or said to be anything). What a field cannot
say stands in ``x-kubernetes-validations``, in CEL; every text and list has a bound, because the API server refuses
rules whose cost it cannot bound.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from tidemill.api import cel
from tidemill.api.base import DNS_LABEL_PATTERN, EXPLANATIONS, Part
from tidemill.api.generate import arguments, write_or_check
from tidemill.api.job import GROUP, KIND, VERSION, JobSpec, StreamingJob
from tidemill.api.load import fields_of
from tidemill.api.status import Status

PLURAL = "streamingjobs"
FILE = f"{PLURAL}.{GROUP}.yaml"
COMMAND = "python -m tidemill.api.crd crds/"

_KEPT = (
    "description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "maxProperties", "required", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
)  # fmt: skip
"""What a structural schema can hold of what pydantic says. (`additionalProperties: false` is the API server's own.)"""

_COLUMNS = (
    ("Phase", "string", ".status.phase", "Where the job is in its life"),
    ("Ready", "integer", ".status.readyReplicas", "Executors that serve the driver"),
    ("Wanted", "integer", ".spec.executor.replicas", "Executors that are asked for"),
    ("Lag", "integer", ".status.lagRows", "Rows that wait in the sources"),
    ("Last Batch", "date", ".status.lastCommit", "How long ago a batch was committed"),
    ("Age", "date", ".metadata.creationTimestamp", "Since when it is there"),
    ("Revision", "string", ".status.revision", "The revision that runs"),
    ("Image", "string", ".status.image", "The image of that revision"),
    ("Next Restart", "string", ".status.restart.next", "When it is to restart on plan"),
    ("Message", "string", ".status.message", "Why it is in that phase"),
)
"""The last one is as long as it likes: kubectl pads the others only, and a job that is well has no message."""
_WIDE = {"Revision", "Image", "Next Restart"}
"""Columns of ``kubectl get -o wide`` only."""


def structural(model: type[Part]) -> dict[str, Any]:
    """The structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _Structure(schema.get("$defs", {})).schema(schema, model)


class _Structure:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions

    def schema(self, said: dict[str, Any], model: type[Part] | None = None) -> dict[str, Any]:
        """``said`` without references and choices; ``model`` is the class that an object was made of."""
        said = self._inlined(said)
        found = {key: said[key] for key in _KEPT if key in said}
        if "const" in said:
            found["enum"] = [said["const"]]
        if said.get("default") is not None:
            found["default"] = said["default"]
        if "items" in said:
            found["items"] = self.schema(said["items"], model)
        if isinstance(said.get("additionalProperties"), dict):
            found["additionalProperties"] = self.schema(said["additionalProperties"])
        if "properties" in said:
            found["properties"] = self._properties(said["properties"], model)
        return found

    def _inlined(self, said: dict[str, Any]) -> dict[str, Any]:
        """``said`` with its reference replaced and its ``| None`` taken away; what stands beside them wins."""
        rest = {key: value for key, value in said.items() if key not in ("$ref", "anyOf", "allOf")}
        if "$ref" in said:
            return self._inlined(self.definitions[said["$ref"].rpartition("/")[2]]) | rest
        if "anyOf" in said:
            (choice,) = [part for part in said["anyOf"] if part.get("type") != "null"]
            return self._inlined(choice) | rest
        return rest

    def _properties(self, said: dict[str, Any], model: type[Part] | None) -> dict[str, Any]:
        below = fields_of(model) if model else {}
        found = {name: self.schema(schema, below.get(name)) for name, schema in said.items()}
        for name, field in (model.model_fields if model else {}).items():
            made = field.get_default(call_default_factory=True) if field.default_factory else None
            if isinstance(made, Part):
                default = made.model_dump(by_alias=True, exclude_defaults=True)
                schema = found[field.alias or name]
                # An empty object is worth writing only if defaults grow in it (`executor: {}` brings `replicas`).
                if default or _has_defaults(schema):
                    schema["default"] = default
        return found


def _has_defaults(schema: dict[str, Any]) -> bool:
    return any("default" in part or _has_defaults(part) for part in schema.get("properties", {}).values())


_NAME = {
    **cel.validation(
        cel.fits(DNS_LABEL_PATTERN, "self.metadata.name"),
        EXPLANATIONS[DNS_LABEL_PATTERN],
        "self.metadata.name",
    ),
    "fieldPath": ".metadata.name",
}


def _in_words(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with a rule and a sentence in place of each pattern: ``should match '^[a-z...'`` helps nobody."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return schema  # CEL cannot look into it
    said = {
        key: {name: _in_words(value) for name, value in below.items()} if key == "properties" else below
        for key, below in schema.items()
        if key != "pattern"
    }
    for key in ("items", "additionalProperties"):
        if key in said:
            said[key] = _in_words(said[key])
    if pattern := schema.get("pattern"):
        # A quantity may be a number, too.
        value = "string(self)" if schema.get("x-kubernetes-int-or-string") else "self"
        rule = cel.validation(cel.fits(pattern, value), EXPLANATIONS[pattern], value)
        said["x-kubernetes-validations"] = [rule, *schema.get("x-kubernetes-validations", ())]
    return said


def definition() -> dict[str, Any]:
    """The whole CustomResourceDefinition as plain data."""
    root = {
        "description": StreamingJob.__doc__,
        "type": "object",
        "required": ["metadata", "spec"],
        "x-kubernetes-validations": [_NAME, *(rule.validation() for rule in StreamingJob.RULES if rule.cel)],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            # Of metadata a definition may restrict names only, and a rule can point only to what is written here.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 40}}},
            "spec": _in_words(structural(JobSpec)),
            "status": structural(Status),
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.executor.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.labelSelector",
            },
        },
        "additionalPrinterColumns": [
            {"name": title, "type": kind, "jsonPath": path, "description": meaning}
            | ({"priority": 1} if title in _WIDE else {})
            for title, kind, path, meaning in _COLUMNS
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["sj"],
                "categories": ["all"],
            },
            "versions": [version],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Without anchors: equal parts are written out."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def text() -> str:
    """The file's text."""
    body = yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return (
        f"# Generated from the models in tidemill.api; to change it, change them and run: {COMMAND}\n{body}"
    )


def main(argv: list[str]) -> int:
    directory, check = arguments(argv, "python -m tidemill.api.crd [--check] crds/")
    return write_or_check({directory / FILE: text()}, COMMAND, check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
