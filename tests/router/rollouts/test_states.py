"""Time in a state comes from events: it neither jumps nor falls. Capacity is full, or it is not."""

import msgspec
import pytest

from router.rollouts.states import MAX_GAP_S, Baking, Capacity, Held, Judgement, Shadowing, Stepping, Ticked, Timer


@pytest.mark.parametrize(
    ("now_s", "gap_s"), [(10.0, 0.0), (11.5, 1.5), (10.0 + MAX_GAP_S, 5.0), (1_000.0, 5.0), (3.0, 0.0)]
)
def test_an_event_counts_at_most_five_seconds_and_never_less_than_none(now_s, gap_s):
    timer = Timer(10.0, elapsed_s=2.0)
    assert timer.gap_s(now_s) == gap_s
    assert timer.moved(now_s) == Timer(now_s, 2.0 + gap_s)


@pytest.mark.parametrize(
    ("ready", "wanted", "is_full"), [(2, 2, True), (3, 2, True), (1, 2, False), (0, 0, False), (1, 0, False)]
)
def test_a_version_is_full_when_all_that_it_wants_are_ready_and_it_wants_some(ready, wanted, is_full):
    assert Capacity(ready, wanted).is_full is is_full


def test_what_is_not_known_is_none_and_zero():
    assert not any(msgspec.structs.asdict(Judgement()).values())
    assert Capacity() == Capacity(0, 0)
    tick = Ticked(1.0)
    assert (tick.stable, tick.canary, tick.judgement) == (Capacity(), Capacity(), Judgement())
    assert (tick.is_acknowledged, tick.deploy_failure) == (False, "")
    assert Timer(3.0).elapsed_s == 0.0
    for state in (Shadowing(Timer(0.0)), Stepping(0, Timer(0.0)), Baking(Timer(0.0))):
        assert state.starved_s == 0.0
        assert not Held(state, "why").by_guard
