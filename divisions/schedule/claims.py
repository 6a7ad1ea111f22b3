"""A scheduled run reports of itself: that it begins, once, and how it ended."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import ClusterError
from divisions.schedule.decisions import claim, ended
from divisions.schedule.state import Outcome, Schedule
from divisions.schedule.state_file import change_schedule


@dataclass(frozen=True, slots=True)
class EndReport:
    """The reports of one run. With an empty ``job_id``, which no schedule knows, they do nothing."""

    home: Path
    job_id: str

    def begins(self) -> bool:
        """Whether the run may begin. False if it has begun before, or the schedule does not expect it.

        Raises:
            ClusterError: the schedule cannot be read or written.
        """
        return not self.job_id or change_schedule(self.home, lambda one: claim(one, self.job_id)) is not None

    def succeeded(self, message: str, run_id: str) -> None:
        self._end(Outcome.SUCCEEDED, message, run_id)

    def failed(self, message: str) -> None:
        self._end(Outcome.FAILED, message)

    def _end(self, outcome: Outcome, message: str, run_id: str = "") -> None:
        """Notes the end. If that fails, the scheduler learns it from Ray."""

        def end(schedule: Schedule) -> Schedule | None:
            entry = schedule.of_job(self.job_id)
            if entry is None:
                return None
            return schedule.with_entry(ended(entry, self.job_id, outcome, message, run_id))

        if self.job_id:
            with contextlib.suppress(ClusterError):
                change_schedule(self.home, end)
