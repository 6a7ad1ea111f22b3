"""When a drift is reported, and when it is over."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.drift.alerts import (
    ALPHA,
    CLEAR_P,
    LOOKS,
    QUIET_LOOKS,
    Comparison,
    Failing,
    alerts,
    judge,
    ln_level,
)
from router.drift.comparison import Difference

LEVEL = ln_level(21)
BAD = Difference(0.3, LEVEL - 1.0)
GOOD = Difference(0.0, math.log(CLEAR_P) + 1.0)
DOUBTFUL = Difference(0.1, math.log(CLEAR_P) - 1.0)


def test_all_looks_of_a_month_at_all_features_share_one_level():
    assert math.exp(ln_level(21)) * 21 * LOOKS == pytest.approx(ALPHA)
    assert LOOKS == 30 * 24 * 12 + 3 * 30 * 24


def test_one_look_beyond_the_level_is_a_drift_and_one_within_is_none():
    assert judge(None, BAD, 5.0, LEVEL) == Failing(5.0, 0.3)
    assert judge(None, Difference(0.3, LEVEL + 0.01), 5.0, LEVEL) is None


def test_it_is_over_after_quiet_looks_in_a_row():
    failing = judge(None, BAD, 5.0, LEVEL)
    for _ in range(QUIET_LOOKS - 1):
        failing = judge(failing, GOOD, 6.0, LEVEL)
    failing = judge(failing, DOUBTFUL, 7.0, LEVEL)
    assert failing == Failing(5.0, 0.1, 0)
    for _ in range(QUIET_LOOKS):
        assert failing is not None
        failing = judge(failing, GOOD, 8.0, LEVEL)
    assert failing is None


def test_a_feature_has_one_alert_of_the_comparison_that_found_it_first():
    failures = {
        "age": {"24h training": Failing(9.0, 0.2), "1h training": Failing(5.0, 0.4)},
        "plan": {},
        "": {"1h usual": Failing(7.0, 0.1)},
    }
    first, second = alerts(failures)
    assert (first.feature, first.window, first.against, first.score) == ("age", "1h", "training", 0.4)
    assert (first.tolerance, first.since_s) == (0.1, 5.0)
    assert (second.feature, second.window, second.against) == ("", "1h", "usual")


@given(st.sampled_from(list(Comparison)))
def test_each_comparison_says_its_window_and_its_reference(comparison):
    assert comparison.window in {"1h", "24h"}
    assert comparison.against in {"training", "usual"}
    assert 0 < comparison.tolerance <= 0.1
