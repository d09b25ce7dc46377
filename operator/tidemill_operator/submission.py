"""What `tidemill submit` sends: the objects of a file, as `kubectl apply` would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tidemill.api import Problem, StreamingJob
from tidemill.api.document import Document, read_documents
from tidemill.errors import ManifestError
from tidemill_operator import manifests
from tidemill_operator.cluster import BY_NAME, CONFIG_MAP, JOB, SECRET, Cluster, Item
from tidemill_operator.errors import ClusterError
from tidemill_operator.names import LAST_APPLIED

BESIDE = (CONFIG_MAP.name, SECRET.name)
"""Kinds that a job refers to, and that may lie in its file."""
NOT_HERE = ("functions", "tables", "program")
"""Parts of a spec that may be in the image, or in the cluster, and not where a job is submitted."""
SERVERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""Metadata of `kubectl get -o yaml` that nobody applies."""
ATTEMPTS = 5


def read(
    text: str, where: str, job: StreamingJob | None, problems: Sequence[Problem]
) -> tuple[list[Item], list[Problem]]:
    """A file's objects, the job last; and what this machine cannot tell of them.

    ``job``, ``problems``: what `tidemill validate` finds. Raises ManifestError.
    """
    notes = [p for p in problems if job is not None and _is_elsewhere(p)]
    if wrong := [str(p) for p in problems if p not in notes]:
        raise ManifestError(wrong, where)
    documents = read_documents(text)
    (ours,) = (d for d in documents if isinstance(d.data, dict) and d.data.get("kind") == JOB.name)
    others = [d for d in documents if d is not ours]
    if wrong := [said for d in others for said in _wrong(d)]:
        raise ManifestError(wrong, where)
    _, refused = manifests.read(ours.data)
    if refused:
        raise ManifestError([refused], where)
    return [_plain(d.data) for d in (*others, ours)], notes


def _is_elsewhere(problem: Problem) -> bool:
    return (
        problem.path[:1] == ("spec",)
        and problem.path[1:2] in {(part,) for part in NOT_HERE}
        and (problem.path[2:3] != ("inline",))
    )


def _wrong(document: Document) -> Iterator[str]:
    """With what lies beside the job."""
    data, line = document.data, document.lines.get((), 1)
    yield from map(str, document.problems)
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in BESIDE:
        yield f"line {line}: {kind or 'this'} is none of {JOB.name}, {', '.join(BESIDE)}; apply it with kubectl"
    elif not isinstance(data.get("metadata"), dict) or not isinstance(data["metadata"].get("name"), str):
        yield f"line {line}: metadata.name: a {kind} needs a name"


def _plain(data: Item) -> Item:
    """What somebody has written, also where it comes from `kubectl get -o yaml`."""
    meta = {k: v for k, v in data["metadata"].items() if k not in SERVERS and v is not None}
    if LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != LAST_APPLIED}
    return {k: v for k, v in data.items() if k != "status"} | {"metadata": meta}


async def apply(cluster: Cluster, item: Item) -> tuple[Item, str]:
    """The object as it then is, and what has been done. Fields that were applied before and are no longer in ``item`` go;
    what others have set stays. (Not by a merge patch, which would lose the nulls of a pod template.)"""
    kind, meta = BY_NAME[item["kind"]], item["metadata"]
    wanted = _noted(item)
    for attempt in range(ATTEMPTS):
        known = await cluster.get(kind, meta["namespace"], meta["name"])
        if known is not None and "deletionTimestamp" in known["metadata"]:
            gone = f"kubectl wait --for=delete {kind.plural}/{meta['name']} -n {meta['namespace']}"
            raise ClusterError(
                409, "apply", f"{kind.name} {meta['name']} is being deleted; submit it again after: {gone}"
            )
        try:
            if known is None:
                return await cluster.create(wanted), "created"
            before = known["metadata"].get("annotations", {}).get(LAST_APPLIED)
            made = await cluster.update(kind, over(known, json.loads(before or "{}"), wanted))
        except ClusterError as error:  # somebody else has written it meanwhile
            if error.status != 409 or attempt + 1 == ATTEMPTS:
                raise
        else:
            if before is None:
                return made, "configured; what it has besides stays, since `kubectl apply` has not made it"
            same = made["metadata"]["resourceVersion"] == known["metadata"]["resourceVersion"]
            return made, "unchanged" if same else "configured"
    raise AssertionError


def _noted(item: Item) -> Item:
    meta = item["metadata"]
    noted = {**(meta.get("annotations") or {}), LAST_APPLIED: json.dumps(item, separators=(",", ":")) + "\n"}
    return {**item, "metadata": {**meta, "annotations": noted}}


def over(known: Any, before: Any, wanted: Any) -> Any:
    """``wanted`` laid over what there is, without what was there ``before`` and is wanted no longer.

    >>> over({"a": 1, "b": 2, "theirs": 3}, {"a": 1, "b": 2}, {"a": 4})
    {'a': 4, 'theirs': 3}
    """
    if not isinstance(known, dict) or not isinstance(wanted, dict):
        return wanted
    before = before if isinstance(before, dict) else {}
    kept = {k: v for k, v in known.items() if k in wanted or k not in before}
    return kept | {k: over(known.get(k), before.get(k), v) for k, v in wanted.items()}
