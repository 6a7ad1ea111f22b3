"""A version under watch: what is found, when, and what is not said."""

import msgspec
import numpy as np
import pytest

from divisions.reports import InputSample
from divisions.schema import Feature, FeatureKind
from router.drift.watch import SLOT_S, Watch
from router.evidence.drift import FeatureBins

BINS = (
    FeatureBins(Feature("age", FeatureKind.NUMERIC), (2_500, 2_500, 2_500, 2_500, 0), (1.0, 2.0, 3.0)),
    FeatureBins(Feature("prediction", FeatureKind.BOOLEAN), (8_000, 2_000, 0)),
    FeatureBins(Feature("prediction", FeatureKind.NUMERIC), (5_000, 5_000, 0), (0.5,)),
)
SHARES = ((0.25, 0.25, 0.25, 0.25, 0.0), (0.8, 0.2, 0.0), (0.5, 0.5, 0.0))
BROKEN = ((0.0, 0.0, 0.0, 0.0, 1.0), *SHARES[1:])
HOUR, DAY, WEEK = 12, 288, 2_016


class Traffic:
    """New customers in every slot, drawn by shares of each column's bins."""

    def __init__(self, watch, per_slot=200, seed=0):
        self.watch = watch
        self.per_slot = per_slot
        self.random = np.random.default_rng(seed)
        self.found = []

    def sample(self, shares, count):
        columns = [self.random.choice(len(each), count, p=each) for each in shares]
        digests = self.random.integers(0, 2**63, count, dtype=np.uint64)
        return InputSample("sha", digests.tobytes(), np.column_stack(columns).astype("<u2").tobytes())

    def run(self, first, last, shares=SHARES, shares_of=None):
        """Plays some slots; returns the alerts that were raised, with their slot."""
        raised = []
        for slot in range(first, last):
            now_s = slot * SLOT_S + 1.0
            raised += [(slot, alert) for alert in self.watch.look(now_s)]
            drawn = shares_of(slot) if shares_of else shares
            assert self.watch.add(self.sample(drawn, self.per_slot), now_s)
        return raised


@pytest.fixture
def watch():
    return Watch("sha", BINS)


def test_a_column_that_breaks_is_found_within_minutes_and_counted_once(watch):
    traffic = Traffic(watch, per_slot=300)
    assert traffic.run(1_000, 1_000 + HOUR) == []
    raised = traffic.run(1_000 + HOUR, 1_000 + 3 * HOUR, BROKEN)
    assert [(alert.feature, alert.window, alert.against) for _, alert in raised] == [("age", "1h", "training")]
    assert raised[0][0] - (1_000 + HOUR) <= 4, "20 minutes"
    assert watch.raised == 1
    assert watch.alerts()[0].score > 0.1


def test_an_alert_ends_when_the_column_is_whole_again_and_a_second_break_is_a_second_alert(watch):
    traffic = Traffic(watch, per_slot=300)
    traffic.run(0, HOUR, BROKEN)
    assert watch.alerts()
    traffic.run(HOUR, 3 * HOUR + 4)
    assert watch.alerts() == ()
    traffic.run(3 * HOUR + 4, 5 * HOUR, BROKEN)
    assert watch.raised == 2


def test_predictions_have_no_name_though_a_feature_is_called_like_them(watch):
    traffic = Traffic(watch, per_slot=300)
    raised = traffic.run(0, HOUR, (*SHARES[:2], (0.0, 1.0, 0.0)))
    assert [alert.feature for _, alert in raised] == [""]
    drift = watch.drift("churn", "3.1")
    assert drift.predictions.hour > 0.1
    assert [scores.feature for scores in drift.features] == ["age", "prediction"]
    assert drift.features[1].hour < 0.01


def test_nothing_is_said_before_there_are_enough_customers(watch):
    traffic = Traffic(watch, per_slot=70)
    assert traffic.run(0, HOUR, BROKEN) == []
    drift = watch.drift("churn", "3.1")
    assert drift.state == "warming"
    assert drift.features[0].hour is None


