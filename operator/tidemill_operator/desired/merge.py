"""A pod template laid over ours, field by field, as `kubectl patch` does by default; and what it may not contain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "ephemeralContainers": ("name",), "env": ("name",),
    "volumes": ("name",), "volumeMounts": ("mountPath",), "volumeDevices": ("devicePath",), "ports": ("containerPort",),
    "imagePullSecrets": ("name",), "hostAliases": ("ip",), "topologySpreadConstraints": ("topologyKey",),
    "resourceClaims": ("name",), "schedulingGates": ("name",),
}  # fmt: skip
"""Lists of which one element changes the one of the same key, as the API's strategic merge has it; others are replaced."""


def merged(ours: Any, theirs: Any, field: str = "") -> Any:
    """``ours`` with ``theirs`` laid over it; null takes a field away.

    >>> merged(
    ...     {"a": 1, "env": [{"name": "A", "value": "1"}]}, {"a": None, "env": [{"name": "B", "value": "2"}]}
    ... )
    {'env': [{'name': 'A', 'value': '1'}, {'name': 'B', 'value': '2'}]}
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        result = dict(ours)
        for key, value in theirs.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(ours.get(key), value, key)
        return result
    if isinstance(ours, list) and isinstance(theirs, list) and field in KEYS:
        return _merged_list(ours, theirs, KEYS[field])
    return theirs


def _merged_list(ours: list[Any], theirs: list[Any], keys: tuple[str, ...]) -> list[Any]:
    def key_of(item: Any) -> Any:
        return tuple(item.get(k) for k in keys) if isinstance(item, dict) else item

    changes = {key_of(item): item for item in theirs}
    kept = [merged(item, changes.pop(key_of(item), {})) for item in ours]
    return [*kept, *changes.values()]


_POD = {"hostNetwork": True, "hostPID": True, "hostIPC": True, "shareProcessNamespace": True}
_CONTAINER = {"privileged": True, "allowPrivilegeEscalation": True}


def forbidden(template: Mapping[str, Any]) -> Iterator[str]:
    """Why a template is refused: it would give a pod power over its node, or over others."""
    spec = template.get("spec") or {}
    if not isinstance(spec, Mapping):
        yield "spec: expected an object"
        return
    for key, value in _POD.items():
        if spec.get(key) == value:
            yield f"spec.{key}: {str(value).lower()} shares the node's own; leave it out"
    yield from _user(spec.get("securityContext"), "spec.securityContext")
    for volume in _dicts(spec.get("volumes")):
        if "hostPath" in volume:
            yield f"spec.volumes[{volume.get('name')}].hostPath: a pod must not see its node's files; use a claim"
    for name in ("containers", "initContainers"):
        for container in _dicts(spec.get(name)):
            where = f"spec.{name}[{container.get('name')}].securityContext"
            context = container.get("securityContext")
            yield from _user(context, where)
            if not isinstance(context, Mapping):
                continue
            for key, value in _CONTAINER.items():
                if context.get(key) == value:
                    yield f"{where}.{key}: {str(value).lower()} is refused; leave it out"
            if added := (context.get("capabilities") or {}).get("add"):
                yield f"{where}.capabilities.add: {added} is refused; a job needs none"


def _user(context: Any, where: str) -> Iterator[str]:
    if not isinstance(context, Mapping):
        return
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{where}: a job does not run as root; give another runAsUser"
    profile = (context.get("seccompProfile") or {}).get("type")
    if profile == "Unconfined":
        yield f"{where}.seccompProfile: Unconfined is refused; leave it out"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
