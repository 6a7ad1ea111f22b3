"""What a comparison needs of a system: a name, and to be up for a while."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from benchmarks.bench_bundle import Workload


class Peer(Protocol):
    """One system in one configuration."""

    @property
    def name(self) -> str: ...

    def serving(self, workload: Workload, work: Path) -> AbstractContextManager[str]:
        """Starts it, yields the URL to post ``workload.body`` to when that is answered, and stops it.

        Args:
            workload: what to serve.
            work: an empty folder for its files and logs.
        """
        ...
