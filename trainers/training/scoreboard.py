"""What a search hears of its trials, and what it tells of them. Pure: no trial runs here.

began -> heard* -> ended     by its last epoch, by the search, or by a failure
                -> close     the budget was over first
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from divisions.errors import TrainingError
from divisions.pipeline.definition import AnyHyperparams
from divisions.trials import Trial, TrialEnd, best_of, told_ends, told_params
from trainers.training.search_space import searched


@dataclass(frozen=True, slots=True)
class Heard:
    """What a trial tells after an epoch, which counts from 1: the lowest validation loss so far, and the AUC of that
    epoch. ``is_last``: it has trained to the end."""

    epoch: int
    valid_loss: float
    valid_auc: float | None
    is_last: bool


class Watcher(Protocol):
    """Hears when trials begin and end, for traces."""

    def began(self, number: int) -> None: ...

    def ended(self, trial: Trial) -> None: ...


class Scoreboard:
    """The trials of one search, by their numbers from 1. ``show`` takes the lines that people read."""

    def __init__(
        self, candidates: Sequence[AnyHyperparams], show: Callable[[str], None], watcher: Watcher | None = None
    ) -> None:
        self._show = show
        self._watcher = watcher
        self._trials = {
            number: Trial(number, msgspec.to_builtins(searched(each))) for number, each in enumerate(candidates, 1)
        }
        self._running: set[int] = set()
        self._finished: set[int] = set()
        self._best_loss: float | None = None

    def began(self, number: int) -> None:
        self._running.add(number)
        if self._watcher is not None:
            self._watcher.began(number)

    def heard(self, number: int, news: Heard) -> None:
        if news.is_last:
            self._finished.add(number)
        self._change(number, epochs=news.epoch, valid_loss=news.valid_loss, valid_auc=news.valid_auc)

    def ended(self, number: int) -> None:
        """A trial has ended by itself, or the search has stopped it; told if it is the best so far."""
        end = TrialEnd.FINISHED if number in self._finished else TrialEnd.STOPPED
        self._running.discard(number)
        trial = self._end(number, end)
        if trial.valid_loss is None or (self._best_loss is not None and trial.valid_loss >= self._best_loss):
            return
        self._best_loss = trial.valid_loss
        self._show(f"{self._name(number)} is the best so far: {told_score(trial)}; {told_params(trial.params)}")

    def failed(self, number: int, reason: str) -> None:
        self._running.discard(number)
        trial = self._end(number, TrialEnd.FAILED, reason)
        is_last = not self._running and all(each.end is not TrialEnd.NOT_BEGUN for each in self._trials.values())
        others = "" if is_last else "; the others go on"
        self._show(f"{self._name(number)} failed: {reason}{others} (it had {told_params(trial.params)})")

    def close(self) -> tuple[Trial, ...]:
        """The search is over: whoever still runs has run out of time."""
        for number in self._running:
            self._end(number, TrialEnd.FINISHED if number in self._finished else TrialEnd.OUT_OF_TIME)
        self._running.clear()
        return tuple(self._trials.values())

    def _name(self, number: int) -> str:
        return f"trial {number} of {len(self._trials)}"

    def _end(self, number: int, end: TrialEnd, reason: str = "") -> Trial:
        trial = self._change(number, end=end, reason=reason)
        if self._watcher is not None:
            self._watcher.ended(trial)
        return trial

    def _change(self, number: int, **changes: object) -> Trial:
        self._trials[number] = trial = msgspec.structs.replace(self._trials[number], **changes)
        return trial


def told_score(trial: Trial) -> str:
    """``validation loss 0.3012, AUC 0.8611, after 50 epochs``"""
    auc = "" if trial.valid_auc is None else f", AUC {trial.valid_auc:.4f}"
    return f"validation loss {trial.valid_loss:.4f}{auc}, after {trial.epochs} epoch{'s' * (trial.epochs != 1)}"


def winner_of(trials: Sequence[Trial], budget_s: float) -> Trial:
    """The best trial.

    Raises:
        TrainingError: no trial has a result.
    """
    best = best_of(trials)
    if best is not None:
        return best
    failed = [trial for trial in trials if trial.end is TrialEnd.FAILED]
    if len(failed) == len(trials):
        raise TrainingError(
            f"all {len(trials)} trials failed; the first of them: {failed[0].reason}",
            remedy="look for what they have in common with `divisions runs show latest`, or run without --trials",
        )
    raise TrainingError(
        f"no trial had a result when its budget of {budget_s:g} s was over: {told_ends(trials)}",
        remedy="give the search a longer --budget, or lower training.hyperparams.epochs",
    )
