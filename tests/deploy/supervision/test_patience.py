from hypothesis import given
from hypothesis import strategies as st

from deploy.supervision.patience import Patience, StartLimits

LIMITS = StartLimits(quiet_s=60.0, whole_s=600.0)


def test_a_start_that_changes_nothing_is_given_up():
    patience = Patience(LIMITS, 100.0)
    assert patience.exhausted("a", 101.0) == ""
    assert patience.exhausted("a", 160.9) == ""
    assert patience.exhausted("a", 161.0) == "made no progress for 60 s"


def test_each_change_gives_it_time_again():
    patience = Patience(LIMITS, 0.0)
    assert all(not patience.exhausted(second // 50, float(second)) for second in range(599))


def test_a_start_that_changes_something_for_ever_is_given_up_in_the_end():
    patience = Patience(LIMITS, 0.0)
    assert patience.exhausted(1, 599.9) == ""
    assert patience.exhausted(2, 600.0) == "did not end within 600 s"


@given(st.lists(st.tuples(st.floats(0.01, 59.0), st.integers()), max_size=30))
def test_no_start_is_given_up_while_each_look_shows_a_change(looks):
    patience, now_s = Patience(StartLimits(60.0, 1e9), 0.0), 0.0
    for number, (pause_s, _) in enumerate(looks):
        now_s += pause_s
        assert patience.exhausted(number, now_s) == ""
