"""A cluster with KubeRay: manifests by server-side apply, then the rollout by the control API of what runs there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploy.kubernetes import apply
from deploy.kubernetes.api import Api
from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.readiness import Readiness, judge
from deploy.kubernetes.scale import replicas_of, scale
from deploy.kubernetes.values import Values
from deploy.shipping.kubernetes import plan
from deploy.shipping.kubernetes.control import Control
from deploy.shipping.local.target import LocalTarget
from deploy.shipping.local.target import make_plan as make_rollout_plan
from deploy.shipping.release import Act, Ending, Plan, Receipt, Release, Step
from deploy.shipping.target import Served, Work
from divisions.clock import Clock
from divisions.errors import ClusterError, LatchedSpecError
from divisions.pipeline.definition import Pipeline
from divisions.sdk.client import Client
from divisions.status import RolloutStatus

POLL_S = 2.0
_CLUSTER, _JOB = ("ray.io/v1", "RayCluster"), ("ray.io/v1", "RayJob")


class KubernetesTarget:
    """A cluster.

    Args:
        manifests: what is to be there.
        start: starts the rollout through a gateway's client (`deploy.rollout_start.start_version`).
        pause: waits for so many seconds.
        ready_s: how long pods may take to get ready.
        notices: what a plan says besides.
    """

    def __init__(
        self,
        name: str,
        api: Api,
        values: Values,
        manifests: Sequence[Manifest],
        control: Control,
        pipeline: Pipeline,
        start: Callable[[Client], tuple[RolloutStatus, tuple[str, ...]]],
        clock: Clock,
        pause: Callable[[float], None],
        *,
        ready_s: float,
        is_forced: bool = False,
        overrides_others: bool = False,
        goes_back: bool = False,
        notices: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.login = Step("authenticate", f"Authenticate at {api.server}", Act.AUTHENTICATE)
        self._api = api
        self._values = values
        self._manifests = manifests
        self._control = control
        self._pipeline = pipeline
        self._start = start
        self._clock = clock
        self._pause = pause
        self._ready_s = ready_s
        self._is_forced = is_forced
        self._overrides_others = overrides_others
        self._goes_back = goes_back
        self._notices = notices
        (self._job,) = [each["metadata"]["name"] for each in manifests if each["kind"] == "RayJob"]
        self._serves = False
        """Whether the last plan found the release served, so that only the manifests are to be brought up to date."""

    def authenticate(self) -> Receipt:
        self._api.get("v1", "ConfigMap", f"{self._values.name}-set")
        return Receipt(f"namespace {self._values.namespace}")

    def served(self, endpoint: str) -> Served:
        return self._inner().served(endpoint)

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        if self._goes_back:  # What the manifests say may be the very reason: they stay as they are.
            return self._plan_back(release, is_watched=is_watched)
        found = apply.compare(self._api, self._values, self._manifests)
        found = replace(found, notices=(*found.notices, *self._notices))
        cluster = self._api.get(*_CLUSTER, self._values.name)
        readiness = self._readiness()
        rollout = self._rollout(release.endpoint) if readiness.has_gateway else None
        inner = make_rollout_plan(release, self._pipeline, rollout, is_watched=is_watched, is_forced=self._is_forced)
        self._serves = not inner.steps
        return plan.make_plan(
            inner,
            found,
            self._values,
            canary_pods=0 if cluster is None else replicas_of(cluster, self._values.canary_group),
            has_stable=rollout is not None and rollout.stable_version is not None,
            is_ready=readiness.is_ready,
        )

    def apply(self, step: Step, work: Work) -> Receipt:
        match step.name:
            case plan.MANIFESTS:
                found = apply.compare(self._api, self._values, self._manifests)
                apply.carry_out(self._api, self._values, found, force=self._overrides_others, say=work.say)
                return Receipt(f"{len(found.changes)} objects")
            case plan.GROW:
                done = scale(self._api, self._values.name, self._values.canary_group, self._values.canary_replicas)
                return Receipt(f"{done.before} → {done.after}")
            case plan.READY:
                return self._wait(work)
            case plan.LOWER:
                self._lower(work)
                return Receipt("", Ending.PROMOTED)
            case _:
                return self._start_rollout(step, work)

    def _plan_back(self, release: Release, *, is_watched: bool) -> Plan:
        """The way back to a release. One that was cut off after it leaves pods of the canary that nobody uses."""
        found = self._inner().plan(release, is_watched=is_watched)
        pods = self._canary_pods()
        if found.steps or not pods or not self._was_aborted(release):
            return found
        title = f"Lower {self._values.canary_group} from {pods} to 0 pods"
        return Plan((Step(plan.LOWER, title),), (f"- {self._values.canary_group}: {pods} pods, which serve nothing",))

    def _start_rollout(self, step: Step, work: Work) -> Receipt:
        try:
            return self._inner().apply(step, work)
        except LatchedSpecError:  # it was rolled back before: no rollout needs the pods that were raised for it
            self._lower(work)
            raise

    def watch(self, work: Work) -> Receipt:
        receipt = self._inner().watch(work)
        if receipt.ending is Ending.ROLLED_BACK or (self._goes_back and self._was_aborted(work.release)):
            self._lower(work)
        elif receipt.ending is Ending.PROMOTED and self._canary_pods():
            work.say(
                f"the pods of {self._values.canary_group} serve on; when their replicas have moved, lower it:"
                f" divisions scale {self._values.canary_group} --replicas 0 --target {self.name}"
            )
        return receipt

    def _was_aborted(self, release: Release) -> bool:
        rollout = self._rollout(release.endpoint)
        return rollout is not None and rollout.phase == "ROLLED_BACK"

    def rollback(self, work: Work) -> Receipt:
        receipt = self._inner().rollback(work)
        self._lower(work)
        return receipt

    def _canary_pods(self) -> int:
        cluster = self._api.get(*_CLUSTER, self._values.name)
        return 0 if cluster is None else replicas_of(cluster, self._values.canary_group)

    def _lower(self, work: Work) -> None:
        done = scale(self._api, self._values.name, self._values.canary_group, 0)
        if done.before:
            work.say(f"lowered {self._values.canary_group} from {done.before} to 0 pods")

    def _wait(self, work: Work) -> Receipt:
        """Raises: ClusterError: what is not ready in time, with the reasons that the pods give."""
        began_s, said = self._clock.monotonic_s(), ""
        while True:
            readiness = self._readiness()
            took_s = self._clock.monotonic_s() - began_s
            if readiness.failure:
                raise ClusterError(readiness.failure, remedy="see the log of the RayJob, mend it, and deploy again")
            if readiness.is_ready:
                return Receipt("all are ready", Ending.PROMOTED if self._serves else None)
            line = "; ".join(readiness.reasons) or f"waiting for {', '.join(readiness.waiting)}"
            if line != said:
                said = line
                work.say(line)
            if took_s >= self._ready_s:
                raise ClusterError(
                    f"not ready after {self._ready_s:g} s: {', '.join(readiness.waiting)}."
                    f" {'; '.join(readiness.reasons) or 'The pods give no reason'}",
                    remedy="mend that, and run the same command again",
                )
            self._pause(POLL_S)

    def _readiness(self) -> Readiness:
        cluster = self._api.get(*_CLUSTER, self._values.name)
        pods = self._api.list("v1", "Pod", {"ray.io/cluster": self._values.name})
        readiness = judge(cluster, self._api.get(*_JOB, self._job), pods, ())
        if readiness.is_ready or readiness.reasons:
            return readiness
        return judge(cluster, self._api.get(*_JOB, self._job), pods, self._api.list("v1", "Event"))

    def _inner(self) -> LocalTarget:
        client = self._control.client()
        return LocalTarget(
            self.name,
            self._api.server,
            client,
            self._pipeline,
            lambda: self._start(client),
            is_forced=self._is_forced,
            goes_back=self._goes_back,
        )

    def _rollout(self, endpoint: str) -> RolloutStatus | None:
        return next((each for each in self._control.client().rollouts() if each.endpoint == endpoint), None)
