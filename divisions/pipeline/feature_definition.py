"""Features over events as typed values: what is counted or taken, of which events, over which windows.

`divisions.pipeline.define_options` parses ``features.define`` into them, and `divisions.pipeline.define_text` writes
them back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

_HOUR_US = 3_600_000_000
_UNIT_HOURS = {"h": 1, "d": 24, "w": 168}


class Aggregate(enum.StrEnum):
    """What becomes of a column's values. Missing values never count."""

    LAST = "last"
    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"
    MOST_FREQUENT = "most_frequent"
    DAYS_SINCE = "days_since"

    @property
    def is_of_numbers(self) -> bool:
        return self in {Aggregate.SUM, Aggregate.MEAN, Aggregate.MIN, Aggregate.MAX}

    @property
    def is_zero_of_nothing(self) -> bool:
        """Without any event it is 0. The other aggregates are missing then."""
        return self in {Aggregate.COUNT, Aggregate.SUM, Aggregate.DISTINCT}


@dataclass(frozen=True, slots=True)
class Window:
    """``7d``: the events of (T - 7 days, T]. `ALL_TIME` has no beginning."""

    count: int
    unit: str

    @property
    def microseconds(self) -> int | None:
        """None for all time."""
        return self.count * _UNIT_HOURS[self.unit] * _HOUR_US if self.unit else None

    def __str__(self) -> str:
        return f"{self.count}{self.unit}" if self.unit else "all"


ALL_TIME = Window(0, "")


class Operator(enum.StrEnum):
    """How a column's value is compared. A missing value satisfies no condition."""

    IN = "in"
    NOT = "not"
    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"


class Truth(enum.Enum):
    """A boolean to compare with. Python's own equals 1.0, and the condition ``paid: true`` is not ``paid: 1``."""

    NO = False
    YES = True


Comparable = str | float | Truth


@dataclass(frozen=True, slots=True)
class Condition:
    """``event: [purchase, refund]``. Comparisons other than `IN` and `NOT` have one number."""

    column: str
    operator: Operator
    values: tuple[Comparable, ...]


@dataclass(frozen=True, slots=True)
class FeatureDefinition:
    """One entry of ``features.define``; a list of windows makes a feature of each.

    Attributes:
        name: the feature's name, or its beginning.
        aggregate: what becomes of the values.
        column: whose values.
        where: conditions that an event must satisfy, all of them.
        windows: at least one.
        is_listed: the windows stand in a list, so each is a part of its feature's name.
        line: where it stands in the pipeline file, for messages; 0 if it stands in none.
    """

    name: str
    aggregate: Aggregate
    column: str
    where: tuple[Condition, ...] = ()
    windows: tuple[Window, ...] = (ALL_TIME,)
    is_listed: bool = False
    line: int = field(default=0, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The features that it defines, one for each window: ``purchases_7d, purchases_30d``."""
        if not self.is_listed:
            return (self.name,)
        return tuple(f"{self.name}_{window}" for window in self.windows)


@dataclass(frozen=True, slots=True)
class Absence:
    """A label that is the absence of events: customers without any event of a kind for some time.

    Attributes:
        where: conditions of the events that must not happen, all of them.
        horizon: how long they must not happen: the label of time T looks at (T, T + horizon].
        active_within: only entities with an event of any kind in (T - active_within, T] have a label.
        every: how far apart the times T are, if there are several.
        times: how many of them are learned from: the latest one, and those before it.
    """

    where: tuple[Condition, ...]
    horizon: Window
    active_within: Window
    every: Window
    times: int = 1
