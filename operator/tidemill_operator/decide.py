"""What to do for a job, given what there is: pure, and the same each time it is asked.

One pass goes: what the job should be (`_wanted`), which revision is to be active (`_turn`), what has to be there for it
(`_keep`), what has to go (`_tidy`), and what is said of it (`status`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

from tidemill.api import StreamingJob
from tidemill_operator import changes, names, restarts, troubles
from tidemill_operator.actions import Action, Apply, Decision, Delete, Event, MakeCertificates, Patch
from tidemill_operator.cluster import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    POD,
    PURGE,
    SERVICE,
    STATEFUL_SET,
    Item,
    Kind,
)
from tidemill_operator.desired import objects
from tidemill_operator.desired.compare import holds
from tidemill_operator.desired.plan import Plan, owned
from tidemill_operator.manifests import read
from tidemill_operator.memory import Memory, Refusal, Restart
from tidemill_operator.moments import whole
from tidemill_operator.names import label_of, name_of
from tidemill_operator.phases import BUSY, Standing, recovering, standing
from tidemill_operator.platform import Platform
from tidemill_operator.status import LONGEST, full
from tidemill_operator.world import Observed, leaving, ready

SOON, PATIENT, WATCHFUL = 1.0, 5.0, 15.0
"""Seconds until a job is looked at though nothing has changed: while its drivers are about to say something, while its pods
start or end, and while that is all that can be done."""


def decide(observed: Observed, platform: Platform, now: datetime) -> Decision:
    """See the module. ``now`` is in UTC."""
    return _Pass(observed, platform, now).decide()


class _Pass:
    """One job at one moment."""

    def __init__(self, observed: Observed, platform: Platform, now: datetime) -> None:
        self.seen, self.now = observed, now
        self.raw = observed.job
        self.name = name_of(self.raw)
        self.generation = int(self.raw["metadata"].get("generation", 0))
        self.before = Memory.of(self.raw.get("status") or {})
        # Another place of the platform's would have the job begin anew.
        self.platform = replace(platform, checkpoint=self.before.checkpoint or platform.checkpoint)
        self.memory = self._adopted(self.before)
        self.active = self.memory.revision
        """As this pass finds it."""
        self.actions: list[Action] = []
        self.events: list[Event] = []
        self.restarted = ""
        self.remark = ""
        """What is wrong with an annotation."""
        self.asked: StreamingJob | None = None
        self.kept_spec: Item = {}
        """Of the job that runs in place of the one that is asked for."""

    def decide(self) -> Decision:
        if leaving(self.raw):
            return self._end()
        job, problem = self._wanted()
        if job is None:
            return self._told(Standing("Refused", problem, "InvalidSpec", degraded=True), None)
        self._finalizer(job)
        if job.spec.suspend:
            self._suspend(job)
        else:
            self._restarts(job)
            self._certificates(job)
            job = self._turn(job)
        state = standing(self.seen, job, self.memory, self._changing(job))
        return self._told(state, job)

    def _adopted(self, memory: Memory) -> Memory:
        """With a driver that is there as the active one, should a status that knew it have been lost: the one that executors
        are led to, or else the oldest."""
        if memory.revision:
            return memory
        ours = {r: d for r, d in self.seen.drivers().items() if owned(d, self.raw)}
        service = self.seen.find(SERVICE, names.driver_service(self.name))
        led = (service or {}).get("spec", {}).get("selector", {}).get(names.REVISION, "")
        oldest = min(ours, key=lambda r: str(ours[r]["metadata"].get("creationTimestamp", "")), default="")
        revision = led if led in ours else oldest
        if not revision:
            return memory
        return replace(
            memory, revision=revision, image=memory.image or _image_of(ours[revision]["spec"]["template"])
        )

    # What the job should be

    def _wanted(self) -> tuple[StreamingJob | None, str]:
        """The job to run: as it is asked for, or as it runs while what is asked for is refused."""
        job, problem = read(self.raw)
        self.asked = job
        running = self._running(self.memory.revision)
        if job is not None and not problem and self._has_run():
            problem = changes.refused(job, running)
        if not problem:
            if not self.memory.refused.revision:
                self.memory = replace(self.memory, refused=Refusal())
            return job, ""
        self._refuse("", problem)
        return self._kept(running), problem

    def _has_run(self) -> bool:
        """Whether a driver has ever held the job's checkpoint."""
        said = self.seen.report(self.memory.revision).get("generation")
        return bool(said or (self.raw.get("status") or {}).get("generation"))

    def _running(self, revision: str) -> Item | None:
        """The manifest that a revision runs."""
        found = self.seen.find(CONFIG_MAP, names.config(self.name, revision)) if revision else None
        if found is None:
            return None
        try:
            manifest = json.loads(found["data"]["job.yaml"])
        except (KeyError, ValueError):
            return None  # somebody else's
        return dict(manifest)

    def _kept(self, running: Item | None) -> StreamingJob | None:
        """The job as it runs, with what may change at any time as it is asked for now."""
        if running is None:
            return None
        spec = dict(running["spec"])
        asked = self.raw["spec"]
        for key in ("suspend", "deletionPolicy", "restarts"):
            spec.pop(key, None)
            spec |= {key: asked[key]} if key in asked else {}
        executor = dict(spec.get("executor") or {})
        executor["replicas"] = (asked.get("executor") or {}).get("replicas", 1)
        self.kept_spec = {**spec, "executor": executor}
        job, _ = read({**self.raw, "spec": self.kept_spec})
        if job is None:
            self.kept_spec = running["spec"]
            job, _ = read({**self.raw, "spec": self.kept_spec})
        return job

    def _refuse(self, revision: str, reason: str) -> None:
        said = Refusal(revision, self.generation, reason[:LONGEST])
        if said != self.memory.refused:
            self.memory = replace(self.memory, refused=said)
            self.events.append(
                Event("ChangeRefused" if self.memory.revision else "Refused", reason, warning=True)
            )

    # Restarts

    def _certificates(self, job: StreamingJob) -> None:
        valid = self.memory.valid_to
        if self.memory.serial and valid and valid - self.now > self.platform.certificates / 3:
            return
        if self.memory.completed and not self._changing(job):
            return  # nothing runs; who asks it to run again gets new ones
        serial = 1 + max(self.memory.serial, *self._serials())
        self.memory = replace(
            self.memory, serial=serial, valid_to=whole(self.now + self.platform.certificates)
        )
        plan = self._plan(job, self.memory.image or self._image(job))
        self.actions.append(MakeCertificates(plan, self.platform.certificates.days))

    def _serials(self) -> list[int]:
        """Of the certificates that drivers have, whether or not a status that knew of them is still there."""
        found = [_certificates_of(d).rpartition("-")[2] for d in self.seen.drivers().values()]
        return [0, *(int(serial) for serial in found if serial.isdigit())]

    def _restarts(self, job: StreamingJob) -> None:
        asked = self.raw["metadata"].get("annotations", {}).get(names.RESTART_AT, "")
        restart, self.remark = restarts.planned(self.memory.restart, job.restarts, asked, self.now)
        self.memory = replace(self.memory, restart=restart)

    # Revisions

    def _plan(self, job: StreamingJob, image: str) -> Plan:
        secret = names.certificates(self.name, self.memory.serial)
        revision = changes.revision(job, image, secret, self.memory.restart.token)
        raw = self.raw if job is self.asked else {**self.raw, "spec": self.kept_spec}
        return Plan(job, raw, self.platform, image, revision, changes.executors(job, image, secret), secret)

    def _image(self, job: StreamingJob) -> str:
        return job.spec.image or self.platform.image

    def _chosen(self, job: StreamingJob) -> Plan:
        """The revision to run. A job that names no image keeps the one that it has until it is restarted anyway: a new
        operator, whose default may be another, restarts nothing. But an image that the job has named and no longer names
        is a change."""
        running = self._running(self.memory.revision) or {}
        if not job.spec.image and self.memory.image and not running.get("spec", {}).get("image"):
            plan = self._plan(job, self.memory.image)
            if plan.revision == self.memory.revision:
                return plan
        return self._plan(job, self._image(job))

    def _changing(self, job: StreamingJob) -> bool:
        return not job.spec.suspend and self._chosen(job).revision not in (
            self.memory.revision,
            self.memory.completed,
        )

    def _turn(self, job: StreamingJob) -> StreamingJob:
        """Bring the active revision to what it should be; gives the job that then runs."""
        plan, active = self._chosen(job), self.memory.revision
        again = plan.revision == self.memory.refused.revision
        kept = self._kept(self._running(active)) if again else None
        if kept is not None:
            job, plan = kept, self._chosen(kept)
        elif again and self._stands(active):
            return job  # somebody has taken its manifest away; it is left alone
        elif self.memory.refused.revision:
            self.memory = replace(self.memory, refused=Refusal())
        if plan.revision == self.memory.completed:
            self._complete(plan)
            return job
        if self.memory.completed:
            self.memory = replace(self.memory, completed="", completed_at=None)
        if plan.revision != active and self._stands(active):
            if not self._try(plan):
                self._keep_running()
                return job
        elif plan.revision != active:
            self._activate(plan)
        self._keep(plan)
        if self.seen.report(plan.revision).get("phase") == "completed":
            self.memory = replace(self.memory, completed=plan.revision, completed_at=whole(self.now))
            self._complete(plan)
        self._finish()
        return job

    def _stands(self, revision: str) -> bool:
        """Whether there is a driver of a revision that has no trouble: a change is tried beside it."""
        trouble, _ = troubles.first(self.seen.driver_pods(revision), self.seen.hints)
        works = self.seen.report(revision).get("phase") == "running"
        return revision in self.seen.drivers() and (works or not trouble)

    def _try(self, plan: Plan) -> bool:
        """Start a driver beside the old one; whether it has taken its place."""
        reason = troubles.verdict(self.seen.driver_pods(plan.revision), self.platform.attempts)
        if reason:
            self._refuse(plan.revision, reason)
            self._remove(plan.revision)
            return False
        self._make_driver(plan)
        if self.seen.report(plan.revision).get("phase") not in ("standby", "running", "completed"):
            return False
        self._activate(plan)
        return True

    def _activate(self, plan: Plan) -> None:
        """From now on this revision is the one: executors are led to it, and the old driver finishes its batch."""
        old = self.memory.revision
        restart = self.memory.restart
        if old and old in self.seen.drivers():
            cause = self._cause(restart, old)
            restart = replace(restart, cause=cause, started=self.now, finished=None, pause=None)
            self.restarted = cause
            self.events.append(
                Event("Restarting", f"revision {plan.revision} takes over from {old} ({cause})")
            )
        else:
            restart = replace(restart, cause="")  # it is no restart
        self.memory = replace(
            self.memory, revision=plan.revision, image=plan.image, restart=restart, refused=Refusal(),
            checkpoint="" if plan.job.spec.checkpoint.location else self.platform.checkpoint,
        )  # fmt: skip

    def _cause(self, restart: Restart, old: str) -> str:
        if restart.cause and restart.started is None:
            return restart.cause
        before = _certificates_of(self.seen.drivers()[old])
        return "Changed" if names.certificates(self.name, self.memory.serial) == before else "Certificates"

    def _finish(self) -> None:
        """Note how long a planned restart took."""
        restart = self.memory.restart
        if (
            restart.started is None
            or restart.finished is not None
            or self.memory.revision != self.before.revision
        ):
            return
        report = self.seen.report(self.memory.revision)
        if report.get("phase") in ("running", "completed") and not recovering(report):
            pause = round(max(0.0, (self.now - restart.started).total_seconds()), 1)
            self.memory = replace(self.memory, restart=replace(restart, finished=self.now, pause=pause))
            self.events.append(Event("Restarted", f"the job runs again after {pause} s ({restart.cause})"))

    # What has to be there

    def _keep_running(self) -> None:
        """A driver and as many executors as wanted for the active revision, while another one is tried."""
        self._patch_replicas(DEPLOYMENT, names.driver(self.name, self.memory.revision), 1)
        kept = self._kept(self._running(self.memory.revision))
        if kept is not None:
            self._patch_replicas(STATEFUL_SET, names.executor(self.name), kept.spec.executor.replicas)

    def _keep(self, plan: Plan) -> None:
        self._make_driver(plan)
        self._ensure(objects.driver_service(plan, plan.revision))
        self._ensure(objects.executor_service(plan))
        self._ensure(objects.budget(plan))
        self._executors(plan)
        if self.active != plan.revision:
            self._remove(self.active)
        for item in self.seen.of(CONFIG_MAP):
            revision = label_of(item, names.REVISION)
            if revision != plan.revision and not self.seen.driver_pods(revision):
                self._delete(CONFIG_MAP, item)

    def _make_driver(self, plan: Plan) -> None:
        """Beside the active one, if it is another; never a third one."""
        for revision in self.seen.drivers():
            if revision not in (plan.revision, self.active):
                self._remove(revision)  # of an edit that has been edited again
        if self.seen.find(CONFIG_MAP, names.config(self.name, plan.revision)) is None:
            self.actions.append(Apply(objects.config(plan)))
        if plan.revision not in self.seen.drivers():
            self.actions.append(Apply(objects.driver(plan)))
        self._patch_replicas(DEPLOYMENT, names.driver(self.name, plan.revision), 1)

    def _executors(self, plan: Plan) -> None:
        """Executors of the right revision, as many as wanted: replaced all at once with the driver, else one by one."""
        replicas = plan.job.spec.executor.replicas
        found = self.seen.find(STATEFUL_SET, names.executor(self.name))
        if found is None or label_of(found, names.REVISION) != plan.executors:
            self.actions.append(Apply(objects.executors(plan, replicas)))
        else:
            self._patch_replicas(STATEFUL_SET, name_of(found), replicas)
        old = [p for p in self.seen.executor_pods() if label_of(p, names.REVISION) != plan.executors]
        staying = [p for p in old if not leaving(p)]
        if not staying:
            return
        switched = self.memory.revision != self.before.revision
        pods = self.seen.executor_pods()
        others_ready = len(pods) >= replicas and all(map(ready, pods))
        chosen = (
            staying if switched or self._of_another_driver(plan) else staying[-1:] if others_ready else []
        )
        # One that does not work holds nobody up.
        broken = [p for p in staying if not ready(p)]
        for pod in {name_of(p): p for p in [*chosen, *broken]}.values():
            self._delete(POD, pod)

    def _of_another_driver(self, plan: Plan) -> bool:
        """Whether executors are of an image or certificates that the driver does not take."""
        found = self.seen.find(STATEFUL_SET, names.executor(self.name))
        if found is None:
            return True
        images = {_image_of(p) for p in (found["spec"]["template"], *self.seen.executor_pods())}
        return images != {plan.image} or _certificates_of(found) != plan.certificates

    def _patch_replicas(self, kind: Kind, name: str, replicas: int) -> None:
        found = self.seen.find(kind, name)
        if found is not None and found["spec"].get("replicas") != replicas:
            self.actions.append(Patch(kind, name, {"spec": {"replicas": replicas}}))

    def _ensure(self, wanted: Item) -> None:
        """Make an object, or mend it; one that has all that is wanted is left alone."""
        kind = {k.name: k for k in (SERVICE, BUDGET)}[wanted["kind"]]
        found = self.seen.find(kind, name_of(wanted))
        if found is None or not holds(found["spec"], wanted["spec"]):
            self.actions.append(Apply(wanted))

    # What has to go

    def _remove(self, revision: str) -> None:
        found = self.seen.drivers().get(revision)
        if found is not None:
            self._delete(DEPLOYMENT, found)

    def _delete(self, kind: Kind, item: Item) -> None:
        if not leaving(item):
            self.actions.append(Delete(kind, name_of(item), str(item["metadata"].get("uid", ""))))

    def _stop(self) -> bool:
        """Drivers first, at the end of their batch, then executors; whether all of them are gone."""
        for revision in self.seen.drivers():
            self._remove(revision)
        if self.seen.drivers() or self.seen.driver_pods():
            return False
        self._patch_replicas(STATEFUL_SET, names.executor(self.name), 0)
        for pod in self.seen.executor_pods():
            if not pod["metadata"].get("ownerReferences"):
                self._delete(POD, pod)  # nobody else will
        return not self.seen.executor_pods()

    def _suspend(self, job: StreamingJob) -> None:
        stopped = self._stop()
        # What a suspended job is changed to is looked at when it goes on; nothing that runs is compared with it then.
        active = "" if stopped else self.memory.revision
        # A restart that falls due meanwhile is not made up for: the job starts anew anyway.
        restart = replace(self.memory.restart, next=None)
        self.memory = replace(
            self.memory, revision=active, completed="", completed_at=None, refused=Refusal(), restart=restart
        )

    def _complete(self, plan: Plan) -> None:
        self.memory = replace(self.memory, revision=plan.revision)
        self._stop()

    def _end(self) -> Decision:
        """The job is being deleted: Kubernetes takes what it owns; its checkpoint is ours to delete, if asked for."""
        said = Standing("Terminating", "the job is being deleted", "Deleting")
        if names.FINALIZER not in self.raw["metadata"].get("finalizers", []):
            return self._told(said, None)
        job, _ = self._wanted()
        if job is None or job.spec.deletion_policy != "Delete" or self.seen.namespace_ends:
            self._release()
        elif self._stop():
            said = self._purge(job)
        return self._told(said, None)

    def _purge(self, job: StreamingJob) -> Standing:
        found = self.seen.find(PURGE, names.purge(self.name))
        status = (found or {}).get("status", {})
        if status.get("succeeded"):
            self._release()
        if found is None:
            plan = self._plan(job, self.memory.image or self._image(job))
            if self.seen.find(CONFIG_MAP, names.config(self.name, plan.revision)) is None:
                self.actions.append(Apply(objects.config(plan)))
            self.actions.append(Apply(objects.purge(plan)))
        _, why = troubles.first(self.seen.of(POD, names.PURGE), self.seen.hints)
        if any(c["type"] == "Failed" and c["status"] == "True" for c in status.get("conditions", [])):
            message = (
                f"the checkpoint cannot be deleted: {why or 'see the log of its pod'}; mend that and delete the Kubernetes Job "
                f"{names.purge(self.name)}, or keep the checkpoint with spec.deletionPolicy: Retain"
            )
            return Standing("Terminating", message, "PurgeFailed", degraded=True)
        told = f"the checkpoint is not deleted yet: {why}" if why else "the checkpoint is being deleted"
        return Standing("Terminating", told, "Deleting", degraded=bool(why))

    def _release(self) -> None:
        rest = [f for f in self.raw["metadata"].get("finalizers", []) if f != names.FINALIZER]
        self.actions.append(Patch(JOB, self.name, {"metadata": {"finalizers": rest}}))

    def _finalizer(self, job: StreamingJob) -> None:
        """Only where something outside of Kubernetes is to be cleaned up."""
        present = names.FINALIZER in self.raw["metadata"].get("finalizers", [])
        if job.spec.deletion_policy == "Delete" and not present:
            kept = [*self.raw["metadata"].get("finalizers", []), names.FINALIZER]
            self.actions.append(Patch(JOB, self.name, {"metadata": {"finalizers": kept}}))
        elif job.spec.deletion_policy != "Delete" and present:
            self._release()

    # What is said

    def _told(self, state: Standing, job: StreamingJob | None) -> Decision:
        again = self._again(state)
        if self.seen.rejected and not state.degraded:
            state = Standing(state.phase, self.seen.rejected, "Rejected", degraded=True)
        if self.remark and not state.degraded:
            state = Standing(state.phase, self.remark, "WrongAnnotation", degraded=True)
        if event := self._transition(state):
            self.events.append(event)
        status = full(self.seen, state, self.memory, job, self.now)
        return Decision(tuple(self.actions), status, tuple(self.events), again, self.restarted)

    def _transition(self, state: Standing) -> Event | None:
        """Another phase, or another trouble in the same one. Of what is refused an event tells already."""
        said = state.message or state.phase
        if state.phase == "Refused":
            return None
        if state.phase != self.before.phase:
            return Event(state.phase, said, warning=state.degraded)
        news = state.degraded and state.reason not in (self.before.trouble, "ChangeRefused")
        return Event(state.reason, said, warning=True) if news else None

    def _again(self, state: Standing) -> float | None:
        """Seconds until a look that no change asks for: at what drivers say, at the events of a pod that does not start,
        and at the clock."""
        if state.phase in ("Suspended", "Refused"):
            return None
        paces = [] if state.phase == "Completed" else [SOON if self.actions else self._pace(state)]
        if self.memory.restart.next is not None:
            paces.append(max(0.5, (self.memory.restart.next - self.now).total_seconds() + 0.5))
        return min(paces, default=None)

    def _pace(self, state: Standing) -> float:
        if state.phase == "Pending" or not (state.phase in BUSY or state.reason == "ChangeTried"):
            return WATCHFUL
        return SOON if self.seen.reports and not state.degraded else PATIENT


def _certificates_of(workload: Item) -> str:
    """The Secret that its pods mount."""
    volumes = workload["spec"]["template"]["spec"].get("volumes", [])
    return next((str(v["secret"]["secretName"]) for v in volumes if v["name"] == names.TLS_VOLUME), "")


def _image_of(pod: Item) -> str:
    """Of our container, whatever others have been put beside it."""
    return next((str(c["image"]) for c in pod["spec"]["containers"] if c["name"] == names.CONTAINER), "")
