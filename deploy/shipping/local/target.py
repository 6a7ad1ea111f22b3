"""A Divisions cluster that runs: from what it serves to a release, through its control API."""

from __future__ import annotations

from collections.abc import Callable

from deploy.shipping.local import going_back
from deploy.shipping.local.going_back import ENDED
from deploy.shipping.release import Act, Ending, Plan, Receipt, Release, Step
from deploy.shipping.target import Served, Work
from divisions.errors import ClusterError
from divisions.pipeline.definition import Pipeline
from divisions.sdk.calls import RESTART_PATIENCE
from divisions.sdk.client import Client
from divisions.status import RolloutStatus

START, WATCH = "start", "watch"


def make_plan(
    release: Release, pipeline: Pipeline, rollout: RolloutStatus | None, *, is_watched: bool, is_forced: bool
) -> Plan:
    """The steps from the endpoint's latest rollout to the release. Pure.

    A rollout of the release that is under way is only watched. One that was rolled back is started again only by force;
    without it, the controller refuses.
    """
    is_ours = rollout is not None and rollout.model == release.model
    stable = rollout.stable_version if rollout is not None and is_ours else None
    has_ended = rollout is None or rollout.phase in ENDED
    is_rolling = rollout is not None and is_ours and not has_ended and rollout.canary_version == release.version
    if stable == release.version and has_ended:
        return Plan(())
    steps: list[Step] = []
    weights = " → ".join(f"{each / 100:g} %" for each in pipeline.deployment.steps_bp)
    if not is_rolling:
        how = f"canary {weights}" if stable is not None else "all traffic at once: nothing is served yet"
        steps.append(Step(START, f"Start the rollout of {release}{' by force' if is_forced else ''} ({how})"))
    if is_watched:
        steps.append(Step(WATCH, f"Watch {release.endpoint} until the rollout ends", Act.WATCH))
    serving = pipeline.serving
    changes = (
        f"- {release.endpoint}: {release.model} {stable}" if stable else f"- {release.endpoint}: nothing",
        f"+ {release.endpoint}: {release}, {serving.replicas} replicas beside the present ones until it is promoted",
    )
    share = serving.canary_num_gpus if stable else serving.num_gpus
    costs = [f"{serving.replicas * serving.num_cpus:g} CPUs"]
    if share:
        costs.append(
            f"{serving.replicas * share:g} of a {serving.accelerator_type or 'GPU'}, where the cluster has one"
        )
    return Plan(tuple(steps), changes, tuple(costs))


def status_line(status: RolloutStatus) -> str:
    """A line of what the watched rollout does: weight, phase, and the evidence so far."""
    evidence = status.evidence
    weight = (
        f"{status.actual_weight_bp / 100:g} % of {status.endpoint} to {status.canary_version or status.stable_version}"
    )
    line = f"{status.phase} {weight}: {status.rollback_reason or status.message}"
    if evidence.canary_requests:
        rate = evidence.canary_errors / evidence.canary_requests
        line += f" | canary: {evidence.canary_requests:,} requests, errors {rate:.2%}, drift {evidence.input_drift:.2f}"
    return line


class LocalTarget:
    """A cluster that runs.

    Args:
        url: of one of its gateways.
        client: of that gateway.
        start: starts the rollout (`deploy.rollout_start.start_version`); returns its status and notices.
        goes_back: whether the release was there before, and gets all traffic at once.
    """

    def __init__(
        self,
        name: str,
        url: str,
        client: Client,
        pipeline: Pipeline,
        start: Callable[[], tuple[RolloutStatus, tuple[str, ...]]],
        *,
        is_forced: bool = False,
        goes_back: bool = False,
    ) -> None:
        self.name = name
        self.login = Step("authenticate", f"Authenticate at {url}", Act.AUTHENTICATE)
        self._client = client
        self._pipeline = pipeline
        self._start = start
        self._is_forced = is_forced
        self._goes_back = goes_back

    def authenticate(self) -> Receipt:
        self._client.rollouts()
        return Receipt("by the token of the control API")

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        rollout = self._rollout(release.endpoint)
        if self._goes_back:
            return going_back.make_plan(release, rollout, is_watched=is_watched)
        return make_plan(release, self._pipeline, rollout, is_watched=is_watched, is_forced=self._is_forced)

    def served(self, endpoint: str) -> Served:
        return going_back.served(self._rollout(endpoint))

    def apply(self, step: Step, work: Work) -> Receipt:
        if step.name == going_back.BACK:
            return self._give_back(work.release)
        status, notices = self._start()
        for notice in notices:
            work.say(f"note: {notice}")
        return Receipt(f"generation {status.generation}", Ending.STARTED)

    def watch(self, work: Work) -> Receipt:
        """The controller judges the release, and takes it back by itself."""
        release, said = work.release, ""
        last: RolloutStatus | None = None
        for last in self._client.rollout(release.endpoint).watch(patience=RESTART_PATIENCE):
            line = f"{last.phase} {last.actual_weight_bp}"
            if line != said:  # Counts change each second; people want to see what is new.
                said = line
                work.say(status_line(last))
            if release.version not in {last.canary_version, last.stable_version} and last.phase not in ENDED:
                raise ClusterError(
                    f"{release.endpoint} rolls out {last.canary_version} now, no longer {release.version}",
                    remedy="somebody else has started another rollout; deploy again after it",
                )
        is_there = last is not None and last.phase in ENDED and last.stable_version == release.version
        if last is not None and is_there and (self._goes_back or last.phase == "PROMOTED"):
            return Receipt(last.message, Ending.PROMOTED)
        reason = "" if last is None else last.rollback_reason or last.message
        return Receipt(reason, Ending.ROLLED_BACK)

    def _give_back(self, release: Release) -> Receipt:
        rollout = self._rollout(release.endpoint)
        generation = None if rollout is None else rollout.generation
        status = self._client.rollout(release.endpoint).rollback(release.version, generation=generation)
        return Receipt(f"generation {status.generation}", Ending.STARTED)

    def rollback(self, work: Work) -> Receipt:
        rollout = self._rollout(work.release.endpoint)
        if rollout is not None and rollout.canary_version == work.release.version and rollout.phase not in ENDED:
            self._client.rollout(work.release.endpoint).abort(generation=rollout.generation)
        return Receipt("", Ending.ROLLED_BACK)

    def _rollout(self, endpoint: str) -> RolloutStatus | None:
        return next((each for each in self._client.rollouts() if each.endpoint == endpoint), None)
