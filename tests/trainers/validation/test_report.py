"""The validation report: known curves, parts and importances; a page that hostile names cannot leave."""

from __future__ import annotations

import html.parser
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.training.evaluate import auc
from trainers.validation.charts import Line, chart
from trainers.validation.curves import (
    MAX_POINTS,
    CalibrationBin,
    calibration_bins,
    precision_recall_points,
    roc_points,
    threshold_table,
)
from trainers.validation.importance import MAX_FEATURES, Importance, permutation_importance
from trainers.validation.page import render_page
from trainers.validation.report import FeatureRow, GateRow, ValidationReport
from trainers.validation.slices import Slice, slices
from trainers.validation.thresholds import sweep


@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60))
def test_the_area_under_the_roc_curve_is_the_auc(rows):
    labels = np.array([label for label, _ in rows], float)
    scores = np.array([score / 10 for _, score in rows])
    if labels.min() == labels.max():
        return
    x, y = np.array(roc_points(sweep(labels, scores))).T
    assert np.trapezoid(y, x) == pytest.approx(auc(labels, scores))
    recall, precision = np.array(precision_recall_points(sweep(labels, scores))).T
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(labels.mean())


def test_long_curves_are_thinned_and_keep_their_ends():
    rng = np.random.default_rng(0)
    points = roc_points(sweep((rng.random(5_000) < 0.3).astype(float), rng.random(5_000)))
    assert len(points) <= MAX_POINTS + 1
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))


def test_calibration_bins_and_thresholds_have_known_answers():
    labels, scores = np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.05, 0.07, 1.0, 0.55])
    assert calibration_bins(labels, scores) == [
        CalibrationBin(2, pytest.approx(0.06), 0.5),
        CalibrationBin(1, pytest.approx(0.55), 0.0),
        CalibrationBin(1, 1.0, 1.0),
    ]
    low, high = threshold_table(labels, scores, (0.9, 0.06))
    assert (low.threshold, low.flagged, low.hits, low.precision, low.recall) == (0.06, 3, 2, pytest.approx(2 / 3), 1.0)
    assert (high.flagged, high.hits, high.precision, high.recall) == (1, 1, 1.0, 0.5)
    assert math.isnan(threshold_table(labels, scores * 0.5, (0.9,))[0].precision)


SCHEMA = FeatureSchema(
    (
        Feature("calls", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("roams", FeatureKind.BOOLEAN),
        Feature("empty", FeatureKind.NUMERIC),
    )
)


def test_each_customer_is_in_one_part_of_each_feature():
    rng = np.random.default_rng(0)
    x = np.stack([rng.poisson(2, 200), rng.integers(0, 3, 200), rng.integers(0, 2, 200), np.zeros(200)], 1)
    x = np.where(rng.random(x.shape) < 0.1, np.nan, x).astype(np.float32)
    x[:, 3] = np.nan
    scores = rng.random(200)
    found = slices(SCHEMA, x, (rng.random(200) < scores).astype(float), scores, 0.5)
    for name in SCHEMA.names:
        assert sum(each.num_rows for each in found if each.feature == name) == 200
    assert [each.part for each in found if each.feature == "plan"] == ["basic", "gold", "other categories", "missing"]
    assert [each.part for each in found if each.feature == "empty"] == ["missing"]
    assert next(each.part for each in found if each.feature == "calls") == "up to 1"


def test_a_part_of_few_customers_has_a_count_and_no_auc():
    x = np.array([[0.0, 1.0, 0.0, 0.0]] * 60 + [[0.0, 2.0, 0.0, 0.0]] * 19, np.float32)
    labels, scores = np.arange(79) % 2.0, np.linspace(0.0, 1.0, 79)
    basic, gold = (each for each in slices(SCHEMA, x, labels, scores, 0.5) if each.feature == "plan")
    assert (basic.num_rows, gold.num_rows) == (60, 19)
    assert basic.auc == auc(labels[:60], scores[:60])
    assert math.isnan(gold.auc)
    assert math.isnan(gold.precision)
    assert gold.positive_share == pytest.approx(9 / 19)


def test_the_feature_that_decides_is_the_most_important_and_a_constant_has_none():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3)).astype(np.float32)
    labels = (x[:, 1] > 0).astype(float)
    first, *others = permutation_importance(lambda rows: rows[:, 1] + 0.1 * rows[:, 0], "abc", x, labels, rng)
    assert first.feature == "b"
    assert first.auc_loss == pytest.approx(0.5, abs=0.1)
    assert {each.feature: each.auc_loss for each in others}["c"] == 0.0
    wide = np.zeros((4, MAX_FEATURES + 1), np.float32)
    assert permutation_importance(lambda rows: rows[:, 0], ["x"] * (MAX_FEATURES + 1), wide, labels[:4], rng) == []


REPORT = ValidationReport(
    title="churn-predictor, run r-1",
    verdict="passed",
    rule="max_f1",
    threshold=0.25,
    metrics={"auc": 0.9, "precision": math.nan},
    gates=[GateRow("auc > 0.85", 0.9, "pass"), GateRow("drift_score < 0.15", None, "unknown")],
    champion="version 3.1",
    drift="against version 3.1",
    roc=[(0.0, 0.0), (1.0, 1.0)],
    precision_recall=[(0.5, 1.0), (1.0, 0.5)],
    calibration="as trained",
    calibration_before=[CalibrationBin(3, 0.2, 0.3)],
    calibration_after=[CalibrationBin(3, 0.2, 0.25)],
    thresholds=threshold_table(np.array([0.0, 1.0]), np.array([0.1, 0.8]), (0.25, 0.5)),
    features=[FeatureRow("calls", 0.01, math.nan)],
    importance=[Importance("calls", 0.2, 0.01)],
    slices=[Slice("plan", "gold", 12, 0.5, 0.4, 0.9, 0.8, 0.7)],
    notes=[],
)


class Reader(html.parser.HTMLParser):
    """Every element and every attribute's name of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</style><b>",
        "a & b < c",
        "'",
        "\x00<i>",
        "💥" * 40,
    ]
)


@given(name=HOSTILE)
def test_hostile_names_stay_text(name):
    plain = read(render_page(REPORT))
    page = render_page(
        replace(
            REPORT,
            title=name,
            verdict=f"refused: {name}",
            champion=name,
            drift=name,
            notes=[name],
            gates=[GateRow(name, 1.0, name)],
            features=[FeatureRow(name, 0.0, 0.0)],
            importance=[Importance(name, 0.1, 0.0)],
            slices=[Slice(name, name, 1, 0.0, 0.0, math.nan, math.nan, math.nan)],
        )
    )
    hostile = read(page)
    assert hostile.tags <= plain.tags | {"p"}
    assert hostile.attributes <= plain.attributes
    assert name.replace("\x00", "\N{REPLACEMENT CHARACTER}") in hostile.text
    assert "\x00" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_loads_nothing_and_shows_what_is_unknown_as_such():
    page = render_page(REPORT)
    assert "default-src 'none'" in page
    assert not {"script", "link", "img", "iframe"} & read(page).tags
    assert '<tr class="chosen"><td class="n">0.2500</td>' in page
    assert "nan" not in page.lower().replace("governance", "")
    assert page.count("<svg") == 3


def test_a_report_without_curves_has_no_charts():
    page = render_page(replace(REPORT, roc=[], precision_recall=[], calibration_before=[], calibration_after=[]))
    assert "<svg" not in page
    assert chart("t", "x", "y", [Line("a", [])]) == ""


def test_json_has_null_for_what_is_unknown():
    text = REPORT.to_json()
    assert '"precision": null' in text
    assert "NaN" not in text
