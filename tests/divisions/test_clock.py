"""The clocks: the machine's, and the one that tests move."""

import time

from divisions.clock import Clock, ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock: Clock = ManualClock(wall_s=100.0, monotonic_s=5.0)
    assert (clock.wall_s(), clock.monotonic_s()) == (100.0, 5.0)
    clock.advance(2.5)
    clock.advance(0.5)
    assert (clock.wall_s(), clock.monotonic_s()) == (103.0, 8.0)


def test_the_systems_clock_is_that_of_the_machine():
    before = (time.time(), time.monotonic())
    told = (SystemClock().wall_s(), SystemClock().monotonic_s())
    after = (time.time(), time.monotonic())
    assert all(low <= value <= high for low, value, high in zip(before, told, after, strict=True))
