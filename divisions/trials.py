"""The trials of a search for hyperparameters: what was tried, how each trial ended, which one is best. Pure.

A run that has searched keeps them among its files as a table that MLflow shows, too: ``trials.json``.
"""

from __future__ import annotations

import enum
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

ARTIFACT = "trials.json"
TAG, TAG_BEST, TAG_ENDS = "trials", "trials_best", "trials_ends"
"""Tags of a run that has searched: how many trials there were, the number of the best, how many ended how."""
MOST_TRIALS = 1_000
DEFAULT_BUDGET_S = 1_800.0


class TrialEnd(enum.StrEnum):
    """How a trial ended. A best one is looked for among those that were not refused by their own failure."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """By the search: others were better after as many epochs."""
    OUT_OF_TIME = "out of time"
    FAILED = "failed"
    NOT_BEGUN = "not begun"


class Trial(msgspec.Struct, frozen=True):
    """``number`` counts from 1. ``valid_loss`` is the lowest on the validation rows, after ``epochs`` epochs; it and
    ``valid_auc``, the AUC of the same epoch, are None until there is one. ``reason`` says why a trial failed."""

    number: int
    params: dict[str, Any]
    end: TrialEnd = TrialEnd.NOT_BEGUN
    epochs: int = 0
    valid_loss: float | None = None
    valid_auc: float | None = None
    reason: str = ""


_COLUMNS = ("number", "end", "epochs", "valid_loss", "valid_auc", "reason")


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the lowest validation loss; of equals, the first. One that failed does not count: its training
    would fail again."""
    scored = [trial for trial in trials if trial.valid_loss is not None and trial.end is not TrialEnd.FAILED]
    finite = [trial for trial in scored if math.isfinite(trial.valid_loss or 0.0)]
    return min(finite, key=lambda trial: (trial.valid_loss, trial.number), default=None)


def told_ends(trials: Sequence[Trial]) -> str:
    """How many trials ended how.

    >>> told_ends([Trial(1, {}, TrialEnd.FINISHED), Trial(2, {}, TrialEnd.STOPPED), Trial(3, {}, TrialEnd.FINISHED)])
    '2 finished, 1 stopped early'
    """
    words = {TrialEnd.STOPPED: "stopped early"}
    counts = Counter(trial.end for trial in trials)
    return ", ".join(f"{counts[end]} {words.get(end, end.value)}" for end in TrialEnd if counts[end])


def told_params(params: dict[str, Any]) -> str:
    """As they are written into a pipeline file.

    >>> told_params({"learning_rate": 0.003, "hidden": [128, 64]})
    'learning_rate: 0.003, hidden: [128, 64]'
    """
    return ", ".join(f"{name}: {json.dumps(value)}" for name, value in params.items())


def to_table(trials: Sequence[Trial]) -> str:
    """The trials as a table of MLflow's, ``{"columns": …, "data": …}``."""
    names = tuple(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [
        [*(getattr(trial, column) for column in _COLUMNS), *(trial.params.get(name) for name in names)]
        for trial in trials
    ]
    return msgspec.json.encode({"columns": [*_COLUMNS, *names], "data": rows}).decode()


def from_table(text: str) -> tuple[Trial, ...]:
    """The trials of such a table.

    Raises:
        ValueError: it is no such table.
    """
    table = msgspec.json.decode(text, type=dict[str, list[Any]])
    try:
        columns = table["columns"]
        rows = [dict(zip(columns, row, strict=True)) for row in table["data"]]
        return tuple(msgspec.convert({**row, "params": _params(row)}, Trial) for row in rows)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no table of trials: {error}") from None


def _params(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _COLUMNS and value is not None}
