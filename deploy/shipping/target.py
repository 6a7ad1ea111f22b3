"""What a target must be able to do. ``deploy`` knows no more of it.

A kind of target is a package of its own: ``settings.py`` reads its part of ``targets.yaml`` and opens the target, and
`deploy.shipping.kinds` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from deploy.shipping.release import Plan, Receipt, Release, Step
from divisions.clock import Clock
from divisions.pipeline.definition import Pipeline
from divisions.settings import Settings
from divisions.versions import RegisteredVersion


def _ignore(*_: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a step gets.

    Attributes:
        say: tells people a line while the step is done.
        note: keeps a fact in the journal at once, so that a deployment that goes on after a crash finds it.
        facts: what the steps of this deployment have noted, also before a crash.
    """

    release: Release
    say: Callable[[str], None] = _ignore
    note: Callable[[str, str], None] = _ignore
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """The versions of an endpoint: the one that it serves or gets now, and the one before it. Empty: none is known."""

    now: str = ""
    before: str = ""


class Target(Protocol):
    """A place that serves releases.

    Steps are idempotent: what is done already is no step of the next plan, or changes nothing. So a deployment that was
    cut off is simply planned again. Every method raises a `DivisionsError` that names the culprit and the remedy.
    """

    @property
    def name(self) -> str: ...

    @property
    def login(self) -> Step:
        """The first step of every deployment, also of one that changes nothing."""

    def authenticate(self) -> Receipt:
        """Does `login`. The receipt's detail says who one is there."""

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        """What is to be done, from what the target has now. Changes nothing."""

    def apply(self, step: Step, work: Work) -> Receipt:
        """Does a step of the plan."""

    def watch(self, work: Work) -> Receipt:
        """Waits for the rollout's end. The receipt's ending is ``PROMOTED``, ``ROLLED_BACK`` if the target has taken
        the release back by itself, or ``REGRESSED`` if that is still to be done: `rollback` is called next."""

    def served(self, endpoint: str) -> Served:
        """What the target has of an endpoint. Changes nothing."""

    def rollback(self, work: Work) -> Receipt:
        """Brings back what was served before the release. It is called again if it was cut off."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a target is opened with.

    Attributes:
        name: the target's.
        settings: of this home. ``artifacts`` is the target's store.
        pipeline_text: the pipeline file, as it is.
        is_forced: whether a rollout that was rolled back before is repeated.
        overrides_others: whether fields that others have changed meanwhile are taken back.
        goes_back: whether the version was there before, and gets its traffic back without being compared, where its
            replicas or instances are still known.
    """

    name: str
    settings: Settings
    pipeline: Pipeline
    version: RegisteredVersion
    clock: Clock
    is_forced: bool = False
    overrides_others: bool = False
    goes_back: bool = False
    pipeline_text: str = ""


class TargetSettings(Protocol):
    """What the file of targets says of one target."""

    @property
    def image(self) -> str:
        """The image that the target's machines run; empty if it says nothing of that."""

    def open(self, opening: Opening) -> AbstractContextManager[Target]:
        """The target. Heavy modules are imported here, not with the module of the settings."""
