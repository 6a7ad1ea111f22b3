"""The table of transitions of a rollout: what is in it, and what is not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.control import FULL_BP
from divisions.errors import IllegalEventError
from router.rollouts import canary
from router.rollouts.canary import (
    Abort,
    Judgement,
    Pause,
    Phase,
    Policy,
    Promote,
    Resume,
    Role,
    SetWeights,
    StartReplicas,
    Timer,
)
from tests.router.rollouts.canary_steps import ANALYSIS, FULL, NONE, POLICY, SHADOWED, SILENCE, at_step, passing, tick

ILLEGAL = [
    (canary.start(0.0), Promote(1.0, canary=FULL)),
    (canary.start(0.0), Resume(1.0)),
    (canary.Warming(Timer(0.0)), Promote(1.0, canary=FULL)),
    (at_step(), Promote(1.0, canary=NONE)),
    (at_step(), Resume(1.0)),
    (canary.Held(at_step(), "paused"), Pause(1.0)),
    (canary.Held(canary.Warming(Timer(0.0)), "paused"), Promote(1.0, canary=FULL)),
    *[
        (state, event)
        for state in (
            canary.Promoted(),
            canary.RolledBack("slow"),
            canary.RollingBack("slow", 0, Timer(0.0)),
            canary.Draining("slow", Timer(0.0)),
        )
        for event in (Pause(1.0), Resume(1.0), Promote(1.0, canary=FULL), Abort(1.0))
    ],
]


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_what_the_diagram_does_not_know_is_refused_by_name(state, event):
    with pytest.raises(IllegalEventError, match=rf"cannot {type(event).__name__.lower()} .* {canary.phase(state)}"):
        canary.advance(state, event, POLICY)


def test_the_table_knows_no_way_twice_and_none_out_of_the_end():
    ways = [(each.source, each.cause, each.target) for each in canary.TRANSITIONS]
    assert len(ways) == len(set(ways))
    assert not {each.source for each in canary.TRANSITIONS} & {Phase.PROMOTED, Phase.ROLLED_BACK}


def test_every_way_of_the_table_is_taken():
    """Breadth first over what may happen in each state."""
    events = [
        *[tick(1.0, judgement) for judgement in (SILENCE, *map(passing, (-1, 0, 1, 2)), Judgement(latency_ln_e=9.0))],
        tick(1.0, Judgement(sample_ratio_ln_e=9.0)),
        tick(1.0, canary=NONE, deploy_failure="deploy: no"),
        tick(1.0, stable=NONE, judgement=Judgement(latency_ln_e=9.0)),
        tick(1.0, is_acknowledged=True),
        *[tick(float(second)) for second in range(2, 5)],
        *[event(1.0) for event in (Pause, Resume)],
        Promote(1.0, canary=FULL),
        Abort(1.0, "no", FULL),
    ]
    taken = set()
    for steps in ((2_000, 5_000, FULL_BP), (FULL_BP,)):
        for analysis in (ANALYSIS, SHADOWED.analysis):
            for is_direct in (False, True):
                policy = Policy(steps, analysis, is_direct=is_direct)
                found, queue = set(), [canary.start(0.0)]
                while queue:
                    state = queue.pop()
                    for event in events:
                        try:
                            after, commands = canary.advance(state, event, policy)
                        except IllegalEventError:
                            continue
                        if commands or canary.phase(after) is not canary.phase(state):
                            taken.add((canary.phase(state), canary.phase(after)))
                        inner = getattr(after, "inner", after)
                        weight_bp = canary.canary_bp(after, policy)
                        kind = (canary.phase(after), canary.phase(inner), canary.step_index(after, policy), weight_bp)
                        if kind not in found:
                            found.add(kind)
                            queue.append(after)
    assert taken == {(each.source, each.target) for each in canary.TRANSITIONS}


@given(st.sampled_from([state for state, _ in ILLEGAL]))
def test_states_survive_the_journal(state):
    assert msgspec.json.decode(msgspec.json.encode(state), type=canary.State) == state


def test_a_way_that_is_not_in_the_table_is_refused(monkeypatch):
    """Also one that leads back into the same phase, if it has commands."""
    same = (canary.Stepping(0, Timer(1.0)), (SetWeights(8_000, 2_000),))
    other = (canary.Draining("slow", Timer(1.0)), ())
    for refused in ((canary.Warming(Timer(1.0)), (StartReplicas(Role.CANARY),)), other):
        monkeypatch.setattr(canary, "_advance", lambda state, event, policy, refused=refused: refused)
        with pytest.raises(IllegalEventError, match="no transition leads from"):
            canary.advance(canary.Warming(Timer(0.0)) if refused is not other else at_step(), tick(1.0), POLICY)
    monkeypatch.setattr(canary, "_advance", lambda state, event, policy: same)
    assert canary.advance(at_step(), tick(1.0), POLICY) == same, "a step leads to a step"
