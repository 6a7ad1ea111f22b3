"""What people and programs see of a deployment: time-stamped lines, or one JSON object per event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from deploy.shipping.release import Ending, Plan, Receipt, Release, Step, left_after
from divisions.clock import Clock
from divisions.deployments import Deployment
from divisions.errors import DivisionsError, LatchedSpecError


class Console(Protocol):
    """Hears what happens."""

    def planned(self, release: Release, target: str, plan: Plan) -> None: ...

    def resumed(self, before: Deployment) -> None: ...

    def began(self, step: Step) -> None: ...

    def said(self, step: Step, line: str) -> None: ...

    def done(self, step: Step, receipt: Receipt, seconds: float) -> None: ...

    def failed(self, step: Step, error: DivisionsError, seconds: float, steps: Sequence[Step]) -> None:
        """``steps`` is the whole plan."""

    def ended(self, release: Release, target: str, ending: Ending) -> None: ...


class LineConsole:
    """Lines such as ``[12:42:08] ✓ Push the bundle (2.9 s: 1 blob)``. Times are those of the machine's zone."""

    def __init__(self, clock: Clock, write: Callable[[str], None]) -> None:
        self._clock = clock
        self._write = write

    def planned(self, release: Release, target: str, plan: Plan) -> None:
        for line in (*plan.changes, *(f"costs: {cost}" for cost in plan.costs)):
            self._line(f"  {line}")

    def resumed(self, before: Deployment) -> None:
        last = before.last_step
        where = f", which ended in {last.title!r}" if last is not None and (last.ended_s is None or last.error) else ""
        self._line(f"Going on with deployment {before.number}{where}")

    def began(self, step: Step) -> None:
        self._line(f"{step.title} ...")

    def said(self, step: Step, line: str) -> None:
        self._line(f"  {line}")

    def done(self, step: Step, receipt: Receipt, seconds: float) -> None:
        self._line(f"✓ {step.title} ({seconds:.1f} s{f': {receipt.detail}' if receipt.detail else ''})")

    def failed(self, step: Step, error: DivisionsError, seconds: float, steps: Sequence[Step]) -> None:
        self._line(f"✗ {step.title} ({seconds:.1f} s)")
        left = left_after(steps, step)
        if left:
            self._line(f"  not done: {'; '.join(each.title for each in left)}")
        if not isinstance(error, LatchedSpecError):  # the same command would be refused each time
            self._line("  to go on, run the same command again")

    def ended(self, release: Release, target: str, ending: Ending) -> None:
        match ending:
            case Ending.UNCHANGED:
                self._line(f"✓ {target} serves {release} already: nothing was changed")
            case Ending.PROMOTED:
                self._line(f"✓ {release} serves all traffic of {target}")
            case Ending.STARTED:
                self._line(f"✓ {release} was started on {target}; watch it: divisions rollout watch {release.endpoint}")
            case Ending.ROLLED_BACK:
                self._line(f"✗ {release} was rolled back; {target} serves what it served before")
            case Ending.REGRESSED:
                raise AssertionError("a release that regressed is rolled back")

    def _line(self, text: str) -> None:
        now = dt.datetime.fromtimestamp(self._clock.wall_s()).astimezone()
        self._write(f"[{now:%H:%M:%S}] {text}")


class EventConsole:
    """One object per event, each with ``at_s`` (seconds since the Unix epoch) and ``event``."""

    def __init__(self, clock: Clock, write: Callable[[dict[str, Any]], None]) -> None:
        self._clock = clock
        self._write = write

    def planned(self, release: Release, target: str, plan: Plan) -> None:
        self._event(
            "planned",
            target=target,
            model=release.model,
            version=release.version,
            endpoint=release.endpoint,
            steps=[{"name": step.name, "title": step.title} for step in plan.steps],
            changes=list(plan.changes),
            costs=list(plan.costs),
        )

    def resumed(self, before: Deployment) -> None:
        self._event("resumed", deployment=before.number)

    def began(self, step: Step) -> None:
        self._event("began", step=step.name, title=step.title)

    def said(self, step: Step, line: str) -> None:
        self._event("said", step=step.name, line=line)

    def done(self, step: Step, receipt: Receipt, seconds: float) -> None:
        self._event("done", step=step.name, detail=receipt.detail, seconds=round(seconds, 3))

    def failed(self, step: Step, error: DivisionsError, seconds: float, steps: Sequence[Step]) -> None:
        left = [each.name for each in left_after(steps, step)]
        self._event("failed", step=step.name, error=str(error), seconds=round(seconds, 3), not_done=left)

    def ended(self, release: Release, target: str, ending: Ending) -> None:
        self._event("ended", target=target, ending=str(ending))

    def _event(self, event: str, **facts: Any) -> None:
        self._write({"at_s": round(self._clock.wall_s(), 3), "event": event, **facts})
