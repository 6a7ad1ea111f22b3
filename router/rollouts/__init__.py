"""Decisions about rollouts. Pure: state, event and policy in; new state and commands out.

In: what operators ask for, what time has passed, what the evidence says. Out: the canary's weight, and why. Open
`canary` first: it is the state machine. `verdict` turns evidence into pass, fail or wait; `analysis` gathers that
evidence.
"""
