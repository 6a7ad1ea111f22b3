"""The variables of a pipeline file: ``s3://raw-events/partition=${today}``.

The list is fixed. Variables are replaced once: a value that looks like a variable is not replaced again.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from divisions.errors import PipelineError
from divisions.pipeline.expressions import nearest

VARIABLES: dict[str, str] = {
    "today": "the day of the run in UTC, as 2025-01-14",
    "yesterday": "the day before it",
    "pipeline": "the pipeline's name",
}
"""Every variable and its meaning."""

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")


def check_variables(template: str) -> None:
    """Checks that every variable exists and is closed.

    Raises:
        PipelineError: a variable is unknown or not closed. The error lists all variables and has no position.
    """
    for name in _VARIABLE.findall(template):
        if name not in VARIABLES:
            near = nearest(name, VARIABLES)
            hint = f"did you mean ${{{near}}}? The" if near else "the"
            listed = ", ".join(f"${{{known}}}" for known in VARIABLES)
            raise PipelineError(f"unknown variable '${{{name[:64]}}}'", remedy=f"{hint} variables are {listed}")
    if "${" in _VARIABLE.sub(" ", template):
        raise PipelineError("a '${' is not closed", remedy="write a variable as ${today}")


def expand(template: str, today: date, *, pipeline: str | None = None) -> str:
    """Replaces the variables, in one pass.

    Args:
        template: text with variables.
        today: the day of the run, in UTC.
        pipeline: the pipeline's name. If it is None, ``${pipeline}`` is an error.

    Raises:
        PipelineError: a variable is unknown, not closed, or has no value.
    """
    check_variables(template)

    def value(match: re.Match[str]) -> str:
        match match[1]:
            case "today":
                return today.isoformat()
            case "yesterday":
                return (today - timedelta(days=1)).isoformat()
        if pipeline is None:
            raise PipelineError("'${pipeline}' has no value here", remedy="write the name itself")
        return pipeline

    return _VARIABLE.sub(value, template)
