"""How many trials a run makes, and within which time: in the pipeline file, and on the command line in its place."""

from __future__ import annotations

from dataclasses import replace

from divisions.errors import PipelineError, UsageError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.resources import parse_duration_s
from divisions.pipeline.yaml_sections import Section, integer, parsed
from divisions.trials import DEFAULT_BUDGET_S, MOST_TRIALS

LEAST_BUDGET_S, MOST_BUDGET_S = 10.0, 7 * 86_400.0


def trials(section: Section) -> tuple[int, float]:
    """Reads ``trials`` and ``budget`` of section ``training``; the budget in seconds."""
    count = section.take("trials", integer(1, MOST_TRIALS), 1)
    budget_s = section.take("budget", parsed(parse_budget_s), DEFAULT_BUDGET_S)
    if section.has("budget") and count == 1:
        section.report("there are no trials that it could bound", "add trials, such as 'trials: 20'", "budget")
    return count, budget_s


def parse_budget_s(text: str) -> float:
    """``30m``, in seconds.

    >>> parse_budget_s("30m")
    1800.0
    """
    budget_s = parse_duration_s(text)
    if not LEAST_BUDGET_S <= budget_s <= MOST_BUDGET_S:
        raise PipelineError(f"a budget of {text} is not within 10s and 7d", remedy="write one like '30m'")
    return budget_s


def with_trials(pipeline: Pipeline, count: int | None, budget: str) -> Pipeline:
    """The pipeline with what the command line says; None and empty leave what the file says.

    Raises:
        UsageError: there cannot be so many trials, or not for so long.
    """
    training = pipeline.training
    if count is not None:
        if not 1 <= count <= MOST_TRIALS:
            raise UsageError(
                f"there cannot be {count} trials", remedy=f"give --trials a number from 1 to {MOST_TRIALS}"
            )
        training = replace(training, trials=count)
    if budget:
        if training.trials == 1:
            raise UsageError("--budget bounds a search, and there is none", remedy="add --trials, such as --trials 20")
        try:
            training = replace(training, budget_s=parse_budget_s(budget.strip()))
        except PipelineError as error:
            raise UsageError(f"--budget: {error.message}", remedy=error.remedy) from None
    return replace(pipeline, training=training)
