"""Decisions about rollouts. Pure: state, event and policy in; new state and commands out.

In: operators' commands, the time that has passed, the evidence. Out: the canary's weight, and why. Open `canary` first:
it is the state machine; `canary.canary_bp` is the weight of a state. `verdict` has the guards: the reasons to roll
back, to hold or to wait. `analysis` gathers the evidence of a rollout; each guard's statistic is in `router.evidence`.
"""
