"""The simulated labels: a drop is found, and a model that is as good as its gate asks gives no alert."""

from benchmarks.lab.outcomes import DELAY_DAYS, GATE, find, first_alert, measure_drop, predictions


def test_a_drop_is_found_after_its_labels_have_come():
    labels, days = find(3, 0.88, 0.75, per_day=100)
    assert 0 < labels < 5_000
    assert days == labels // 100 + DELAY_DAYS
    drop = measure_drop(3, 0.88, 0.75, runs=1, per_day=100)
    assert (drop.labels, drop.days) == ((labels,), (days,))


def test_a_model_at_its_gate_gives_no_alert():
    assert first_alert(predictions(4, GATE, GATE, 30, 50), 30, 50) is None
