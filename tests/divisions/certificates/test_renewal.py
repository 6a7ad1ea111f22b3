from divisions.certificates.renewal import RETRY_S, Renewal

DAY_S = 86_400.0


def renewed(at_s: float = 1_000_000.0) -> Renewal:
    renewal = Renewal()
    renewal.tried(0.0)
    renewal.obtained(3 * DAY_S, at_s)
    return renewal


def test_the_first_one_is_due_at_once():
    assert Renewal().is_due(1_000_000.0, 0.0)


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
    assert not renewal.is_due(1_000_000.0, 50.0 + RETRY_S / 2)
    assert renewal.is_due(1_000_000.0, 50.0 + RETRY_S)
