import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.evaluate import auc_lower_bound
from trainers.validation.guessing import guessing_text, rows_needed


@given(st.floats(0.51, 1.0), st.integers(1, 9))
def test_so_many_rows_are_enough_and_fewer_are_not(auc, tenths):
    rate = tenths / 10
    needed = rows_needed(auc, rate)

    def is_enough(rows):
        # Fractions of customers, so that rounding does not decide.
        positives, negatives = rate * rows, (1 - rate) * rows
        return auc_lower_bound(auc, positives, negatives) > 0.5

    assert is_enough(needed)
    assert not is_enough(needed - 1) or needed == 1


@pytest.mark.parametrize(
    ("auc", "rate"), [(0.5, 0.3), (0.2, 0.3), (math.nan, 0.3), (0.7, 0.0), (0.7, 1.0), (0.7, math.nan)]
)
def test_no_number_of_rows_helps_a_model_without_any_skill(auc, rate):
    assert rows_needed(auc, rate) is None


def test_the_text_has_the_figures_and_says_how_many_customers_are_needed():
    metrics = {
        "auc": 0.65,
        "auc_lower_bound": auc_lower_bound(0.65, 10, 30),
        "positive_rate": 0.25,
        "holdout_rows": 40.0,
    }
    text = guessing_text(metrics, 0.2)
    assert text.startswith(
        "not better than guessing: auc is 0.65 on 40 hold-out customers, 10 of them positive; its 95% "
    )
    assert f"{rows_needed(0.65, 0.25)} hold-out customers are needed: about 275 in all" in text
    assert text.endswith("`better_than_guessing: false` under stages.validation turns this gate off")
    assert "are needed" not in guessing_text(metrics | {"auc": 0.45}, 0.2)
