"""Features and labels of customers: one row each, as of the time of the label; or one for each time of a label.

    events --(latest per customer, up to ``as_of``)--> rows --(schema fitted on training customers)--> FeatureTable

The row of a customer is the customer's latest labelled event. The features come from that event, so later events cannot
leak into them. The schema (categories, which columns vary) is fitted on training customers only, not on the hold-out
(`trainers.data.feature_choice`).
"""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from divisions.errors import EmptyInputError, InputError
from divisions.schema import FeatureSchema
from trainers.data.encoding import encode_columns
from trainers.data.feature_choice import fit_schema, without_leaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from divisions.pipeline.definition import Features
    from trainers.data.customer_rows import CustomerRows
    from trainers.data.ingest import RawEvents

_HASH_SPAN = 2.0**64


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """One row per customer, or several, as of different times (`CustomerRows.is_repeated`).

    Attributes:
        x: ``float32[N, F]``, encoded as `FeatureSchema.encode_row` does.
        y: ``float32[N]``, 1 where the label holds, else 0.
        schema: the F columns.
        rows: the N raw events of these rows, with all columns, for the stores and for drift.
        is_held_N: ``bool[N]``, the customers that are held out.
        notes: the columns that were left out, and why.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    schema: FeatureSchema
    rows: CustomerRows
    is_held_N: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def entities(self) -> tuple[str, ...]:
        """The N customers, in the order of the rows."""
        return self.rows.entities

    @property
    def raw(self) -> pd.DataFrame:
        """The rows as a data frame."""
        return self.rows.to_pandas((self.schema.entity, self.schema.event_time, self.schema.label))

    @property
    def last_day(self) -> str:
        """The day of the last event (UTC), such as ``2025-01-14``."""
        return str(self.rows.times_N.max().astype("datetime64[D]"))

    def take(self, mask: NDArray[np.bool_]) -> FeatureTable:
        """The rows where ``mask`` (``bool[N]``) holds."""
        kept = np.flatnonzero(mask)
        return replace(self, x=self.x[kept], y=self.y[kept], rows=self.rows.where(mask), is_held_N=self.is_held_N[kept])


@dataclass(frozen=True, slots=True)
class HoldoutSplit:
    """Two tables that have no customer in common, without raw columns."""

    train: FeatureTable
    holdout: FeatureTable


def build_feature_table(
    events: RawEvents, features: Features, label: str, *, seed: int = 0, as_of: dt.datetime | None = None
) -> FeatureTable:
    """Makes the table of features and labels.

    Args:
        events: checked raw events.
        features: the pipeline's settings for columns and the hold-out.
        label: the label's column.
        seed: decides, with the customers, who is held out.
        as_of: later events are ignored; None takes all events.

    Raises:
        EmptyInputError: no events are left.
        InputError: no column can be a feature, or all customers have the same label.
    """
    rows = events.rows.latest(as_of)
    if not len(rows) and events.num_newest:
        raise EmptyInputError(
            f"none of the {events.num_newest:,} customers of {events.uri} has a label {label!r}",
            remedy="add events whose label is known, such as those of an earlier period, to the input",
        )
    if not len(rows):
        raise EmptyInputError(f"input {events.uri} has no usable events", remedy="see its quarantine for the reasons")
    y_N = rows.labels_N.astype(np.float32)
    if len(np.unique(y_N)) < 2:
        raise InputError(
            f"all {len(rows)} customers of {events.uri} have the same label, {label}={int(y_N[0])}",
            remedy="a model needs customers of both kinds: check the label's column or take a longer period",
        )
    is_held_N = is_holdout(rows.entities, features.holdout_fraction, seed)
    choice = fit_schema(rows, ~is_held_N, events.kinds, features, label)
    x_NF = encode_columns(choice.schema.features, rows.columns, len(rows))
    choice, x_NF = without_leaks(choice, x_NF, y_N, ~is_held_N, features)
    if not choice.schema.features:
        raise InputError(f"input {events.uri} has no column that can be a feature", remedy="; ".join(choice.notes))
    return FeatureTable(x_NF, y_N, choice.schema, rows, is_held_N, events.notes + choice.notes)


def is_holdout(entities: Sequence[str], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which customers are held out. It depends on the customer and the seed only, not on other data.

    A customer who is held out today is held out in every later run. So no version has trained on the customers on which
    it is compared with another version.
    """
    digests = map(xxhash.xxh3_64_intdigest, map(str.encode, entities), itertools.repeat(seed))
    hashes = np.fromiter(digests, dtype=np.uint64, count=len(entities))
    return np.asarray(hashes / _HASH_SPAN < fraction)


def split_holdout(table: FeatureTable) -> HoldoutSplit:
    """Splits by customer. The hold-out has one row of each: the newest, which is most like what will be served.

    Several rows of a customer are alike, so metrics of them would seem more certain than they are.

    Raises:
        InputError: one side has no customers, or only one label, so training or measuring is impossible.
    """
    # What is trained and measured on is encoded. The raw columns stay in the whole table.
    table = replace(table, rows=replace(table.rows, columns={}))
    is_measured_N = table.is_held_N & table.rows.is_last_N if table.rows.is_repeated else table.is_held_N
    split = HoldoutSplit(train=table.take(~table.is_held_N), holdout=table.take(is_measured_N))
    for name, part in (("training set", split.train), ("hold-out", split.holdout)):
        if len(np.unique(part.y)) < 2:
            raise InputError(
                f"the {name} has {len(part)} customers, and not of both labels",
                remedy="use more data, or change features.holdout_fraction",
            )
    return split
