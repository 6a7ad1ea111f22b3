"""The simulated months: what is measured there, and that the watch keeps its promises on a part of them."""

import msgspec

from benchmarks.lab.drift import SHIFTED, SLOTS, Found, World, quiet_month, render_drift
from benchmarks.reports.doc_tables import drift_section
from benchmarks.reports.report_docs import RESULTS, SECTIONS


def test_days_without_drift_raise_no_alert_though_hours_and_days_differ():
    assert quiet_month(seed=5, rows_per_s=1.0, days=1) == 0


def test_a_feature_that_moves_by_its_deviation_is_found_within_an_hour():
    world = World(7, rows_per_s=1.5, population=8_000)
    watch = world.watch()
    assert world.play(watch, 100, 130) == []
    copy = world.watch(watch.state())
    raised = world.play(copy, 130, 150, shift=0.5)
    assert f"x{SHIFTED}" in {feature for _, feature in raised}
    assert {feature for _, feature in raised} <= {f"x{SHIFTED}", ""}, "and nothing else than it and the scores"
    assert SLOTS == 288


def test_what_was_measured_keeps_what_the_page_promises():
    """At most one false alert in 30 days; the middle size is found in every run."""
    found = msgspec.json.decode((RESULTS / "drift.json").read_bytes(), type=SECTIONS["drift"].kind)
    assert max(found.alerts) <= 1
    assert all(len(each.seconds) == each.runs for each in found.shifts if each.size >= 0.2)
    assert isinstance(found.shifts[0], Found)
    assert "months of 30 days" in drift_section(found)
    assert "quiet months" in render_drift(found)
