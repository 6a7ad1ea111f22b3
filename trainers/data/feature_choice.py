"""Which columns a model learns from: those that vary, describe customers, and do not give the label away. Pure.

A column that the pipeline file declares (``features.numeric``, ``categorical``, ``boolean``) or defines is always kept,
if it has values that differ; what is odd about it is told. Any other column is left out, with a note, if it

- has no values, or one value in all rows;
- names rows: texts that are nearly all different, more than a hundred texts with fewer than five rows each (surnames),
  or whole numbers that count the rows;
- gives the label away: alone it has an AUC above 0.99, or only positive customers have a value, or lack one. Such a
  column was most likely recorded after the fact: the model would be excellent on the hold-out and useless in service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.customer_rows import Column, Numbers, Texts
from trainers.data.declared_columns import excluded
from trainers.data.label_leaks import LEAK_AUC, single_feature_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from divisions.pipeline.definition import Features
    from trainers.data.customer_rows import CustomerRows

MAX_CATEGORIES = 1_000
"""Rarer texts are unknown to the model. This bounds the embedding, and the schema in each gateway."""
MIN_ROWS_OF_IDS = 50
"""With fewer rows, values that all differ are nothing special."""
MANY_TEXTS, ROWS_PER_TEXT = 100, 5
MIN_ROWS_OF_LABEL = 10
"""With fewer rows of either label, one feature may tell them apart by chance."""
MAX_CHANCE = 1e-6
_LEAK_SAMPLE = 25_000


@dataclass(frozen=True, slots=True)
class Choice:
    """The schema, and a note for each column that was left out, shortened, or kept although it is odd."""

    schema: FeatureSchema
    notes: tuple[str, ...]


def fit_schema(
    rows: CustomerRows, is_training_N: NDArray[np.bool_], kinds: dict[str, FeatureKind], features: Features, label: str
) -> Choice:
    """Chooses the model's columns by their values, in the order of the data. Leaks are found later (`find_leaks`).

    Args:
        rows: one row per customer.
        is_training_N: the rows that may be learned from. Only whether a column counts rows is seen from all of them.
        kinds: the candidates.
        features: the pipeline's settings.
        label: the label's column.
    """
    training = np.flatnonzero(is_training_N)
    fitted, notes = [], []
    without, _ = excluded(features, label, kinds)
    declared = _declared(features)
    for name, kind in kinds.items():
        if name in {features.entity, features.event_time, label} or name in without:
            continue
        column = rows.columns[name]
        seen = column.take(training)
        num_present = int(seen.is_present_N.sum())
        if not num_present:
            notes.append(f"column {name!r} left out: every value is missing")
        elif num_present == len(training) and _is_constant(seen):
            notes.append(f"column {name!r} left out: every value is the same")
        elif isinstance(seen, Texts):
            counts = np.bincount(seen.codes_N[seen.is_present_N], minlength=len(seen.texts)).tolist()
            # By frequency, then by name, so that the order of the rows does not matter.
            ranked = sorted((-count, text) for count, text in zip(counts, seen.texts, strict=True) if count)
            oddity = _odd_texts(len(ranked), num_present, len(training))
            if oddity and name not in declared:
                notes.append(f"column {name!r} left out: {oddity}; declare it in features.{kind} to keep it")
                continue
            frequent = [text for _, text in ranked][:MAX_CATEGORIES]
            if len(ranked) > MAX_CATEGORIES:
                notes.append(f"column {name!r}: {len(ranked) - MAX_CATEGORIES} rare texts count as unknown")
            notes += _spelled_twice(name, [text for _, text in ranked])
            fitted.append(Feature(name, kind, tuple(sorted(frequent))))
        elif isinstance(column, Numbers) and name not in declared and counts_rows(column.values_N):
            notes.append(f"column {name!r} left out: it counts the rows; declare it in features.{kind} to keep it")
        else:
            fitted.append(Feature(name, kind))
    schema = FeatureSchema(tuple(fitted), entity=features.entity, label=label, event_time=features.event_time)
    return Choice(schema, tuple(notes))


def _spelled_twice(name: str, values: Iterable[str]) -> list[str]:
    """A note on categories that differ in case or blanks only. They may mean the same, and are not put together."""
    first: dict[str, str] = {}
    pairs = [
        (first[key], text)
        for text in sorted(values)
        if first.setdefault(key := " ".join(text.casefold().split()), text) != text
    ]
    if not pairs:
        return []
    one, other = pairs[0]
    return [
        f"column {name!r}: {one!r} and {other!r} are two categories; {len(pairs)} differ so, in case or blanks only"
    ]


def _declared(features: Features) -> set[str]:
    """The features that the pipeline file asks for by name.

    A defined one may well tell the label without a leak: who never bought has no days since, and churned.
    """
    defined = {name for one in features.define for name in one.names}
    return {*features.numeric, *features.categorical, *features.boolean, *defined}


def _odd_texts(num_texts: int, num_present: int, num_rows: int) -> str:
    """Why a column of texts names rows instead of describing them; empty if it does not seem to."""
    if num_texts == num_rows or (num_present >= MIN_ROWS_OF_IDS and num_texts >= 0.9 * num_present):
        return "nearly every row has a text of its own, which names rows and does not describe them"
    if num_texts > MANY_TEXTS and num_present < ROWS_PER_TEXT * num_texts:
        return f"{num_texts:,} different texts in {num_present:,} rows are too many to learn from, as with names"
    return ""


def counts_rows(values_N: NDArray[np.float64]) -> bool:
    """Whether numbers look like row numbers: whole, all different, and with few gaps."""
    if len(values_N) < MIN_ROWS_OF_IDS:
        return False
    low, high = values_N.min(), values_N.max()
    # NaN makes this false, too: a row without a number is not counted.
    if not high - low < 1.2 * len(values_N) or (values_N != np.trunc(values_N)).any():
        return False
    # A gap of a fifth at most: each number has a place of its own, or some share one.
    return bool(np.bincount((values_N - low).astype(np.int64)).max() == 1)


def _is_constant(column: Column) -> bool:
    """Whether values, none of which is missing, are all the same."""
    values_N: NDArray[Any] = column.values_N if isinstance(column, Numbers) else column.codes_N
    return bool((values_N == values_N[0]).all())


def find_leaks(
    schema: FeatureSchema, x_NF: NDArray[np.float32], y_N: NDArray[np.float32], is_training_N: NDArray[np.bool_]
) -> dict[str, str]:
    """The features that give the label away, each with the reason.

    Args:
        schema: the columns.
        x_NF: encoded rows.
        y_N: their labels.
        is_training_N: the rows that may be looked at.
    """
    positives, negatives = np.flatnonzero(is_training_N & (y_N > 0.5)), np.flatnonzero(is_training_N & (y_N <= 0.5))
    if min(len(positives), len(negatives)) < MIN_ROWS_OF_LABEL:
        return {}
    # The AUC does not depend on how many rows each label has, so rare positives are not thinned out.
    rows = np.sort(np.concatenate([_spread(positives), _spread(negatives)]))
    labels_N, found = y_N[rows] > 0.5, {}
    for feature, x_N in zip(schema.features, x_NF[rows].T, strict=True):
        auc = single_feature_auc(x_N.astype(np.float64), labels_N, is_category=feature.kind is not FeatureKind.NUMERIC)
        one_sided = _one_sided(np.isnan(x_N), labels_N)
        if auc > LEAK_AUC:
            found[feature.name] = f"alone it tells the label, with an AUC of {auc:.4f}"
        elif one_sided:
            found[feature.name] = one_sided
    return found


def _one_sided(is_missing_N: NDArray[np.bool_], labels_N: NDArray[np.bool_]) -> str:
    """Whether only positive rows have a value, or only they lack one, more often than by chance."""
    rate = float(labels_N.mean())
    for is_such_N, words in ((~is_missing_N, "have a value"), (is_missing_N, "have no value")):
        count = int(is_such_N.sum())
        if 0 < count < len(labels_N) and labels_N[is_such_N].all() and rate**count < MAX_CHANCE:
            return f"only customers with the label {words}"
    return ""


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= _LEAK_SAMPLE:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _LEAK_SAMPLE).astype(np.int64)]


def without_leaks(
    choice: Choice,
    x_NF: NDArray[np.float32],
    y_N: NDArray[np.float32],
    is_training_N: NDArray[np.bool_],
    features: Features,
) -> tuple[Choice, NDArray[np.float32]]:
    """Leaves out features that give the label away, unless they are declared.

    Args:
        choice: the columns.
        x_NF: encoded rows of all customers.
        y_N: their labels.
        is_training_N: the rows that may be looked at.
        features: the pipeline's settings.
    """
    leaks = find_leaks(choice.schema, x_NF, y_N, is_training_N)
    if not leaks:
        return choice, x_NF
    declared = _declared(features)
    notes, kept = list(choice.notes), []
    for index, feature in enumerate(choice.schema.features):
        reason = leaks.get(feature.name)
        if reason is None or feature.name in declared:
            kept.append(index)
        if reason is not None and feature.name in declared:
            notes.append(f"column {feature.name!r} is kept as declared, but {reason}")
        elif reason is not None:
            notes.append(
                f"column {feature.name!r} left out: {reason}, so it was probably recorded after the fact;"
                f" declare it in features.{feature.kind} to keep it"
            )
    schema = FeatureSchema(
        tuple(choice.schema.features[index] for index in kept),
        entity=choice.schema.entity,
        label=choice.schema.label,
        event_time=choice.schema.event_time,
    )
    return Choice(schema, tuple(notes)), x_NF[:, kept]
