"""The trials of a search as a table, and which one is best."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.trials import Trial, TrialEnd, best_of, from_table, to_table

NUMBERS = st.floats(0.0, 100.0, allow_nan=False)
PARAMS = st.fixed_dictionaries(
    {"learning_rate": st.floats(1e-6, 10.0), "hidden": st.lists(st.integers(1, 99), min_size=1), "epochs_a": NUMBERS}
)


@st.composite
def trials(draw):
    """Numbered from 1; one that has a loss has an epoch."""
    made = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        loss = draw(st.none() | NUMBERS)
        end = draw(st.sampled_from(TrialEnd))
        auc = None if loss is None else draw(st.none() | NUMBERS)
        made.append(Trial(number, draw(PARAMS), end, 0 if loss is None else 3, loss, auc, draw(st.text(max_size=9))))
    return tuple(made)


@settings(max_examples=50)
@given(trials())
def test_the_table_gives_the_same_trials_back(made):
    assert from_table(to_table(made)) == made


@settings(max_examples=50)
@given(trials())
def test_no_trial_that_has_not_failed_is_better_than_the_best(made):
    best = best_of(made)
    losses = [one.valid_loss for one in made if one.end is not TrialEnd.FAILED and one.valid_loss is not None]
    assert (best is None) == (not losses)
    if best is not None:
        assert best.end is not TrialEnd.FAILED
        assert best.valid_loss == min(losses)
        before = [one for one in made[: best.number - 1] if one.end is not TrialEnd.FAILED]
        assert best.valid_loss not in [one.valid_loss for one in before]


def test_a_loss_that_is_no_number_is_never_the_best():
    odd = [Trial(1, {}, TrialEnd.FINISHED, 3, math.nan), Trial(2, {}, TrialEnd.FINISHED, 3, 0.7)]
    assert best_of(odd) is odd[1]
    assert best_of(odd[:1]) is None


NO_TABLES = ("", "[]", '{"data": []}', *(f'{{"columns": ["number"], "data": [{row}]}}' for row in ("[1, 2]", '["x"]')))


@pytest.mark.parametrize("text", NO_TABLES)
def test_what_is_no_table_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's own errors are among them
        from_table(text)
