"""Reference histograms and drift: bins stay, noise is subtracted, one broken column is enough."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.stability import MIN_BIN_ROWS, corrected_psi, null_mean, pool
from tests.trainers.data.rows import columns_of, rows_of
from trainers.data.encoding import encode_columns
from trainers.data.reference import Reference, build_reference, count_rows
from trainers.validation.drift import drift_report

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("calls", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("active", FeatureKind.BOOLEAN),
    )
)


def customers(count, seed):
    rng = np.random.default_rng(seed)
    minutes = rng.normal(180, 50, count)
    minutes[rng.random(count) < 0.05] = np.nan
    return pd.DataFrame(
        {
            "minutes": minutes,
            "calls": rng.poisson(1.5, count),
            "plan": rng.choice(["basic", "gold"], count, p=[0.8, 0.2]),
            "active": pd.Series(rng.random(count) < 0.7, dtype=object),
        }
    )


def reference_of(frame):
    return build_reference(SCHEMA, encode_columns(SCHEMA.features, columns_of(frame), len(frame)))


def drift_of(reference, frame):
    counts = [histogram.counts for histogram in reference.histograms]
    return drift_report([feature.name for feature in reference.features], counts, count_rows(reference, rows_of(frame)))


def test_bins_are_tenths_of_the_training_values_and_survive_json():
    frame = customers(5_000, 0)
    reference = reference_of(frame)
    assert Reference.from_json(reference.to_json()) == reference
    minutes, calls, plan, active = reference.histograms
    assert len(minutes.counts) == len(minutes.edges) + 2 == 11
    num_present = int(frame["minutes"].notna().sum())
    assert all(abs(count - num_present / 10) <= 1 for count in minutes.counts[:-1])
    assert minutes.counts[-1] == 5_000 - num_present
    assert calls.edges == (0.0, 1.0, 2.0, 3.0)
    assert len(plan.counts) == 4  # basic, gold, unknown, missing
    assert plan.counts[:2] == ((frame["plan"] == "basic").sum(), (frame["plan"] == "gold").sum())
    assert active.counts == ((frame["active"] == False).sum(), (frame["active"] == True).sum(), 0)  # noqa: E712


@settings(max_examples=60, deadline=None)
@given(
    train=st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    new=st.lists(st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40),
)
def test_every_row_falls_into_exactly_one_bin(train, new):
    schema = FeatureSchema(SCHEMA.features[:1])
    x_NF = np.array([[math.nan if value is None else value] for value in train], dtype=np.float32)
    reference = build_reference(schema, x_NF)
    histogram = reference.histograms[0]
    assert sum(histogram.counts) == len(train)
    assert all(count > 0 for count in histogram.counts[:-1]) or all(value is None for value in train)
    (counts,) = count_rows(reference, rows_of(pd.DataFrame({"minutes": pd.Series(new, dtype=object)})))
    assert sum(counts) == len(new)
    assert counts[-1] == sum(value is None for value in new)


def test_new_data_of_the_same_kind_does_not_drift():
    report = drift_of(reference_of(customers(3_000, 1)), customers(2_000, 2))
    assert report.is_conclusive
    assert report.score < 0.02


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("minutes", lambda column: column * 60),
        ("minutes", lambda column: column.where(column.index % 2 == 0)),
        ("calls", lambda column: column * 0),
        ("plan", lambda column: column.str.upper()),
        ("active", lambda column: ~column.astype(bool)),
    ],
)
def test_one_broken_column_among_many_is_drift_and_is_named(name, spoil):
    new = customers(2_000, 2)
    new[name] = spoil(new[name])
    report = drift_of(reference_of(customers(3_000, 1)), new)
    assert report.score > 0.15
    assert report.features[0].name == name
    assert report.features[1].psi < 0.02


def test_a_column_that_is_gone_is_drift():
    report = drift_of(reference_of(customers(3_000, 1)), customers(2_000, 2).drop(columns="plan"))
    assert report.features[0].name == "plan"
    assert report.score > 1


def test_few_rows_give_no_conclusion():
    assert not drift_of(reference_of(customers(3_000, 1)), customers(999, 2)).is_conclusive
    assert not drift_of(reference_of(customers(999, 1)), customers(3_000, 2)).is_conclusive


@pytest.mark.parametrize(("num_bins", "n", "m"), [(2, 1_000, 1_000), (11, 1_000, 3_000), (51, 4_000, 1_000)])
def test_without_drift_the_corrected_index_is_zero_on_average(num_bins, n, m):
    """2,000 pairs of samples from one distribution: the mean is 0 within 5 standard errors and 5 % of the formula."""
    rng = np.random.default_rng(7)
    shares = rng.dirichlet(np.full(num_bins, 20.0))
    found = [
        corrected_psi(rng.multinomial(n, shares).tolist(), rng.multinomial(m, shares).tolist())[0] for _ in range(2_000)
    ]
    standard_error = float(np.std(found)) / math.sqrt(len(found))
    assert abs(float(np.mean(found))) < 5 * standard_error + 0.05 * null_mean(num_bins, n, m)
    # And the correction matters: without it the mean would be the null mean.
    assert null_mean(num_bins, n, m) > 5 * standard_error


@given(counts=st.lists(st.integers(0, 500), min_size=1, max_size=60).filter(any))
def test_the_index_of_a_histogram_with_itself_is_minus_its_null_mean(counts):
    psi, num_bins = corrected_psi(counts, counts)
    assert psi == pytest.approx(-null_mean(num_bins, sum(counts), sum(counts)))


@given(pairs=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40))
def test_pooling_loses_no_row_and_leaves_at_most_one_thin_bin(pairs):
    reference, new = zip(*pairs, strict=True)
    pooled = pool(reference, new)
    assert sum(p for p, _ in pooled) == sum(reference)
    assert sum(q for _, q in pooled) == sum(new)
    assert sum(p < MIN_BIN_ROWS for p, _ in pooled) <= 1


def test_no_rows_are_an_error_and_not_a_zero():
    with pytest.raises(ValueError, match="rows on both sides"):
        corrected_psi([0, 0], [1, 2])


def test_without_features_there_is_no_drift_and_no_conclusion():
    report = drift_report([], [], [])
    assert (report.score, report.features, report.num_reference_rows, report.num_new_rows) == (0.0, (), 0, 0)
    assert not report.is_conclusive
