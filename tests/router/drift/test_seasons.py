"""What is usual at an hour of the week: the mean of two weeks, and nothing before."""

import numpy as np

from router.drift.seasons import HOURS, Seasons, SeasonState

SIZES = (2, 3)


def histograms(*counts):
    return [np.array(each, dtype=float) for each in counts]


def test_an_hour_is_known_after_two_weeks_and_stays_as_it_is():
    seasons = Seasons(SIZES)
    seasons.learn(5, histograms((10, 0), (1, 2, 3)))
    assert seasons.usual(5) is None
    seasons.learn(5, histograms((0, 20), (1, 2, 5)))
    assert [each.tolist() for each in seasons.usual(5)] == [[5, 10], [1, 2, 4]]
    seasons.learn(5, histograms((900, 900), (900, 900, 900)))
    assert [each.tolist() for each in seasons.usual(5)] == [[5, 10], [1, 2, 4]]
    assert seasons.usual(6) is None
    assert seasons.num_known == 1


def test_it_goes_on_from_what_was_saved_but_not_for_other_columns():
    seasons = Seasons(SIZES)
    for hour in range(HOURS):
        for _ in range(2):
            seasons.learn(hour, histograms((hour, 1), (1, 1, 1)))
    again = Seasons(SIZES)
    again.restore(seasons.state())
    assert again.num_known == HOURS
    assert again.usual(7)[0].tolist() == [7, 1]
    again.learn(7, histograms((1, 1), (1, 1, 1)))  # and can still be written to
    other = Seasons((2, 4))
    other.restore(seasons.state())
    other.restore(SeasonState(b"x", b"y"))
    assert other.num_known == 0
