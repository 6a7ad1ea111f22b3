"""What a comparison needs of a system: a name, what it is set to, and to be up for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.harness.bench_bundle import Workload


@dataclass(frozen=True, slots=True)
class Served:
    """Where a system answers, and the body it is posted there: the workload's own, unless its protocol has another."""

    url: str
    body: bytes


class Peer(Protocol):
    """One system in one configuration."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str:
        """How it is set, in a sentence; stands in the results."""
        ...

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """Makes sure that it is installed; what it needs goes below ``build`` and is kept for the next time.

        Raises:
            InputError: it cannot be; the system is then reported as absent.
        """
        ...

    def serving(self, workload: Workload, work: Path) -> AbstractContextManager[Served]:
        """Starts it, yields where it answers once it does, and stops it.

        Args:
            workload: what to serve.
            work: an empty folder for its files and logs.
        """
        ...
