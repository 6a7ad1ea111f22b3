"""Decisions about rollouts. Pure: state, event and policy in; new state and commands out.

In: operators' commands, the time that has passed, the evidence. Out: the canary's weight, and why. Open
`canary` first: it is the state machine. `verdict` turns evidence into pass, fail or wait; `analysis` gathers that
evidence.
"""
