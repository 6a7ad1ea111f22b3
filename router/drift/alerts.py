"""When a drift is reported, and when it is over. Pure.

**Levels.** A look compares up to four pairs of histograms for each feature. All looks of 30 days together may raise a
false alert with the chance `ALPHA`, whatever depends on what (Bonferroni): so one comparison has the level ``ALPHA /
(LOOKS x columns)``. With 20 features that is 4e-8, 5.4 standard deviations. It costs little: the customers needed grow
with the square of that, against 1.6 at the usual 5 %, only for differences that are barely above the tolerance.

**Tolerances.** The index that each comparison still takes for no drift:

==================  =========  =====================================================================================
comparison          tolerance  because
==================  =========  =====================================================================================
1 h with training        0.1   customers of one hour are not those of all hours; a broken column has 1 and more
24 h with training      0.01   days differ too, by a tenth of a deviation and more
1 h with usual         0.005   the same hour of two weeks
24 h with usual        0.005   likewise
==================  =========  =====================================================================================

**The end.** A comparison is over its drift after `QUIET_LOOKS` looks in a row whose p-value is above `CLEAR_P`. So an
alert does not flicker. A feature has one alert, however many comparisons find it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import msgspec

from divisions.drift import DriftAlert
from router.drift.comparison import Difference

ALPHA = 0.01
LOOKS = 30 * (288 + 3 * 24)
"""Of 30 days, for one feature: one comparison every five minutes, three every hour."""
CLEAR_P = 0.001
QUIET_LOOKS = 3


class Comparison(enum.StrEnum):
    HOUR_TRAINING = "1h training"
    DAY_TRAINING = "24h training"
    HOUR_USUAL = "1h usual"
    DAY_USUAL = "24h usual"

    @property
    def window(self) -> str:
        return self.value.partition(" ")[0]

    @property
    def against(self) -> str:
        return self.value.partition(" ")[2]

    @property
    def tolerance(self) -> float:
        return _TOLERANCES[self]


_TOLERANCES: Mapping[Comparison, float] = {
    Comparison.HOUR_TRAINING: 0.1,
    Comparison.DAY_TRAINING: 0.01,
    Comparison.HOUR_USUAL: 0.005,
    Comparison.DAY_USUAL: 0.005,
}


class Failing(msgspec.Struct, frozen=True):
    """A comparison that has found a drift: since when, the last index, and for how many looks it has been quiet."""

    since_s: float
    psi: float
    quiet: int = 0


Failures = dict[str, dict[str, Failing]]
"""By feature, then by comparison. The scores have no name."""


def ln_level(num_columns: int) -> float:
    """The level of one comparison of one column."""
    return math.log(ALPHA / (LOOKS * max(1, num_columns)))


def judge(failing: Failing | None, found: Difference, now_s: float, ln_alpha: float) -> Failing | None:
    """What becomes of one comparison by one look; None if it shows no drift."""
    if failing is None:
        return Failing(now_s, found.psi) if found.ln_p < ln_alpha else None
    quiet = failing.quiet + 1 if found.ln_p > math.log(CLEAR_P) else 0
    return None if quiet >= QUIET_LOOKS else Failing(failing.since_s, found.psi, quiet)


def alerts(failures: Failures) -> tuple[DriftAlert, ...]:
    """One alert for each column that drifts: of the comparison that found it first."""
    found = []
    for column, comparisons in failures.items():
        if comparisons:
            name, first = min(comparisons.items(), key=lambda item: item[1].since_s)
            by = Comparison(name)
            found.append(DriftAlert(column, by.window, by.against, first.psi, by.tolerance, first.since_s))
    return tuple(sorted(found, key=lambda alert: (alert.since_s, alert.feature)))
