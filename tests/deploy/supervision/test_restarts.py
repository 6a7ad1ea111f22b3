from hypothesis import given
from hypothesis import strategies as st

from deploy.supervision.restarts import RestartPolicy, next_pause_s

POLICY = RestartPolicy(most=5, window_s=600.0, pause_s=2.0, longest_pause_s=30.0)


def pauses(crashes_s):
    return [next_pause_s(crashes_s[: count + 1], POLICY) for count in range(len(crashes_s))]


def test_the_first_restart_is_at_once_and_the_pauses_double_up_to_a_limit():
    assert pauses([0.0, 10.0, 20.0, 30.0, 40.0]) == [0.0, 2.0, 4.0, 8.0, 16.0]
    long = RestartPolicy(most=100, longest_pause_s=30.0)
    assert next_pause_s([float(second) for second in range(50)], long) == 30.0


def test_a_sixth_crash_in_ten_minutes_ends_it():
    assert pauses([0.0, 10.0, 20.0, 30.0, 40.0, 599.0])[-1] is None


def test_crashes_outside_the_window_do_not_count():
    assert pauses([0.0, 10.0, 20.0, 30.0, 40.0, 600.0])[-1] == 16.0
    assert next_pause_s([0.0, 10.0, 20.0, 30.0, 40.0, 2_000.0], POLICY) == 0.0


@given(st.lists(st.integers(0, 10_000).map(float), min_size=1, max_size=40).map(sorted))
def test_never_more_restarts_than_allowed_in_any_window(crashes_s):
    restarts_s = [at_s for at_s, pause_s in zip(crashes_s, pauses(crashes_s), strict=True) if pause_s is not None]
    for at_s in restarts_s:
        assert sum(at_s - POLICY.window_s < other_s <= at_s for other_s in restarts_s) <= POLICY.most
