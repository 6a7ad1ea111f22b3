"""What a target must be able to do. ``deploy`` knows no more of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from deploy.shipping.release import Plan, Receipt, Release, Step

Say = Callable[[str], None]
"""Tells people a line while a step is done."""


class Target(Protocol):
    """A place that serves releases.

    Steps are idempotent: what is done already is no step of the next plan, or changes nothing. So a deployment that was
    cut off is simply planned again. Every method raises a `DivisionsError` that names the culprit and the remedy.
    """

    @property
    def name(self) -> str: ...

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        """What is to be done, from what the target has now. Changes nothing."""

    def apply(self, step: Step, release: Release, say: Say) -> Receipt:
        """Does a step of the plan."""
