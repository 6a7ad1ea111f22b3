"""What every stage of a run works with."""

from __future__ import annotations

from dataclasses import dataclass

from divisions.clock import Clock
from divisions.progress import Progress
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.traces.work import WorkTraces
from trainers.training.compute import Compute


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a run is given. ``compute`` is where it prepares data and trains; ``traces`` sends its spans."""

    settings: Settings
    registry: Registry
    compute: Compute
    progress: Progress
    clock: Clock
    traces: WorkTraces | None = None