def test_customers_who_come_again_are_no_drift(watch):
    """Ten customers make nine tenths of the requests. Counted by request, this would be a great drift."""
    traffic = Traffic(watch, per_slot=150)
    heavy = np.arange(10, dtype=np.uint64)
    rows = np.tile(np.array([[0, 1, 1]], dtype="<u2"), (10, 1))
    raised = []
    for slot in range(2 * HOUR):
        raised += traffic.run(slot, slot + 1)
        for _ in range(100):
            watch.add(InputSample("sha", heavy.tobytes(), rows.tobytes()), slot * SLOT_S + 2.0)
    assert raised == []
    assert watch.drift("churn", "3.1").features[0].hour < 0.01


def test_a_day_is_compared_only_when_all_of_it_was_seen(watch):
    shifted = ((0.35, 0.25, 0.2, 0.2, 0.0), *SHARES[1:])  # an index of 0.05: no matter for an hour
    traffic = Traffic(watch, per_slot=100)
    assert traffic.run(0, DAY - 3 * HOUR, shifted) == []
    raised = traffic.run(DAY - 3 * HOUR, DAY + HOUR + 1, shifted)
    assert [(alert.feature, alert.window, alert.against) for _, alert in raised] == [("age", "24h", "training")]


def test_a_part_of_the_day_that_nobody_watched_makes_it_no_day(watch):
    """The night alone is another half of the customers: that is no drift of the day."""
    night = ((0.32, 0.22, 0.23, 0.23, 0.0), *SHARES[1:])
    traffic = Traffic(watch, per_slot=100)
    traffic.run(0, DAY // 2)
    assert traffic.run(DAY, DAY + DAY // 2 + HOUR, night) == [], "the controller was away for half a day"


NIGHT = ((0.32, 0.26, 0.22, 0.2, 0.0), *SHARES[1:])
"""The training data would allow it: an index of 0.03."""


def evenings(watch, first_week, last_week, noon=SHARES):
    """Weeks with traffic in two hours only: at noon and at night, whose customers are others."""
    traffic = Traffic(watch, per_slot=300, seed=first_week)
    raised = []
    for week in range(first_week, last_week):
        for slot in range(week * WEEK, (week + 1) * WEEK):
            hour = slot % WEEK // HOUR
            if hour in (12, 22):
                raised += traffic.run(slot, slot + 1, NIGHT if hour == 22 else noon)
            else:
                raised += [(slot, alert) for alert in watch.look(slot * SLOT_S + 1.0)]
    return raised


@pytest.fixture(scope="module")
def learnt():
    """The state after two weeks, and the slot that comes next."""
    watch = Watch("sha", BINS)
    assert evenings(watch, 0, 2) == []
    return watch.state(), 2 * WEEK


def begun_from(state, now_slot):
    watch = Watch("sha", BINS)
    assert watch.restore(state, now_slot * SLOT_S)
    return watch


def test_the_same_hours_of_a_third_week_are_no_drift(learnt):
    watch = begun_from(*learnt)
    assert evenings(watch, 2, 3) == []
    assert watch.drift("churn", "3.1").usual_hours >= 167, "the hour in which the state was saved is not known"


def test_another_noon_is_a_drift_at_the_end_of_its_first_hour(learnt):
    watch = begun_from(*learnt)
    raised = evenings(watch, 2, 3, noon=((0.35, 0.26, 0.21, 0.18, 0.0), *SHARES[1:]))
    first = raised[0][1]
    assert (first.feature, first.window, first.against) == ("age", "1h", "usual")
    assert raised[0][0] == 2 * WEEK + 13 * HOUR, "half an index of 0.1, at the first look"


def test_a_watch_goes_on_after_a_restart(learnt):
    state, slot = learnt
    watch = begun_from(state, slot)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(watch.state()), type=type(state)) == state


def test_scores_and_customers_are_told_from_the_first_moment_after_a_restart_unless_they_are_old(watch):
    Traffic(watch, per_slot=300).run(1_000, 1_000 + 2 * HOUR)
    before = watch.drift("churn", "3.1", has_histograms=True)
    assert before.state == "watching"
    after = begun_from(watch.state(), 1_000 + 2 * HOUR - 1).drift("churn", "3.1", has_histograms=True)
    assert msgspec.structs.replace(after, looked_at_s=before.looked_at_s) == before
    late = begun_from(watch.state(), 1_000 + 4 * HOUR).drift("churn", "3.1")
    assert (late.state, late.customers_hour, late.customers_day) == ("warming", 0, before.customers_day)


def test_what_was_saved_of_another_version_or_of_other_columns_is_not_used(learnt):
    state, slot = learnt
    assert not Watch("other", BINS).restore(state, slot * SLOT_S)
    fewer = (BINS[0], BINS[2])
    assert not Watch("sha", fewer).restore(state, slot * SLOT_S)


def test_a_clock_that_was_set_back_empties_the_windows(watch):
    traffic = Traffic(watch, per_slot=300)
    traffic.run(10_000, 10_000 + HOUR, BROKEN)
    assert watch.alerts()
    traffic.run(5_000, 5_000 + HOUR)
    drift = watch.drift("churn", "3.1")
    assert drift.features[0].hour < 0.01
    watch.look(1_000.0)
    assert watch.drift("churn", "3.1").features[0].hour is None
    restored = Watch("sha", BINS)
    Traffic(watch).run(20_000, 20_000 + HOUR)
    assert restored.restore(watch.state(), 6_000 * SLOT_S)
    assert len(restored.drift("churn", "3.1", has_histograms=True).histograms) == 3
    assert restored.drift("churn", "3.1").customers_hour == 0


@pytest.mark.parametrize("at", [0.5, SLOT_S - 0.5])
def test_a_clock_that_is_corrected_by_seconds_costs_nothing(watch, at):
    traffic = Traffic(watch, per_slot=300)
    traffic.run(10_000, 10_000 + HOUR)
    before = watch.drift("churn", "3.1", has_histograms=True)
    last_s = (10_000 + HOUR - 1) * SLOT_S + at
    for now_s in (last_s, last_s - 1.0, last_s - 1.0, last_s):
        assert watch.look(now_s) == ()
    assert watch.drift("churn", "3.1", has_histograms=True) == before
    assert traffic.run(10_000 + HOUR, 10_000 + 2 * HOUR) == []


def test_a_sample_of_another_version_or_without_sense_is_left_out(watch):
    digests = np.arange(3, dtype="<u8").tobytes()
    bins = np.zeros((3, 3), dtype="<u2").tobytes()
    beyond = np.full((3, 3), 5, dtype="<u2").tobytes()
    for sample in (
        InputSample("other", digests, bins),
        InputSample("sha", digests[:-1], bins),
        InputSample("sha", digests, bins[:-2]),
        InputSample("sha", digests, beyond),
        InputSample("sha", b"", b""),
    ):
        assert not watch.add(sample, 1.0)
    assert watch.add(InputSample("sha", digests, bins), 1.0)


def test_histograms_are_shares_by_named_bins(watch):
    watch.add(
        InputSample("sha", np.arange(4, dtype="<u8").tobytes(), np.tile([[1, 0, 1]], (4, 1)).astype("<u2").tobytes()),
        1.0,
    )
    age, _, scores = watch.drift("churn", "3.1", has_histograms=True).histograms
    assert age.bins == ("<= 1", "<= 2", "<= 3", "> 3", "missing")
    assert (age.training, age.hour) == ((0.25, 0.25, 0.25, 0.25, 0.0), (0.0, 1.0, 0.0, 0.0, 0.0))
    assert (scores.feature, scores.day) == ("", (0.0, 1.0, 0.0))
