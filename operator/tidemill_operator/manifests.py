"""Jobs as objects of the API server have them. Pure."""

from __future__ import annotations

from tidemill.api import StreamingJob, parse
from tidemill_operator.cluster import Item
from tidemill_operator.desired.merge import forbidden

_META = ("name", "namespace", "labels", "uid")


def read(raw: Item) -> tuple[StreamingJob | None, str]:
    """The job of an object, and what is wrong with it: what a laptop says of the file, and what only a cluster refuses."""
    meta = {k: raw["metadata"][k] for k in _META if k in raw["metadata"]}
    job, problems = parse(
        {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": meta, "spec": raw["spec"]}
    )
    if job is None:
        return None, "; ".join(str(p) for p in problems[:5])
    templates = (("driver", job.spec.driver.pod_template), ("executor", job.spec.executor.pod_template))
    wrong = [
        f"spec.{which}.podTemplate.{problem}" for which, given in templates for problem in forbidden(given)
    ]
    if (program := job.spec.program) and program.file and not program.file.startswith("/"):
        wrong.append(
            f"spec.program.file: {program.file!r} is beside the manifest, and in a pod there is nothing beside it; give the "
            "whole path in the image or on a volume (/app/job.py), or use spec.program.inline or configMap"
        )
    return (None, "; ".join(wrong)) if wrong else (job, "")
