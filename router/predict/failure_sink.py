"""Who is told of attempts that failed: `router.predict.retries` gives them a second one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from router.predict.jobs import Job

if TYPE_CHECKING:
    from router.predict.pool import Pool


class FailureSink(ABC):
    """Takes the jobs whose attempt failed or is late."""

    @abstractmethod
    def attempt_failed(self, pool: Pool, jobs: Sequence[Job], reason: str) -> None:
        """The replica failed, or went away."""

    @abstractmethod
    def attempt_expired(self, jobs: Sequence[Job], reason: str) -> None:
        """The deadline has passed."""

    @abstractmethod
    def attempt_late(self, pool: Pool, jobs: Sequence[Job]) -> None:
        """Half of the time is used. The attempt goes on."""
