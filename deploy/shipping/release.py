"""What is shipped, and the steps that it takes. Pure."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """A registered version, and how it is to be served.

    Attributes:
        pipeline: the pipeline's name.
        pipeline_sha256: of the file's bytes: another file is another release.
        bundle: the address of the version's bundle.
    """

    model: str
    version: str
    endpoint: str
    bundle: str
    bundle_sha256: str
    pipeline: str
    pipeline_sha256: str

    @property
    def key(self) -> str:
        """The same for the same release, whoever deploys it and when."""
        parts = (self.model, self.version, self.endpoint, self.bundle_sha256, self.pipeline, self.pipeline_sha256)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.model} {self.version}"


class Act(enum.StrEnum):
    """Which of a target's methods does a step."""

    AUTHENTICATE = "authenticate"
    APPLY = "apply"
    WATCH = "watch"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan. ``name`` is the same in each plan of a target; ``title`` says what is done."""

    name: str
    title: str
    act: Act = Act.APPLY


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment does, from what the target has now.

    Attributes:
        steps: in order; none if the target serves the release already.
        changes: lines of a diff, for people: ``-`` what is there, ``+`` what will be.
        costs: what the release takes of the target that costs money.
    """

    steps: tuple[Step, ...]
    changes: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()

    @property
    def applies(self) -> bool:
        """Whether it changes the target."""
        return any(step.act is Act.APPLY for step in self.steps)


class Ending(enum.StrEnum):
    """How a deployment ended."""

    UNCHANGED = "unchanged"
    PROMOTED = "promoted"
    STARTED = "started"
    """The rollout goes on by itself."""
    ROLLED_BACK = "rolled back"
    REGRESSED = "regressed"
    """Of a watched rollout only: the release must be taken back."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a step has done, in a few words. ``ending`` is given by the step that decides it."""

    detail: str
    ending: Ending | None = None


def left_after(steps: Sequence[Step], failed: Step) -> tuple[Step, ...]:
    """The steps that a failed one keeps from being done."""
    return tuple(steps[list(steps).index(failed) + 1 :])
