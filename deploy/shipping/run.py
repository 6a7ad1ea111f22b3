"""Walks the plan of a deployment: each step is noted, done, and noted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploy.shipping.console import Console
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Act, Ending, Receipt, Release, Step
from deploy.shipping.target import Target, Work
from divisions.clock import Clock
from divisions.errors import DivisionsError

_ROLLBACK_DUE = "rollback is due"
"""The fact that a release has regressed, on disk before the step that has found it ends."""


def deploy(
    target: Target,
    release: Release,
    journal: DeploymentJournal,
    console: Console,
    clock: Clock,
    *,
    who: str,
    is_watched: bool = True,
) -> Ending:
    """Brings a release to a target.

    The plan is made from what the target has. So a second call does nothing that is done, wherever the first one ended,
    and a release that is served already changes nothing. Only a rollback that was cut off is not planned anew: it goes
    on, or the release that failed would be tried again.

    Args:
        who: the person, for the journal.
        is_watched: whether to wait for the rollout's end.

    Raises:
        ConflictError: another deployment to this target is under way.
        DivisionsError: a step failed; it and those after it are told.
    """
    with journal.locked(target.name):
        number, before = journal.begin(target.name, release, who)
        if before is not None:
            console.resumed(before)
        walk = _Walk(target, release, journal, console, clock, number)
        walk.do((target.login,))
        ending = Ending.REGRESSED
        if _ROLLBACK_DUE not in journal.facts(number):
            plan = target.plan(release, is_watched=is_watched)
            console.planned(release, target.name, plan)
            ending = walk.do(plan.steps)
        if ending is Ending.REGRESSED:
            ending = walk.do((Step("rollback", f"Roll {release} back", Act.ROLLBACK),))
        journal.end(number, ending)
        console.ended(release, target.name, ending)
        return ending


class _Walk:
    """Does the steps of one deployment."""

    def __init__(
        self,
        target: Target,
        release: Release,
        journal: DeploymentJournal,
        console: Console,
        clock: Clock,
        number: int,
    ) -> None:
        self._target = target
        self._release = release
        self._journal = journal
        self._console = console
        self._clock = clock
        self._number = number

    def do(self, steps: Sequence[Step]) -> Ending:
        """Does the steps in order; the last that decides the ending does so."""
        ending = Ending.UNCHANGED
        for step in steps:
            receipt = self._do(step, steps)
            ending = receipt.ending or ending
        return ending

    def _do(self, step: Step, steps: Sequence[Step]) -> Receipt:
        self._console.began(step)
        self._journal.step_began(self._number, step)
        began_s = self._clock.monotonic_s()
        work = Work(
            self._release,
            lambda line: self._console.said(step, line),
            lambda key, value: self._journal.note(self._number, key, value),
            self._journal.facts(self._number),
        )
        try:
            receipt = self._call(step)(work)
        except DivisionsError as error:
            self._journal.step_ended(self._number, step, error=str(error))
            self._console.failed(step, error, self._clock.monotonic_s() - began_s, steps)
            raise
        if receipt.ending is Ending.REGRESSED:
            self._journal.note(self._number, _ROLLBACK_DUE, receipt.detail)
        self._journal.step_ended(self._number, step, detail=receipt.detail)
        self._console.done(step, receipt, self._clock.monotonic_s() - began_s)
        return receipt

    def _call(self, step: Step) -> Callable[[Work], Receipt]:
        match step.act:
            case Act.AUTHENTICATE:
                return lambda work: self._target.authenticate()
            case Act.APPLY:
                return lambda work: self._target.apply(step, work)
            case Act.WATCH:
                return self._target.watch
            case Act.ROLLBACK:
                return lambda work: replace(self._target.rollback(work), ending=Ending.ROLLED_BACK)
