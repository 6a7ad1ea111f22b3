"""The target ``local``: a Divisions cluster that runs, through its control API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy.shipping.release import Ending, Plan, Receipt, Release, Step
from deploy.shipping.target import Say
from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import local_bundle
from divisions.bundle import MANIFEST
from divisions.control import RolloutStatus
from divisions.errors import ClusterError
from divisions.pipeline.definition import Pipeline
from divisions.sdk.client import Client

CHECK, PUSH, START, WATCH = "check", "push", "start", "watch"
WATCH_PATIENCE = 60
"""Failed requests in a row, one a second: a cluster that crashed serves again within this time."""
ENDED = frozenset({"PROMOTED", "ROLLED_BACK"})


@dataclass(frozen=True, slots=True)
class Observed:
    """What the target has: the endpoint's latest rollout, and whether the artifact store has the bundle.

    ``is_stored`` is None without a store.
    """

    rollout: RolloutStatus | None
    is_stored: bool | None


def make_plan(
    release: Release, pipeline: Pipeline, observed: Observed, store: str, *, is_watched: bool, is_forced: bool
) -> Plan:
    """The steps from what is there to the release. Pure.

    A rollout of the release that is under way is only watched. One that was rolled back is started again only by force;
    without it, the controller refuses.
    """
    rollout = observed.rollout
    is_ours = rollout is not None and rollout.model == release.model
    stable = rollout.stable_version if rollout is not None and is_ours else None
    has_ended = rollout is None or rollout.phase in ENDED
    is_rolling = rollout is not None and is_ours and not has_ended and rollout.canary_version == release.version
    if stable == release.version and has_ended:
        return Plan(())
    steps = [Step(CHECK, f"Check every byte of {release.bundle}")]
    if observed.is_stored is False:
        steps.append(Step(PUSH, f"Push the bundle to {store}"))
    weights = " → ".join(f"{each / 100:g} %" for each in pipeline.deployment.steps_bp)
    if not is_rolling:
        how = f"canary {weights}" if stable is not None else "all traffic at once: nothing is served yet"
        steps.append(Step(START, f"Start the rollout of {release}{' by force' if is_forced else ''} ({how})"))
    if is_watched:
        steps.append(Step(WATCH, f"Watch {release.endpoint} until the rollout ends"))
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
        connected: a client of its gateway.
        start: starts the rollout (`deploy.rollout_start.start_version`); returns its status and notices.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        pipeline: Pipeline,
        bundles: Bundles,
        start: Callable[[], tuple[RolloutStatus, tuple[str, ...]]],
        *,
        is_forced: bool = False,
    ) -> None:
        self.name = name
        self._client = client
        self._pipeline = pipeline
        self._bundles = bundles
        self._start = start
        self._is_forced = is_forced

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        store = self._bundles.store
        is_stored = None if store is None else store.has(release.bundle, MANIFEST)
        observed = Observed(self._rollout(release.endpoint), is_stored)
        name = "" if store is None else store.name
        return make_plan(release, self._pipeline, observed, name, is_watched=is_watched, is_forced=self._is_forced)

    def apply(self, step: Step, release: Release, say: Say) -> Receipt:
        match step.name:
            case "check":
                folder, manifest = self._bundles.open(release.bundle, release.bundle_sha256)
                size = sum(path.stat().st_size for path in folder.iterdir())
                return Receipt(f"{len(manifest.files)} files, {size:,} bytes, as registered")
            case "push":
                # The check before has fetched it, and publishing checks each byte again.
                self._bundles.publish(local_bundle(self._bundles.home, release.bundle), release.bundle_sha256)
                return Receipt(f"as {release.bundle}")
            case "start":
                status, notices = self._start()
                for notice in notices:
                    say(f"note: {notice}")
                return Receipt(f"generation {status.generation}", Ending.STARTED)
            case _:
                return self._watch(release, say)

    def _rollout(self, endpoint: str) -> RolloutStatus | None:
        return next((each for each in self._client.rollouts() if each.endpoint == endpoint), None)

    def _watch(self, release: Release, say: Say) -> Receipt:
        said = ""
        last: RolloutStatus | None = None
        for last in self._client.rollout(release.endpoint).watch(patience=WATCH_PATIENCE):
            line = f"{last.phase} {last.actual_weight_bp}"
            if line != said:  # Counts change each second; people want to see what is new.
                said = line
                say(status_line(last))
            if release.version not in {last.canary_version, last.stable_version} and last.phase not in ENDED:
                raise ClusterError(
                    f"{release.endpoint} rolls out {last.canary_version} now, no longer {release.version}",
                    remedy="somebody else has started another rollout; deploy again after it",
                )
        if last is not None and last.phase == "PROMOTED" and last.stable_version == release.version:
            return Receipt(last.message, Ending.PROMOTED)
        reason = "" if last is None else last.rollback_reason or last.message
        return Receipt(reason, Ending.ROLLED_BACK)
