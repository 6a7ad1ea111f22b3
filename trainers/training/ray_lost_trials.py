"""Lets Ray Tune outlive a trial whose process was stopped for lack of memory, or whose node was lost.

Tune knows two errors: the function of a trial raised, or its process died. Ray has others for a process that it stopped
itself when memory ran out, or that went with its node. On those, Tune ends the whole search. So they are told to it as
deaths.
"""

from __future__ import annotations

from typing import Any

from ray.air.execution._internal import actor_manager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment.trial import Trial


class TrialLostError(RayActorError):  # type: ignore[misc]
    """``kind`` is the class of Ray's own error, ``text`` its text. It can be pickled: Tune writes it to a file."""

    def __init__(self, kind: str = "", text: str = "") -> None:
        super().__init__(error_msg=text)
        self.args = (kind, text)
        self.kind = kind


def as_death(error: Exception) -> Exception:
    """The error as Tune understands it; others as they are."""
    if isinstance(error, RayError) and not isinstance(error, RayActorError | RayTaskError):
        return TrialLostError(type(error).__name__, str(error))
    return error


_ERRORS: dict[str, Exception] = {}
"""Why trials failed, by their ids. Tune itself keeps an error as a pickle in a file only."""


def error_of(trial: Any) -> Exception | None:
    """Why a trial has failed, once; None if that is not known."""
    return _ERRORS.pop(trial.trial_id, None)


def outlive_lost_trials() -> None:
    """From now on, a trial that is lost ends alone, and `error_of` knows why a trial failed. There is no setting for
    either, so methods of Ray's are replaced."""
    manager: Any = actor_manager.RayActorManager
    if getattr(manager, "_outlives_lost_trials", False):
        return
    handled = Trial.handle_error

    def handle_error(self: Trial, exc: Exception | None = None) -> None:
        if exc is not None:
            _ERRORS[self.trial_id] = exc
        handled(self, exc)

    Trial.handle_error = handle_error
    failed = manager._actor_task_failed

    def task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        failed(self, tracked_actor_task, as_death(exception))

    manager._actor_task_failed = task_failed
    manager._outlives_lost_trials = True
