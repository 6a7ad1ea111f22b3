"""Features and labels of customers: one row each, as of the time of the label.

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
from trainers.data.encoding import encode_frame
from trainers.data.feature_choice import fit_schema, without_leaks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from divisions.pipeline.definition import Features
    from trainers.data.ingest import RawEvents

_HASH_SPAN = 2.0**64


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """One row per customer.

    Attributes:
        x: ``float32[N, F]``, encoded as `FeatureSchema.encode_row` does.
        y: ``float32[N]``, 1 where the label holds, else 0.
        entities: the N customers, in the order of the rows.
        schema: the F columns.
        raw: the N raw events of these rows, with all columns, for the stores and for drift.
        notes: the columns that were left out, and why.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    entities: tuple[str, ...]
    schema: FeatureSchema
    raw: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entities)

    @property
    def last_day(self) -> str:
        """The day of the last event (UTC), such as ``2025-01-14``."""
        return str(self.raw[self.schema.event_time].max().date())

    def take(self, mask: NDArray[np.bool_]) -> FeatureTable:
        """The rows where ``mask`` (``bool[N]``) holds."""
        kept = np.flatnonzero(mask)
        entities = tuple(itertools.compress(self.entities, mask.tolist()))
        return replace(self, x=self.x[kept], y=self.y[kept], entities=entities, raw=_take(self.raw, kept))


@dataclass(frozen=True, slots=True)
class HoldoutSplit:
    """Two tables that have no customer in common."""

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
        seed: the same seed as for `split_holdout`.
        as_of: later events are ignored; None takes all events.

    Raises:
        EmptyInputError: no events are left.
        InputError: no column can be a feature, or all customers have the same label.
    """
    rows = latest_rows(events.frame, features.entity, features.event_time, as_of)
    if rows.empty and events.num_newest:
        raise EmptyInputError(
            f"none of the {events.num_newest:,} customers of {events.uri} has a label {label!r}",
            remedy="add events whose label is known, such as those of an earlier period, to the input",
        )
    if rows.empty:
        raise EmptyInputError(f"input {events.uri} has no usable events", remedy="see its quarantine for the reasons")
    entities = tuple(map(str, rows[features.entity]))
    y_N = rows[label].to_numpy(dtype=np.float32)
    if len(np.unique(y_N)) < 2:
        raise InputError(
            f"all {len(rows)} customers of {events.uri} have the same label, {label}={int(y_N[0])}",
            remedy="a model needs customers of both kinds: check the label's column or take a longer period",
        )
    is_training = ~is_holdout(entities, features.holdout_fraction, seed)
    choice = fit_schema(rows, is_training, events.kinds, features, label)
    x_NF = encode_frame(choice.schema.features, rows)
    choice, x_NF = without_leaks(choice, x_NF, y_N, is_training, features)
    if not choice.schema.features:
        raise InputError(f"input {events.uri} has no column that can be a feature", remedy="; ".join(choice.notes))
    return FeatureTable(x_NF, y_N, entities, choice.schema, rows, events.notes + choice.notes)


def latest_rows(frame: pd.DataFrame, entity: str, event_time: str, as_of: dt.datetime | None = None) -> pd.DataFrame:
    """The last event of each customer up to ``as_of``, ordered by customer."""
    import pandas as pd

    seen = frame if as_of is None or not (frame[event_time] > as_of).any() else frame[frame[event_time] <= as_of]
    names = seen[entity].to_numpy()
    if (names[1:] > names[:-1]).all():
        return seen if seen.index.equals(pd.RangeIndex(len(seen))) else seen.reset_index(drop=True)
    # Only the two columns are sorted; the others are put in order once.
    keys = seen[[entity, event_time]].reset_index(drop=True)
    last = keys.sort_values(event_time, kind="stable").drop_duplicates(entity, keep="last")
    return _take(seen, last.sort_values(entity, kind="stable").index.to_numpy())


def _take(frame: pd.DataFrame, positions: NDArray[np.int64]) -> pd.DataFrame:
    import pandas as pd

    taken = frame.take(positions)
    taken.index = pd.RangeIndex(len(taken))
    return taken


def is_holdout(entities: Sequence[str], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which customers are held out. It depends on the customer and the seed only, not on other data.

    A customer who is held out today is held out in every later run. So no version has trained on the customers on which
    it is compared with another version.
    """
    digests = (xxhash.xxh3_64_intdigest(name.encode(), seed=seed) for name in entities)
    hashes = np.fromiter(digests, dtype=np.uint64, count=len(entities))
    return np.asarray(hashes / _HASH_SPAN < fraction)


def split_holdout(table: FeatureTable, fraction: float, seed: int) -> HoldoutSplit:
    """Splits by customer. On average, ``fraction`` of the customers are held out.

    Raises:
        InputError: one side has no customers, or only one label, so training or measuring is impossible.
    """
    held = is_holdout(table.entities, fraction, seed)
    split = HoldoutSplit(train=table.take(~held), holdout=table.take(held))
    for name, part in (("training set", split.train), ("hold-out", split.holdout)):
        if len(np.unique(part.y)) < 2:
            raise InputError(
                f"the {name} has {len(part)} customers, and not of both labels",
                remedy="use more data, or change features.holdout_fraction",
            )
    return split
