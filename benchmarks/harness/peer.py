"""What a comparison needs of a system: a name, its settings in words, and a way to run it for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.harness.bench_bundle import Workload


@dataclass(frozen=True, slots=True)
class Served:
    """Where a system answers, and the body to post there: the workload's own, unless its protocol needs another."""

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
        """Makes sure that the system is installed. Its files go below ``build`` and are kept for the next time.

        Raises:
            InputError: it cannot be installed; the system is then reported as absent.
        """
        ...

    def serving(self, workload: Workload, work: Path) -> AbstractContextManager[Served]:
        """Starts the system, yields its address as soon as it answers, and stops it.

        Args:
            workload: what to serve.
            work: an empty folder for its files and logs.
        """
        ...
