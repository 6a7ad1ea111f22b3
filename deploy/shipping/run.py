"""Walks the plan of a deployment: each step is noted, done, and noted again."""

from __future__ import annotations

from deploy.shipping.console import Console
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Receipt, Release
from deploy.shipping.target import Target
from divisions.clock import Clock
from divisions.errors import DivisionsError


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
    and a release that is served already changes nothing.

    Args:
        who: the person, for the journal.
        is_watched: whether to wait for the rollout's end.

    Raises:
        ConflictError: another deployment to this target is under way.
        DivisionsError: a step failed; it and those after it are told.
    """
    with journal.locked(target.name):
        plan = target.plan(release, is_watched=is_watched)
        console.planned(release, target.name, plan)
        number, before = journal.begin(target.name, release, who)
        if before is not None:
            console.resumed(before)
        ending = Ending.UNCHANGED
        for step in plan.steps:
            console.began(step)
            journal.step_began(number, step)
            began_s = clock.monotonic_s()
            try:
                receipt: Receipt = target.apply(step, release, lambda line, step=step: console.said(step, line))  # type: ignore[misc]
            except DivisionsError as error:
                journal.step_ended(number, step, error=str(error))
                console.failed(step, error, clock.monotonic_s() - began_s, plan.steps)
                raise
            journal.step_ended(number, step, detail=receipt.detail)
            console.done(step, receipt, clock.monotonic_s() - began_s)
            ending = receipt.ending or ending
        journal.end(number, ending)
        console.ended(release, target.name, ending)
        return ending
