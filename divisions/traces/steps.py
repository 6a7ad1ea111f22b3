"""The steps of a run as spans, beside the progress that people see: each is a child of what is current."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from divisions.progress import Progress
from divisions.traces.otlp import without_secrets
from divisions.traces.work import WorkTraces, end, mark_failed
from divisions.trials import Trial

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_STAGES: Final = {
    "Prepare the data": "prepare",
    "Search": "search",
    "Train": "train",
    "Calibrate": "calibrate",
    "Export": "export",
    "Validate": "validate",
    "Report": "report",
    "Register": "register",
    "Sign": "sign",
    "Start the rollout": "deploy",
    "Fill the online store": "fill online store",
}


def stage_of(step: str) -> str:
    """The name of a step's span: one of few, whatever the step says of its data.

    >>> stage_of("Prepare the data of s3://raw/2026"), stage_of("Export to ONNX"), stage_of("Tidy up")
    ('prepare', 'export', 'tidy up')
    """
    return next((stage for words, stage in _STAGES.items() if step.startswith(words)), step.lower()[:60])


class TracedProgress:
    """Shows a run's progress by ``shown``, and sends each step as a span."""

    def __init__(self, shown: Progress, traces: WorkTraces) -> None:
        self._shown = shown
        self._traces = traces
        self._steps: list[tuple[contextlib.ExitStack, Span]] = []

    def step_started(self, name: str) -> None:
        stack = contextlib.ExitStack()
        span = stack.enter_context(self._traces.span(stage_of(name), {}))
        self._steps.append((stack, span))
        self._shown.step_started(name)

    def step_finished(self, name: str, seconds: float, detail: str) -> None:
        stack, span = self._steps.pop()
        if detail:
            span.set_attribute("divisions.detail", without_secrets(detail))
        stack.close()
        self._shown.step_finished(name, seconds, detail)

    def step_failed(self, name: str, seconds: float) -> None:
        """The run's own span has the error."""
        stack, span = self._steps.pop()
        mark_failed(span, "failed")
        stack.close()
        self._shown.step_failed(name, seconds)

    def epoch_finished(self, epoch: int, num_epochs: int, metrics: Mapping[str, float]) -> None:
        self._shown.epoch_finished(epoch, num_epochs, metrics)

    def notice(self, text: str) -> None:
        self._shown.notice(text)


class TrialSpans:
    """The trials of a search, each as a span. They go on side by side, so none is the current one.

    It is made while the search's step is the current span, and hears of trials in any thread.
    """

    def __init__(self, traces: WorkTraces) -> None:
        from opentelemetry import context

        self._traces = traces
        self._within = context.get_current()
        self._trials: dict[int, Span] = {}

    def began(self, number: int) -> None:
        self._trials[number] = self._traces.start("trial", {"divisions.trial": number}, self._within)

    def ended(self, trial: Trial) -> None:
        """A trial that never began has no span."""
        span = self._trials.pop(trial.number, None)
        if span is not None:
            span.set_attributes({"divisions.ending": trial.end.value, "divisions.epochs": trial.epochs})
            if trial.valid_loss is not None:
                span.set_attribute("divisions.valid_loss", trial.valid_loss)
            end(span, without_secrets(trial.reason))
