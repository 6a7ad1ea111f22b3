"""Explanations of scores, as the gateway answers them. No I/O."""

from __future__ import annotations

import msgspec

from divisions import errors
from divisions.sdk.calls import not_understood

DEFAULT_TOP = 5
MAX_TOP = 1_000


class Contribution(msgspec.Struct, frozen=True):
    """How much one feature has moved a score: the customer has ``value``, the reference has ``reference``."""

    feature: str
    contribution: float
    value: float | bool | str | None = None
    reference: float | bool | str | None = None


class ScoreExplanation(msgspec.Struct, frozen=True):
    """The features that have moved a score most, the greatest first; see docs/explain.md.

    ``reference``, all contributions, ``others`` and ``joint`` add up to ``score``. All are on one ``scale``:
    ``log_odds``, or ``score`` for a model whose scores are no probabilities.
    """

    scale: str
    reference: float
    score: float
    contributions: tuple[Contribution, ...]
    others: float
    joint: float


def query(top: int | None) -> str:
    """The query that asks for explanations with so many features; empty for None.

    >>> query(3), query(None)
    ('?explain=true&top=3', '')
    """
    if top is None:
        return ""
    if not 1 <= top <= MAX_TOP:
        raise errors.UsageError(f"top must be from 1 to {MAX_TOP}, got {top}", remedy=f"the default is {DEFAULT_TOP}")
    return f"?explain=true&top={top}"


def read(answered: object) -> ScoreExplanation | None:
    """An answer's explanation; None if it has none."""
    if answered is None:
        return None
    try:
        return msgspec.convert(answered, ScoreExplanation)
    except msgspec.ValidationError as error:
        raise not_understood(f"its explanation is no such thing: {error}") from None
