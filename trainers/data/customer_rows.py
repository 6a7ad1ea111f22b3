"""The rows that leave the engine, one for each customer: arrays of numpy, a column after another.

=============  ==============================================================
`Numbers`      float64, NaN where a value is missing
`Flags`        int8: 0, 1, or -1 where a value is missing
`Texts`        int32 places in a list of different texts, or -1
=============  ==============================================================

A million customers have few different texts, so no text is an object for each row. Files and data frames are made of
this where they are needed; the preparation itself needs neither.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.arrow_arrays import array_of, texts_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MAX_WHOLE = 2.0**53


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers: ``float64[N]``."""

    values_N: NDArray[np.float64]

    @property
    def is_present_N(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.values_N)

    def take(self, places: NDArray[np.int64] | slice) -> Numbers:
        return Numbers(self.values_N[places])

    def to_arrow(self) -> pa.Array:
        """int64 where all values are whole and none is missing, else double."""
        import pyarrow as pa

        values_N = self.values_N
        with np.errstate(invalid="ignore"):
            if len(values_N) and (np.abs(values_N) < _MAX_WHOLE).all() and (np.trunc(values_N) == values_N).all():
                return array_of(values_N.astype(np.int64), pa.int64())
        return array_of(values_N, pa.float64(), self.is_present_N)


@dataclass(frozen=True, slots=True)
class Flags:
    """A column of booleans: ``int8[N]``."""

    codes_N: NDArray[np.int8]

    @property
    def is_present_N(self) -> NDArray[np.bool_]:
        return self.codes_N >= 0

    def take(self, places: NDArray[np.int64] | slice) -> Flags:
        return Flags(self.codes_N[places])

    def to_arrow(self) -> pa.Array:
        import pyarrow as pa

        return array_of(self.codes_N > 0, pa.bool_(), self.is_present_N)


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts: ``int32[N]``, each the place of its text in ``texts``, which are all different."""

    codes_N: NDArray[np.int32]
    texts: tuple[str, ...]

    @property
    def is_present_N(self) -> NDArray[np.bool_]:
        return self.codes_N >= 0

    def take(self, places: NDArray[np.int64] | slice) -> Texts:
        return Texts(self.codes_N[places], self.texts)

    def to_arrow(self) -> pa.Array:
        import pyarrow as pa

        codes = array_of(self.codes_N, pa.int32(), self.is_present_N)
        return pa.DictionaryArray.from_arrays(codes, texts_of(self.texts), safe=False)


Column = Numbers | Flags | Texts


@dataclass(frozen=True, slots=True)
class CustomerRows:
    """Rows of customers.

    Attributes:
        entities: the customer of each row.
        times_N: its event time: ``datetime64[us]``, UTC.
        labels_N: int8, 0 or 1.
        columns: everything else, by name.
        is_latest: each customer has one row, and they are in the order of the customers.
        is_repeated: each customer has a row for every time of a label, in the order of the customers, then of time.
    """

    entities: tuple[str, ...]
    times_N: NDArray[np.datetime64]
    labels_N: NDArray[np.int8]
    columns: Mapping[str, Column]
    is_latest: bool = False
    is_repeated: bool = False

    def __len__(self) -> int:
        return len(self.entities)

    def take(self, places: NDArray[np.int64]) -> CustomerRows:
        """The rows at some places, in that order."""
        names = self.entities
        return replace(
            self,
            entities=tuple(names[place] for place in places.tolist()),
            times_N=self.times_N[places],
            labels_N=self.labels_N[places],
            columns={name: column.take(places) for name, column in self.columns.items()},
        )

    def where(self, mask_N: NDArray[np.bool_]) -> CustomerRows:
        """The rows where a mask holds."""
        places = np.flatnonzero(mask_N)
        return replace(
            self,
            entities=tuple(itertools.compress(self.entities, mask_N.tolist())),
            times_N=self.times_N[places],
            labels_N=self.labels_N[places],
            columns={name: column.take(places) for name, column in self.columns.items()},
        )

    @property
    def is_last_N(self) -> NDArray[np.bool_]:
        """Whether a row is the last one of its customer, in the order of the customers."""
        if self.is_latest:
            return np.ones(len(self), dtype=bool)
        pairs = itertools.pairwise((*self.entities, None))
        return np.fromiter((one != other for one, other in pairs), dtype=bool, count=len(self))

    @property
    def num_customers(self) -> int:
        return len(self) if self.is_latest else len(set(self.entities))

    def latest(self, as_of: dt.datetime | None = None) -> CustomerRows:
        """The last row of each customer up to ``as_of``, in the order of the customers; all, if that is how they are
        repeated."""
        if self.is_repeated:
            return self
        is_seen_N = np.ones(len(self), dtype=bool)
        if as_of is not None:
            is_seen_N = self.times_N <= np.datetime64(as_of.astimezone(dt.UTC).replace(tzinfo=None), "us")
        if self.is_latest and is_seen_N.all():
            return self
        names, times = self.entities, self.times_N.tolist()
        places = sorted(np.flatnonzero(is_seen_N).tolist(), key=lambda place: (names[place], times[place]))
        following = itertools.zip_longest(places, places[1:])
        last = [one for one, other in following if other is None or names[one] != names[other]]
        return replace(self.take(np.array(last, dtype=np.int64)), is_latest=True)

    def to_arrow(self, roles: Sequence[str], names: Sequence[str]) -> pa.Table:
        """A table of the entity, the event time and the label, named by ``roles``, and of some columns."""
        import pyarrow as pa

        times = array_of(self.times_N.view(np.int64), pa.timestamp("us", "UTC"))
        own = [texts_of(self.entities), times, array_of(self.labels_N, pa.int8())]
        return pa.table([*own, *(self.columns[name].to_arrow() for name in names)], names=[*roles, *names])

    def to_pandas(self, roles: Sequence[str]) -> pd.DataFrame:
        """A data frame; booleans and texts are objects, None where they are missing."""
        import pandas as pd

        entity, time, label = roles
        series: dict[str, Any] = {
            entity: pd.Series(self.entities, dtype=object),
            time: pd.Series(self.times_N.astype("datetime64[us]")).dt.tz_localize("UTC"),
            label: self.labels_N,
        }
        for name, column in self.columns.items():
            match column:
                case Numbers():
                    series[name] = column.to_arrow().to_pandas()
                case Flags():
                    series[name] = pd.Series(np.array([False, True, None], dtype=object)[column.codes_N], dtype=object)
                case Texts(codes_N, texts):
                    series[name] = pd.Series(np.array([*texts, None], dtype=object)[codes_N], dtype=object)
        return pd.DataFrame(series)
