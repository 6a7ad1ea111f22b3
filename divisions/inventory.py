"""What a cluster has beside its rollouts: versions, runs, pipelines, features, plans, GPUs. Structs, as in
`divisions.status`. The controller gathers them in the background, because they cost I/O."""

from __future__ import annotations

import msgspec


class VersionCount(msgspec.Struct, frozen=True):
    """How many versions of a model are in a state: ``production``, ``staging``, ``passed``, ``pending``, ``failed`` or
    ``archived``."""

    model: str
    state: str
    count: int


class RunCount(msgspec.Struct, frozen=True):
    """How many training runs of a pipeline have a status of MLflow, such as ``FINISHED``."""

    pipeline: str
    status: str
    count: int


class PipelineState(msgspec.Struct, frozen=True):
    """A pipeline with a trigger.

    ``is_active``: it is not paused, and its file can be used. ``lag_s`` is how long the oldest run that has not begun
    is overdue. ``has_failed``: its last run failed, or was lost.
    """

    pipeline: str
    is_active: bool
    is_running: bool
    lag_s: float
    has_failed: bool
    is_paused: bool = False


class FeatureFreshness(msgspec.Struct, frozen=True):
    """The newest event time of an endpoint's stored features, in seconds since the Unix epoch, by a sample."""

    endpoint: str
    newest_s: float


class GpuNode(msgspec.Struct, frozen=True):
    """A node's GPUs, and how much of them is booked; shares of a GPU count as such."""

    node: str
    gpus: float
    booked: float


class LiveAuc(msgspec.Struct, frozen=True):
    """How well a version did on customers whose outcome is known, see `divisions.outcomes`."""

    endpoint: str
    version: str
    outcomes: int
    auc: float
    lower: float
    upper: float
    calibration_error: float
    gate: float
    is_below_gate: bool


class Inventory(msgspec.Struct, frozen=True):
    """``unreachable`` names what did not answer lately: ``registry``, ``artifacts``. What it last told stands."""

    versions: tuple[VersionCount, ...] = ()
    runs: tuple[RunCount, ...] = ()
    pipelines: tuple[PipelineState, ...] = ()
    features: tuple[FeatureFreshness, ...] = ()
    plans: int = 0
    plan_bytes: int = 0
    gpus: tuple[GpuNode, ...] = ()
    unreachable: tuple[str, ...] = ()
    live_aucs: tuple[LiveAuc, ...] = ()
