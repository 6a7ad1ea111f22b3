"""Drives a rollout at SageMaker: the state machine of clusters (`router.rollouts.canary`), with weights of variants as
its actuator and minutes of CloudWatch as its evidence.

The process may end at any point. The weights at SageMaker say which step the rollout is in; what the journal notes
beside that is since when, so that the evidence is the same when it goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from deploy.shipping.release import Ending, Receipt
from deploy.shipping.sagemaker import evidence
from deploy.shipping.sagemaker.evidence import Minute, StepTime
from deploy.shipping.sagemaker.hosting import Hosting, kept
from deploy.shipping.sagemaker.metrics import read_minutes
from deploy.shipping.sagemaker.observed import Endpoint, Situation, Variant, situation
from deploy.shipping.target import Work
from divisions.analysis_spec import AnalysisSpec
from divisions.clock import Clock
from divisions.control import FULL_BP
from divisions.errors import CloudUnreachableError, ConflictError, ExpiredCredentialsError, RolloutError
from router.rollouts import canary
from router.rollouts.canary import Baking, Capacity, Held, Judgement, Policy, State, Stepping, Ticked, Warming
from router.rollouts.states import Timer

TICK_S: Final = 5.0
"""The state machine counts at most this much per tick."""
READ_S: Final = 30.0
"""How often CloudWatch is asked."""
LATE_S: Final = evidence.MINUTE_S + evidence.LATE_S + 60.0
"""What a step's longest time is prolonged by: no minute of it is known before."""
PATIENCE_S: Final = 900.0
"""How long AWS may be away, or our credentials expired, before the rollout is left alone."""
_TIMES: Final = "weights since"
_PROMOTED: Final = "promoted at"
REGRESSION: Final = "regression"
"""The fact why a release must be taken back."""


