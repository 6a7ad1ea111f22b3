"""Columns that a model must not learn from: leaks that are planted on purpose, names and row numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.pipeline.definition import Features
from divisions.pipeline.feature_definition import Aggregate, FeatureDefinition
from divisions.schema import FeatureKind
from tests.trainers.data.rows import events_of
from trainers.data.feature_choice import counts_rows
from trainers.data.feature_table import build_feature_table, is_holdout

NUMERIC, CATEGORICAL, BOOLEAN = FeatureKind.NUMERIC, FeatureKind.CATEGORICAL, FeatureKind.BOOLEAN
COUNT = 600
RNG = np.random.default_rng(3)
CHURN = RNG.random(COUNT) < 0.25
NOISE = RNG.normal(size=COUNT)


def table(columns, features=None, churn=CHURN):
    """``columns`` by name: values and kind."""
    frame = pd.DataFrame(
        {
            "customer_id": [f"c-{i:04d}" for i in range(len(churn))],
            "event_time": pd.Timestamp("2025-01-14", tz="UTC"),
            "churn": churn.astype(np.int8),
            "minutes": NOISE[: len(churn)],
            **{name: pd.Series(list(values), dtype=float if kind is NUMERIC else object)
               for name, (values, kind) in columns.items()},
        }
    )  # fmt: skip
    kinds = {"minutes": NUMERIC, **{name: kind for name, (_, kind) in columns.items()}}
    return build_feature_table(events_of(frame, kinds), features or Features(), "churn")


def when(condition, value, otherwise):
    return [value if is_so else otherwise(i) for i, is_so in enumerate(condition)]


LEAKS = {
    "the label by another name": ([not one for one in CHURN], BOOLEAN),
    "a final bill": (np.where(CHURN, 0.0, 5.0) + np.abs(NOISE) / 10, NUMERIC),
    "a reason that only churners have": (when(CHURN, "moved", lambda i: None), CATEGORICAL),
    "one of many reasons": ([f"r{i % 7}" if one else None for i, one in enumerate(CHURN)], CATEGORICAL),
    "a free text": ([f"text {i}" if one else None for i, one in enumerate(CHURN)], CATEGORICAL),
    "an exit survey that many churners did not fill in": (
        np.where(CHURN & (np.arange(COUNT) % 2 == 0), NOISE, np.nan), NUMERIC,
    ),
    "a next bill that many churners do not get": (
        np.where(CHURN & (np.arange(COUNT) % 2 == 0), np.nan, NOISE), NUMERIC,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found_left_out_and_told(name):
    made = table({name: LEAKS[name], "plan": (when(CHURN, "gold", lambda i: "pro" if i % 3 else "gold"), CATEGORICAL)})
    assert made.schema.names == ("minutes", "plan")
    assert made.x.shape[1] == 2
    (note,) = made.notes
    assert name in note
    assert "left out" in note


@pytest.mark.parametrize("name", [one for one in LEAKS if one != "a free text"])
def test_a_declared_leak_is_kept_and_told(name):
    values, kind = LEAKS[name]
    made = table({name: (values, kind)}, Features(**{kind.value: (name,)}))
    assert made.schema.names == ("minutes", name)
    (note,) = made.notes
    assert note.startswith(f"column {name!r} is kept as declared, but ")


def test_a_strong_feature_is_no_leak():
    made = table(
        {
            "calls": (np.where(CHURN, 3.0, 0.0) + NOISE, NUMERIC),  # alone an AUC of 0.98
            # New customers have no bill yet, and none of them has left.
            "bill": (np.where(~CHURN & (np.arange(COUNT) % 5 == 0), np.nan, NOISE), NUMERIC),
            "gold": ([bool(one) and i % 10 > 0 for i, one in enumerate(CHURN)], BOOLEAN),
        }
    )
    assert made.schema.names == ("minutes", "calls", "bill", "gold")
    assert made.notes == ()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_columns_that_know_nothing_of_the_label_are_never_taken_for_it(seed):
    rng = np.random.default_rng(seed)
    churn = rng.random(200) < 0.3
    made = table(
        {
            "a": (rng.normal(size=200), NUMERIC),
            "b": (np.where(rng.random(200) < 0.9, np.nan, 1.0), NUMERIC),
            "c": (rng.choice(["x", "y", "z"], 200), CATEGORICAL),
        },
        churn=churn,
    )
    assert made.schema.names == ("minutes", "a", "b", "c")


def test_too_few_customers_of_a_label_prove_no_leak():
    churn = np.arange(120) % 20 == 0
    made = table({"calls": (np.where(churn, 9.0, 1.0), NUMERIC)}, churn=churn)
    assert made.schema.names == ("minutes", "calls")


def test_the_hold_out_does_not_decide_what_is_a_leak():
    held = is_holdout([f"c-{i:04d}" for i in range(COUNT)], 0.2, 0)
    made = table({"odd": (np.where(held, CHURN, NOISE > 0).astype(float), NUMERIC)})
    assert made.schema.names == ("minutes", "odd")


def test_names_and_row_numbers_are_left_out_and_declared_ones_kept():
    columns = {
        "RowNumber": (np.arange(1, COUNT + 1), NUMERIC),
        "Surname": ([f"name {i * i % 211}" for i in range(COUNT)], CATEGORICAL),
        "Mail": ([f"{i // 1.05:.0f}@example.org" for i in range(COUNT)], CATEGORICAL),
        "State": ([f"state {i % 51}" for i in range(COUNT)], CATEGORICAL),
        "Cents": (np.arange(COUNT) * 7, NUMERIC),
    }
    made = table(columns)
    assert made.schema.names == ("minutes", "State", "Cents")
    assert [note.split("'")[1] for note in made.notes] == ["RowNumber", "Surname", "Mail"]
    assert all("declare it in features." in note for note in made.notes)
    kept = table(columns, Features(numeric=("RowNumber",), categorical=("Surname", "Mail")))
    assert kept.schema.names == ("minutes", *columns)


def test_a_defined_feature_is_kept_because_it_was_asked_for():
    days = np.where(CHURN & (np.arange(COUNT) % 2 == 0), np.nan, NOISE)
    define = (FeatureDefinition("days", Aggregate.DAYS_SINCE, "event_time"),)
    made = table({"days": (days, NUMERIC)}, Features(define=define))
    assert "days" in made.schema.names
    assert any(note.startswith("column 'days' is kept as declared, but ") for note in made.notes)


@pytest.mark.parametrize(
    ("values", "is_number"),
    [
        (range(60), True),
        (range(0, 70), True),
        ([*range(50), *range(55, 64)], True),
        (range(49), False),
        (range(0, 120, 2), False),
        ([0, *range(59)], False),
        ([index + 0.5 for index in range(60)], False),
        ([*range(59), float("nan")], False),
    ],
)
def test_row_numbers_are_whole_different_and_nearly_without_gaps(values, is_number):
    assert counts_rows(np.array(list(values), dtype=float)) is is_number


def test_categories_that_differ_in_case_or_blanks_only_are_told_and_stay_two():
    plans = [("Fiber", "fiber", "DSL", "fiber  optic", "Fiber Optic")[i % 5] for i in range(COUNT)]
    found = table({"plan": (plans, CATEGORICAL)})
    (note,) = [note for note in found.notes if "two categories" in note]
    assert note == "column 'plan': 'Fiber' and 'fiber' are two categories; 2 differ so, in case or blanks only"
    plan = next(feature for feature in found.schema.features if feature.name == "plan")
    assert len(plan.categories) == 5
    tidy = table({"plan": ([("Fiber", "DSL")[i % 2] for i in range(COUNT)], CATEGORICAL)})
    assert not any("two categories" in note for note in tidy.notes)
