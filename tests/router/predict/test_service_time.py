"""How long a batch takes: a straight line through what was seen, never below zero."""

import pytest

from router.predict.service_time import ServiceTime


def fitted(batches):
    time = ServiceTime()
    for rows, seconds in batches:
        time.observe(rows, seconds)
    return time


def test_batches_on_a_line_give_that_line():
    time = fitted([(rows, 0.002 + 0.0005 * rows) for rows in (1, 8, 32, 64) * 10])
    assert time.intercept_s == pytest.approx(0.002)
    assert time.slope_s == pytest.approx(0.0005)
    assert time.predict_s(100) == pytest.approx(0.052)


def test_recent_batches_count_more():
    time = fitted([(rows, 0.01) for rows in (1, 10) * 100] + [(rows, 0.03) for rows in (1, 10) * 100])
    assert time.predict_s(5) == pytest.approx(0.03, rel=0.05)
    few = fitted([(rows, 0.01) for rows in (1, 10) * 100] + [(rows, 0.03) for rows in (1, 10) * 5])
    assert few.predict_s(5) == pytest.approx(0.01 + 0.02 * (1 - 0.98**10), rel=0.01)


def test_batches_of_one_size_say_nothing_about_the_slope():
    time = fitted([(16, 0.004)] * 20)
    assert (time.slope_s, time.intercept_s) == (0.0, pytest.approx(0.004))


def test_noise_makes_neither_part_negative():
    falling = fitted([(1, 0.010), (100, 0.001)] * 20)
    assert falling.slope_s == 0.0
    assert falling.intercept_s == pytest.approx(0.0055, rel=0.05)
    steep = fitted([(10, 0.001), (20, 0.010)] * 20)
    assert steep.intercept_s == 0.0
    assert steep.slope_s == pytest.approx(0.0055 / 15, rel=0.05)


@pytest.mark.parametrize(("seconds", "rows"), [(0.0, 0), (0.0019, 0), (0.002, 0), (0.0026, 1), (0.012, 20), (-1.0, 0)])
def test_as_many_rows_as_finish_in_time(seconds, rows):
    time = fitted([(n, 0.002 + 0.0005 * n) for n in (1, 8, 32, 64) * 10])
    assert time.rows_within(seconds + 1e-9) == rows


def test_while_nothing_is_known_any_batch_is_in_time():
    assert ServiceTime().predict_s(1_000) == 0.0
    assert ServiceTime().rows_within(0.0) > 1_000_000
    constant = fitted([(16, 0.004)] * 20)
    assert constant.rows_within(0.0041) > 1_000_000
    assert constant.rows_within(0.0039) == 0


@pytest.mark.parametrize("batches", [[(16, 0.004)] * 300, [(256, 0.01)] * 3 + [(256, 0.012)] * 3, [(1, 0.5)] * 2])
def test_sizes_that_differ_by_rounding_alone_have_no_slope(batches):
    """The variance of equal sizes is a sum of rounding errors, of either sign."""
    time = fitted(batches)
    assert time.slope_s == 0.0
    assert time.predict_s(batches[0][0]) == pytest.approx(time.intercept_s)


def test_a_slope_is_never_steeper_than_through_the_origin():
    time = fitted([(10, 0.001), (20, 0.010)] * 20)
    mean_s, mean_rows = time.predict_s(15), 15
    assert time.slope_s <= mean_s / mean_rows + 1e-4
    assert time.rows_within(-1.0) == 0
    assert time.rows_within(1.0) == int(1.0 / time.slope_s)


def test_at_exactly_the_usual_time_a_batch_is_in_time():
    constant = fitted([(16, 0.5)] * 3)
    assert constant.slope_s == 0.0
    assert constant.rows_within(constant.intercept_s) == 1 << 30
    assert constant.rows_within(constant.intercept_s - 1e-9) == 0
