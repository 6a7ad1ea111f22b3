"""Gate expressions: ``auc > 0.85``. They have their own grammar, because text from outside must never be evaluated.

    gates   = gate { ( "," | "and" ) gate }
    gate    = metric operator number
    operator= ">" | ">=" | "<" | "<="
    number  = decimal digits with an optional sign, point and exponent: 0.85, .85, 1e-3

The grammar has neither not-a-number nor infinity. A number that overflows to infinity is refused, too.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable

from divisions.errors import PipelineError
from divisions.pipeline.definition import Comparison, Gate

METRIC_MAXIMUM: dict[str, float] = {
    "auc": 1.0,
    "auc_lower_bound": 1.0,
    "precision": 1.0,
    "recall": 1.0,
    "accuracy": 1.0,
    "f1": 1.0,
    "calibration_error": 1.0,
    "log_loss": math.inf,
    "drift_score": math.inf,
    "latency_p99_ms": math.inf,
}
"""The metrics that gates may use, each with its largest possible value. The smallest possible value is always 0."""

SHORT_NAMES = {"ece": "calibration_error"}
"""What metrics are called elsewhere. Gates may use these names, too."""

_MAX_CHARS = 1_000  # longer than any sensible list of gates; bounds the work for a hostile text
_GATE = re.compile(r"(?P<metric>[A-Za-z_][A-Za-z0-9_]*)\s*(?P<operator>[<>]=?)\s*(?P<number>\S+)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SEPARATOR = re.compile(r",|\band\b")
_EXAMPLE = "write it like 'auc > 0.85'"


def parse_gate(text: str) -> Gate:
    """Parses one gate.

    Raises:
        PipelineError: the text is not a gate, names an unknown metric, or is always true or always false. The error has
            no position; the caller adds it.
    """
    if len(text) > _MAX_CHARS:
        raise PipelineError(f"a gate of {len(text)} characters is longer than {_MAX_CHARS}", remedy=_EXAMPLE)
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise PipelineError(f"{text.strip()!r} is not a gate", remedy=f"{_EXAMPLE}, with one of > >= < <=")
    metric = _metric(match["metric"])
    comparison = Comparison(match["operator"])
    return Gate(metric, comparison, _threshold(metric, comparison, match["number"]))


def parse_gates(text: str) -> tuple[Gate, ...]:
    """Parses one or more gates, separated by commas or by ``and``; all of them must pass.

    Raises:
        PipelineError: see `parse_gate`.
    """
    if len(text) > _MAX_CHARS:
        raise PipelineError(f"gates of {len(text)} characters are longer than {_MAX_CHARS}", remedy=_EXAMPLE)
    return tuple(parse_gate(part) for part in _SEPARATOR.split(text))


def parse_number(text: str) -> float:
    """Parses a finite decimal number.

    Raises:
        ValueError: the text is anything else, such as Python's ``nan``, ``inf``, ``1_000`` or foreign digits.
    """
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is too large")
    return number


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The entry of ``known`` that is most similar to ``word``, or None if none is similar."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold()[:64], by_folded, n=1)
    return by_folded[found[0]] if found else None


def _metric(name: str) -> str:
    name = SHORT_NAMES.get(name, name)
    if name in METRIC_MAXIMUM:
        return name
    near = nearest(name, METRIC_MAXIMUM)
    hint = f"did you mean {near}? The" if near else "the"
    raise PipelineError(f"unknown metric {name[:64]!r}", remedy=f"{hint} metrics are {', '.join(METRIC_MAXIMUM)}")


def _threshold(metric: str, comparison: Comparison, text: str) -> float:
    try:
        threshold = parse_number(text)
    except ValueError as error:
        raise PipelineError(f"the threshold of {metric}: {error}", remedy=_EXAMPLE) from None
    maximum = METRIC_MAXIMUM[metric]
    if not _decides(comparison, threshold, maximum):
        between = "is never below 0" if maximum == math.inf else f"lies between 0 and {maximum:g}"
        raise PipelineError(
            f"'{metric} {comparison.value} {threshold:g}' is always or never true: {metric} {between}",
            remedy="write a threshold that some models pass and others do not",
        )
    return threshold


def _decides(comparison: Comparison, threshold: float, maximum: float) -> bool:
    """Whether [0, maximum] has values on both sides of the threshold."""
    if comparison in {Comparison.GREATER, Comparison.LESS_EQUAL}:
        return 0 <= threshold < maximum
    return 0 < threshold <= maximum
