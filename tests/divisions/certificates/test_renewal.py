import pytest

from divisions.certificates.renewal import Renewal

DAY_S = 86_400.0


def renewed(at_s: float = 1_000_000.0) -> Renewal:
    renewal = Renewal()
    renewal.tried(0.0)
    renewal.obtained(3 * DAY_S, at_s)
    return renewal


@pytest.mark.parametrize("wall_s", [0.0, 0.5, 1_000_000.0])
def test_the_first_one_is_due_at_once_whatever_the_clock_says(wall_s):
    assert Renewal().is_due(wall_s, 0.0)


def test_one_is_not_due_the_moment_it_is_obtained():
    assert not renewed().is_due(1_000_000.0, 1.0)


def test_it_is_renewed_after_a_third_of_its_life():
    renewal = renewed()
    assert not renewal.is_due(1_000_000.0 + 0.99 * DAY_S, 0.99 * DAY_S)
    assert renewal.is_due(1_000_000.0 + DAY_S, DAY_S)


def test_a_wall_clock_that_jumps_makes_it_due():
    assert renewed().is_due(1_000_000.0 + 400 * DAY_S, 10.0)
    assert renewed().is_due(1_000_000.0 - DAY_S, 10.0)
    assert not renewed().is_due(1_000_000.0 + 10.0, 10.0)


def test_attempts_that_fail_are_not_repeated_at_once():
    renewal = Renewal()
    renewal.tried(50.0)
    assert not renewal.is_due(1_000_000.0, 50.9)
    assert renewal.is_due(1_000_000.0, 51.0)
