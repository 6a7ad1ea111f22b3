import msgspec
import numpy as np
import pytest

from divisions.outcomes import Quality
from divisions.pipeline.definition import DRIFT_GATE, Comparison, Gate
from trainers.outcomes.join import Joined
from trainers.outcomes.report import assess, gate_of, period_of

JAN_S, FEB_S = 1_767_600_000.0, 1_770_300_000.0


def joined(rows: int, shift: float, version: str = "3.1", seed: int = 1) -> Joined:
    """Customers whose scores tell the outcome apart by ``shift`` deviations."""
    rng = np.random.default_rng(seed)
    labels_N = (np.arange(rows) % 2).astype(float)
    scores_N = 1 / (1 + np.exp(-rng.normal(labels_N * shift - shift / 2, 1.0)))
    times_N = np.where(np.arange(rows) < rows // 2, JAN_S, FEB_S)
    return Joined(np.array([version] * rows), times_N, labels_N, scores_N, rows, 3, 2, 1)


def test_a_version_that_is_as_good_as_its_gate_asks_is_no_alert():
    report = assess("churn", joined(2_000, 1.5), 0.85, "month", 5.0, None)
    assert (report.labels, report.joined, report.unknown, report.early, report.ambiguous) == (2_006, 2_000, 3, 2, 1)
    assert report.versions[0].auc == pytest.approx(0.855, abs=0.02)
    assert [(each.version, each.period, each.predictions) for each in report.periods] == [
        ("3.1", "2026-01", 1_000),
        ("3.1", "2026-02", 1_000),
    ]
    assert report.alerts == ()


def test_an_auc_that_is_certainly_below_the_gate_is_an_alert_which_keeps_its_beginning():
    first = assess("churn", joined(2_000, 1.0), 0.85, "month", 5.0, None)
    (alert,) = first.alerts
    assert (alert.version, alert.gate, alert.since_s, alert.is_told) == ("3.1", 0.85, 5.0, False)
    assert alert.worst_case < 0.85
    told = msgspec.structs.replace(first, alerts=(msgspec.structs.replace(alert, is_told=True),))
    (later,) = assess("churn", joined(3_000, 1.0), 0.85, "month", 9.0, told).alerts
    assert (later.since_s, later.is_told) == (5.0, True)
    assert later.labels > alert.labels
    assert assess("churn", joined(3_000, 2.0), 0.85, "month", 9.0, told).alerts == ()


def test_a_version_that_was_good_for_long_does_not_hide_that_it_no_longer_is():
    good, bad = joined(4_000, 2.0), joined(1_000, 1.0, seed=2)
    both = Joined(
        np.concatenate([good.versions_N, bad.versions_N]),
        np.concatenate([good.times_N - 90 * 86_400.0, bad.times_N]),
        np.concatenate([good.labels_N, bad.labels_N]),
        np.concatenate([good.scores_N, bad.scores_N]),
        5_000,
        0,
        0,
        0,
    )
    report = assess("churn", both, 0.85, "month", 5.0, None)
    assert report.versions[0].worst_case > 0.85
    (alert,) = report.alerts
    assert (alert.version, alert.labels) == ("3.1", 500)


def test_few_outcomes_are_no_alert_however_bad_they_look():
    report = assess("churn", joined(18, 0.0), 0.85, "month", 5.0, None)
    assert report.versions == (Quality("3.1", "", 18, 9),)
    assert report.alerts == ()


def test_the_gate_is_the_highest_that_the_auc_had_to_pass():
    gates = [Gate("auc", Comparison.GREATER, 0.8), Gate("auc", Comparison.GREATER_EQUAL, 0.85), DRIFT_GATE]
    assert gate_of(gates) == 0.85
    assert gate_of([DRIFT_GATE, Gate("auc", Comparison.LESS, 0.99)]) == 0.0


def test_periods_are_days_weeks_and_months_in_utc():
    assert [period_of(JAN_S, each) for each in ("day", "week", "month")] == ["2026-01-05", "2026-01-05", "2026-01"]