class Times(msgspec.Struct, frozen=True):
    """Since when the canary has weight, and since when its present one; seconds since the Unix epoch."""

    weight_bp: int
    begun_s: float
    since_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The two variants of a rollout."""

    stable: Variant
    canary: Variant

    @classmethod
    def of(cls, endpoint: Endpoint, name: str) -> Pair:
        """Raises:
        ConflictError: ``name`` is not the canary any more.
        """
        if len(endpoint.variants) != 2 or endpoint.variants[1].name != name:
            raise ConflictError(
                f"endpoint {endpoint.name} has no canary {name} any more",
                remedy="somebody else has changed it; deploy again",
            )
        return cls(*endpoint.variants)


def policy_of(steps_bp: tuple[int, ...], analysis: AnalysisSpec, *, holds_on_failure: bool) -> Policy:
    """The rollout's policy: a cluster's, with the time that CloudWatch needs, and without copies of requests. Pure."""
    prolonged = msgspec.structs.replace(analysis, shadow_s=0.0, max_dwell_s=analysis.max_dwell_s + LATE_S)
    return Policy(steps_bp, prolonged, holds_on_failure=holds_on_failure)


def state_of(weight_bp: int, policy: Policy, now_s: float) -> State:
    """The state that a canary of this weight is in. Pure.

    Raises:
        ConflictError: no step has this weight.
    """
    if weight_bp == 0:
        return Warming(Timer(now_s))
    if weight_bp == FULL_BP:
        return canary.Promoted()
    if weight_bp == FULL_BP - canary.holdback_bp(policy):
        return Baking(Timer(now_s))
    if weight_bp in policy.steps_bp[:-1]:
        return Stepping(policy.steps_bp.index(weight_bp), Timer(now_s))
    steps = ", ".join(f"{each / 100:g}" for each in canary.weights_bp(policy))
    raise ConflictError(
        f"the canary has {weight_bp / 100:g} % of the traffic, and the steps are {steps} %",
        remedy="somebody else has set that; set a weight of these, or deploy the version before to go back",
    )


class Rollout:
    """One release's way from no weight to all of it.

    Args:
        hosting: its endpoint.
        name: the release's variant.
        policy: see `policy_of`.
        clock: the machine's.
        pause: waits for a number of seconds.
    """

    def __init__(
        self,
        hosting: Hosting,
        name: str,
        policy: Policy,
        clock: Clock,
        pause: Callable[[float], None],
    ) -> None:
        self._hosting = hosting
        self._name = name
        self._policy = policy
        self._clock = clock
        self._pause = pause
        self._minutes: list[Minute] = []
        self._read_s = float("-inf")
        self._said = ""

    def run(self, work: Work) -> Receipt:
        """Raises:
        RolloutError: it holds, and asks what to do.
        ConflictError: somebody else has changed the endpoint.
        """
        endpoint = self._hosting.wait(work.say)
        if situation(endpoint, self._name) is Situation.SERVED:  # A call before was cut off in its last change.
            return _promoted(work)
        weight_bp = endpoint.share_bp(Pair.of(endpoint, self._name).canary)
        state = state_of(weight_bp, self._policy, self._clock.monotonic_s())
        noted_s = work.facts.get(_PROMOTED, "") if canary.is_finished(state) else ""
        times = self._times(work, endpoint, weight_bp)
        while not canary.is_finished(state):
            endpoint, judgement = self._look_patiently(state, times, work)
            pair = Pair.of(endpoint, self._name)
            after, commands = canary.advance(state, self._tick(pair, judgement), self._policy)
            if isinstance(after, canary.RollingBack):
                work.note(REGRESSION, after.reason)
                return Receipt(after.reason, Ending.REGRESSED)
            for command in commands:
                if isinstance(command, canary.SetWeights):
                    times = self._shift(endpoint, pair, command, times, work)
            if isinstance(after, Held):
                raise RolloutError(
                    f"the rollout holds at {times.weight_bp / 100:g} %: {after.reason}",
                    remedy="run the same command to go on watching, or deploy the version before to go back",
                )
            state = after
            if not canary.is_finished(state):
                self._pause(TICK_S)
        self._retire(work, float(noted_s or self._clock.wall_s()))
        return _promoted(work)

    def _look(self, state: State, times: Times, work: Work) -> tuple[Endpoint, Judgement]:
        """What there is, and what it means.

        Raises:
            ConflictError: the canary has another weight than this rollout gave it.
        """
        endpoint = self._hosting.wait(work.say)
        pair = Pair.of(endpoint, self._name)
        found_bp, given_bp = endpoint.share_bp(pair.canary), canary.canary_bp(state, self._policy)
        if found_bp != given_bp:
            raise ConflictError(
                f"somebody else has given the canary {found_bp / 100:g} % of the traffic, it had {given_bp / 100:g} %",
                remedy="see whether another deployment is under way, and run the same command again",
            )
        return endpoint, self._judge(pair, state, times, work)

    def _look_patiently(self, state: State, times: Times, work: Work) -> tuple[Endpoint, Judgement]:
        """Looks, again and again while AWS is away or our credentials have expired. No weight is raised meanwhile."""
        began_s = self._clock.monotonic_s()
        said = ""
        while True:
            try:
                return self._look(state, times, work)
            except (CloudUnreachableError, ExpiredCredentialsError) as error:
                if self._clock.monotonic_s() - began_s >= PATIENCE_S:
                    raise
                if error.message != said:
                    said = error.message
                    work.say(f"{error}; until then nothing is judged, and it is tried for {PATIENCE_S / 60:g} min")
                self._pause(READ_S)

    def _tick(self, pair: Pair, judgement: Judgement) -> Ticked:
        return Ticked(
            self._clock.monotonic_s(),
            stable=Capacity(pair.stable.ready, pair.stable.count),
            canary=Capacity(pair.canary.ready, pair.canary.count),
            judgement=judgement,
        )

    def _judge(self, pair: Pair, state: State, times: Times, work: Work) -> Judgement:
        if not times.weight_bp:
            return Judgement()
        now_s = self._clock.wall_s()
        if now_s - self._read_s >= READ_S:
            names = pair.stable.name, pair.canary.name
            self._minutes = read_minutes(self._hosting.session, self._hosting.endpoint, *names, times.begun_s, now_s)
            self._read_s = now_s
        step = StepTime(canary.step_index(state, self._policy), times.since_s)
        judgement = evidence.judge(self._minutes, step, self._policy.analysis, now_s)
        line = _line(self._minutes, times, judgement, now_s)
        if line != self._said:
            self._said = line
            work.say(line)
        return judgement

    def _shift(self, endpoint: Endpoint, pair: Pair, weights: canary.SetWeights, times: Times, work: Work) -> Times:
        weights_bp = {pair.stable.name: weights.stable_bp, pair.canary.name: weights.canary_bp}
        self._hosting.set_weights(endpoint, weights_bp, work.say)
        now_s = self._clock.wall_s()
        shifted = Times(weights.canary_bp, times.begun_s if times.weight_bp else now_s, now_s)
        work.note(_TIMES, msgspec.json.encode(shifted).decode())
        work.say(f"{weights.canary_bp / 100:g} % of {endpoint.name} to {pair.canary.name}")
        return shifted

    def _times(self, work: Work, endpoint: Endpoint, weight_bp: int) -> Times:
        """Since when the weights are in force: as noted, or since the endpoint's last change if this is not noted."""
        noted = work.facts.get(_TIMES)
        times = msgspec.json.decode(noted, type=Times) if noted else None
        if times is not None and times.weight_bp == weight_bp:
            return times
        return Times(weight_bp, endpoint.changed_at_s, endpoint.changed_at_s)

    def _retire(self, work: Work, promoted_s: float) -> None:
        """Keeps the version before for a while, then leaves the new one alone."""
        endpoint = self._hosting.wait(work.say)
        pair = Pair.of(endpoint, self._name)
        work.note(_PROMOTED, str(promoted_s))
        kept_s = self._policy.analysis.keep_stable_s
        until_s = promoted_s + kept_s
        if self._clock.wall_s() < until_s:
            work.say(f"{pair.stable.count} × {pair.stable.instance_type} of {pair.stable.name} stay for {kept_s:g} s")
        while (left_s := until_s - self._clock.wall_s()) > 0:
            self._pause(min(TICK_S, left_s))
        self._hosting.change_variants(endpoint, (kept(pair.canary),), work.say)


def _promoted(work: Work) -> Receipt:
    return Receipt(f"{work.release.version} serves all traffic", Ending.PROMOTED)


def _line(minutes: list[Minute], times: Times, judgement: Judgement, now_s: float) -> str:
    found = evidence.totals(minutes, now_s)
    if not found.minutes:
        return f"{times.weight_bp / 100:g} %: waiting for CloudWatch's first minute"
    stable, new = found.stable, found.canary
    rates = [f"{arm.errors / arm.requests:.2%}" if arm.requests else "none" for arm in (new, stable)]
    means = [f"{arm.latency_ms:.3g} ms" if arm.latency_ms is not None else "none" for arm in (new, stable)]
    return (
        f"{times.weight_bp / 100:g} %: {found.minutes} min, {new.requests:,} requests | "
        f"Latency: {means[0]} (stable {means[1]}) | Error Rate: {rates[0]} (stable {rates[1]}) | "
        f"ln E {max(judgement.latency_ln_e, judgement.error_ln_e):.2f}"
    )
