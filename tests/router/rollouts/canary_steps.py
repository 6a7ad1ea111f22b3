"""States and events of a short rollout, for tests of the state machine."""

import math

import msgspec

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from router.rollouts import canary
from router.rollouts.canary import Capacity, Judgement, Policy, Ticked, Timer

ANALYSIS = AnalysisSpec(min_dwell_s=3, max_dwell_s=20, min_samples=(10, 20), bake_s=4, deploy_deadline_s=15, drain_s=2)
POLICY = Policy((2_000, 5_000, FULL_BP), ANALYSIS)
FULL = Capacity(2, 2)
NONE = Capacity(0, 2)
LATENCY_THRESHOLD = -math.log(ANALYSIS.alpha)


def passing(index: int) -> Judgement:
    return Judgement(step_index=index, step_requests=1_000, step_s=100.0, is_fresh=True)


SILENCE = Judgement()


def tick(now_s: float, judgement: Judgement = SILENCE, **changes) -> Ticked:
    return msgspec.structs.replace(Ticked(now_s, FULL, FULL, judgement), **changes)


def at_step(index: int = 0) -> canary.State:
    return canary.Stepping(index, Timer(0.0))


SHADOWED = msgspec.structs.replace(POLICY, analysis=msgspec.structs.replace(ANALYSIS, shadow_s=5))
