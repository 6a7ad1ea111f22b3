import numpy as np
import pytest
import torch

from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels
from trainers.training import model as network
from trainers.training.model import build_model, logits_of, numeric_statistics


@pytest.fixture(scope="module")
def model():
    rows, _ = rows_and_labels()
    return build_model(SCHEMA, rows, HYPERPARAMS).eval()


def scores(model, *rows):
    with torch.no_grad():
        return model(torch.tensor(rows, dtype=torch.float32)).numpy()


@pytest.mark.parametrize("value", [3.4e38, -3.4e38, 1e-40, float("nan")])
def test_any_float_in_any_column_gives_a_probability(model, value):
    for column in range(SCHEMA.num_columns):
        row = [200.0, 1.0, 2.0, 0.0]
        row[column] = value
        assert np.isfinite(scores(model, row)).all()
        assert 0.0 <= scores(model, row)[0] <= 1.0
    assert np.isfinite(scores(model, [value] * SCHEMA.num_columns)).all()


def test_a_category_code_that_does_not_exist_counts_as_unknown(model):
    unknown = scores(model, [200.0, 0.0, 2.0, 1.0])
    for code in (4.0, 1e9, -1.0, 3.4e38):
        assert scores(model, [200.0, code, 2.0, 1.0]) == unknown


def test_missing_is_neither_unknown_nor_the_mean(model):
    unknown, missing = scores(model, [200.0, 0.0, 2.0, 1.0], [200.0, np.nan, 2.0, 1.0])
    assert unknown != missing
    rows, _ = rows_and_labels()
    mean, missing = scores(model, [float(rows[:, 0].mean()), 1.0, 2.0, 1.0], [np.nan, 1.0, 2.0, 1.0])
    assert mean != pytest.approx(missing, abs=1e-7)


def test_columns_of_one_category_do_not_share_rows_with_the_next():
    schema = FeatureSchema(
        (Feature("a", FeatureKind.CATEGORICAL, ("x",)), Feature("b", FeatureKind.CATEGORICAL, ("y", "z")))
    )
    model = build_model(schema, np.ones((4, 2), np.float32), HYPERPARAMS).eval()
    combinations = [(a, b) for a in (0.0, 1.0, np.nan) for b in (0.0, 1.0, 2.0, np.nan)]
    assert len(set(scores(model, *combinations).tolist())) == len(combinations)


@pytest.mark.parametrize("column", [[np.nan] * 3, [7.0] * 3])
def test_a_constant_column_of_training_has_no_effect_later(column):
    schema = FeatureSchema((Feature("a", FeatureKind.NUMERIC), Feature("b", FeatureKind.NUMERIC)))
    rows = np.array([[value, other] for value, other in zip(column, (1.0, 2.0, 3.0), strict=True)], np.float32)
    model = build_model(schema, rows, HYPERPARAMS).eval()
    assert scores(model, [5.0, 1.0]) == scores(model, [-1e30, 1.0])


def test_statistics_of_numbers_near_the_limit_of_float32_are_finite():
    schema = FeatureSchema((Feature("a", FeatureKind.NUMERIC),))
    statistics = numeric_statistics(np.array([[3e38], [-3e38], [1.0], [np.nan]], np.float32), schema)
    assert np.isfinite(statistics.edge_MB).all()
    assert np.isfinite([statistics.lowest_M, statistics.highest_M, statistics.inverse_scale_M]).all()


def test_bins_are_zero_below_one_above_and_linear_between():
    schema = FeatureSchema((Feature("a", FeatureKind.NUMERIC),))
    values = np.linspace(0.0, 160.0, 161, dtype=np.float32)[:, None]
    statistics = numeric_statistics(values, schema)
    standard = (values - statistics.mean_M) * statistics.inverse_scale_M
    encoded = np.clip((standard - statistics.edge_MB[0]) * statistics.inverse_width_MB[0], 0.0, 1.0)
    # Sixteen bins of ten: the sum over bins rises by one per bin.
    assert np.allclose(encoded.sum(axis=1), values[:, 0] / 10.0, atol=1e-3)


def test_the_same_seed_gives_the_same_weights():
    rows, _ = rows_and_labels()
    first, second = build_model(SCHEMA, rows, HYPERPARAMS), build_model(SCHEMA, rows, HYPERPARAMS)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_scoring_in_parts_gives_what_one_pass_gives(model, monkeypatch):
    rows_NF, _ = rows_and_labels(101)
    whole = logits_of(model, rows_NF)
    sizes = []
    one_pass = type(model).logits
    monkeypatch.setattr(type(model), "logits", lambda self, rows: (sizes.append(len(rows)), one_pass(self, rows))[1])
    monkeypatch.setattr(network, "CELLS_A_PASS", 10 * rows_NF.shape[1])
    assert np.allclose(logits_of(model, rows_NF), whole, atol=1e-6)
    assert sizes == [10] * 10 + [1]
