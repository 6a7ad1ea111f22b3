"""What a training takes, told where that is much: before it begins, once its pace is known, and where it no longer gets
better. The clock and the notices are given to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from divisions.pipeline.definition import Training
from trainers.training.cost import Cost

LARGE_BYTES: Final = 0.5e9
"""A training that takes less is not told of."""
LONG_S: Final = 120.0
"""What takes longer to its end is told of."""
_PACE_S: Final = 5.0
"""So much must have passed since the first epoch before the pace is known."""
STALLED: Final = 10
"""Epochs without a lower validation loss, after which patience is advised."""
_FEW: Final = 20
"""With fewer customers than so many for each column, trees often learn more than a network."""
_GB: Final = 1e9


class Outlook:
    """Listens to one training. ``now_s`` is a clock that does not jump."""

    def __init__(
        self, cost: Cost, training: Training, now_s: Callable[[], float], tell: Callable[[str], object]
    ) -> None:
        self._cost = cost
        self._training = training
        self._now_s = now_s
        self._tell = tell
        self._first: tuple[int, float] | None = None
        self._lowest = (0, float("inf"))
        self._has_told_pace = self._has_told_stall = False

    def begin(self) -> None:
        """Before the work: how large the table is, and what memory it takes."""
        if self._cost.memory_bytes >= LARGE_BYTES:
            self._tell(told_cost(self._cost, self._training.resources.memory_gb))

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Takes each epoch as it ends, counted from 1."""
        loss = metrics["valid_loss"]
        if loss < self._lowest[1]:
            self._lowest = epoch, loss
        if self._first is None:
            self._first = epoch, self._now_s()
            return
        taken_s = self._now_s() - self._first[1]
        if taken_s < _PACE_S or epoch == self._first[0]:
            return
        pace_s = taken_s / (epoch - self._first[0])
        left = self._training.hyperparams.epochs - epoch
        if left * pace_s < LONG_S:
            return
        if not self._has_told_pace:
            self._has_told_pace = True
            self._tell(told_pace(pace_s, left, self._is_ended_early))
        is_asked = self._cost.num_weights > 0 and not self._is_ended_early
        if is_asked and not self._has_told_stall and epoch - self._lowest[0] >= STALLED:
            self._has_told_stall = True
            self._tell(told_stall(self._lowest, (epoch, loss), left * pace_s, self._cost))

    @property
    def _is_ended_early(self) -> bool:
        return self._training.hyperparams.patience > 0


def told_cost(cost: Cost, memory_gb: float | None) -> str:
    """The table and the memory, and that the latter is more than there is.

    >>> told_cost(Cost(16_000, 3_000, 3_500_000, 700_000_000), None)
    '16,000 rows x 3,000 columns: training takes about 0.7 GB of memory, for 3.5 million weights'
    >>> told_cost(Cost(16_000, 3_000, 0, 1_200_000_000), 1.0)
    '16,000 rows x 3,000 columns: training takes about 1.2 GB of memory, more than the 1 GB of training.resources'
    """
    short = memory_gb is not None and cost.memory_bytes > memory_gb * _GB
    more = f", more than the {memory_gb:g} GB of training.resources" if short else ""
    weights = f", for {cost.num_weights / 1e6:.1f} million weights" if cost.num_weights else ""
    size = f"{cost.num_rows:,} rows x {cost.num_columns:,} columns"
    return f"{size}: training takes about {cost.memory_bytes / _GB:.1f} GB of memory{more}{weights}"


def told_pace(pace_s: float, left: int, is_ended_early: bool) -> str:
    """
    >>> told_pace(18.0, 48, False)
    'an epoch takes about 18.0 s: the other 48 take 14 min'
    """
    most = "at most " if is_ended_early else ""
    return f"an epoch takes about {pace_s:.1f} s: the other {left:,} take {most}{told_time(left * pace_s)}"


def told_stall(lowest: tuple[int, float], last: tuple[int, float], left_s: float, cost: Cost) -> str:
    """What to do about a validation loss that has not fallen for long."""
    (best, best_loss), (epoch, loss) = lowest, last
    kind = (
        "; with so few customers for each column, `model: {kind: gradient_boosting}` often learns more"
        if cost.num_rows < _FEW * cost.num_columns
        else ""
    )
    return (
        f"the validation loss was lowest in epoch {best} ({best_loss:.4f}) and is {loss:.4f} in epoch {epoch}. The "
        f"weights of epoch {best} are kept unless a later one is better; the other epochs take {told_time(left_s)}. "
        f"`patience: {STALLED}` below training.hyperparams ends such a training early{kind}"
    )


def told_time(seconds: float) -> str:
    """
    >>> told_time(170), told_time(9_000)
    ('3 min', '2.5 h')
    """
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
