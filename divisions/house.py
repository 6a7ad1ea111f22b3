"""The whole house as one document: what the page at ``/`` shows, and the client's ``house()``. Structs, as in
`divisions.status`.

A document is made of sections, which are sent and kept apart (`SECTIONS`). What is not known is None, and never 0:
`Source` tells what does not answer. Times are seconds since the Unix epoch. Lists have a bound; ``left_out`` counts
what is not there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from divisions.drift import EndpointDrift
from divisions.house_rows import Deployments, Pipelines, Pods, RegistryTable, Runs
from divisions.status import HistoryEntry


class Link(msgspec.Struct, frozen=True):
    """Another tool's page, such as MLflow's."""

    name: str
    url: str


class About(msgspec.Struct, frozen=True):
    """The installation. ``public`` are the sections that are shown without a token."""

    release: str
    controller_started_at_s: float
    controller_restarts: int
    gateways: tuple[str, ...]
    nodes: int
    links: tuple[Link, ...] = ()
    public: tuple[str, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """Where values come from. ``state`` is ``ok``, ``waiting`` (not read since the controller started) or ``away``:
    then what it told at ``read_at_s`` stands."""

    name: str
    state: str
    read_at_s: float | None = None
    reason: str = ""


class VersionTraffic(msgspec.Struct, frozen=True):
    """A version's traffic of the window. ``role`` is stable, canary, or empty for one that has no weight any more.

    Latencies are from arrival to reply. A quantile is None without traffic, and where it falls among failed requests.
    """

    endpoint: str
    model: str
    version: str
    role: str
    weight_bp: int
    requests: int
    errors: int
    requests_per_s: float
    errors_per_s: float
    error_ratio: float | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None


class LiveMetrics(msgspec.Struct, frozen=True):
    """LiveMetrics metrics. ``at_s`` is the controller's clock; rates and quantiles are of the last ``window_s``.

    ``latency_ms`` is the mean of the window, ``latency_before_ms`` that of the five minutes before it, and
    ``latency_trend`` how they differ: -0.12 is 12 % faster. ``drift_unknown`` counts endpoints without a comparison.
    """

    at_s: float
    window_s: int
    active_pipelines: int | None = None
    running_pipelines: int | None = None
    scheduled_pipelines: int | None = None
    late_pipelines: int | None = None
    paused_pipelines: int | None = None
    models: int | None = None
    versions_total: int | None = None
    pending_versions: int | None = None
    latency_ms: float | None = None
    latency_before_ms: float | None = None
    latency_trend: float | None = None
    drift_alerts: int = 0
    drift_unknown: int = 0
    requests: int | None = None
    errors: int | None = None
    requests_per_s: float | None = None
    errors_per_s: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    versions: tuple[VersionTraffic, ...] = ()


class Series(msgspec.Struct, frozen=True):
    """Rows of numbers over time, oldest first; the first column is ``at_s``."""

    step_s: int
    columns: tuple[str, ...]
    points: tuple[tuple[float | None, ...], ...] = ()


class LatestRun(msgspec.Struct, frozen=True):
    """The newest run, and how far it has come. Names are empty for what it has not reached."""

    pipeline: str
    run_id: str
    status: str
    started_at_s: float
    ended_at_s: float
    model: str = ""
    version: str = ""
    endpoint: str = ""


class Stage(msgspec.Struct, frozen=True):
    """One of six. ``state`` is ``idle``, ``waiting``, ``running``, ``held``, ``done``, ``failed``, ``watching``,
    ``alert`` or ``unknown``. ``at_s`` is since when, if that is known."""

    id: str
    title: str
    state: str
    detail: str = ""
    at_s: float | None = None


class Stages(msgspec.Struct, frozen=True):
    latest: LatestRun | None
    stages: tuple[Stage, ...]


class RolloutLine(msgspec.Struct, frozen=True):
    """An endpoint's latest rollout in short; the status has the rest."""

    endpoint: str
    model: str
    phase: str
    generation: int
    step_index: int
    steps_bp: tuple[int, ...]
    set_weight_bp: int
    actual_weight_bp: int
    stable_version: str | None
    canary_version: str | None
    message: str
    rollback_reason: str
    started_at_s: float
    phase_since_s: float


class DriftSection(msgspec.Struct, frozen=True):
    """Every endpoint's drift, features with the greatest score first. Only the first ones have histograms."""

    endpoints: tuple[EndpointDrift, ...] = ()
    left_out: int = 0


class RolloutCurve(msgspec.Struct, frozen=True):
    """How an endpoint's latest rollout went, second by second, later in longer steps. ``rollout`` tells rollouts of an
    endpoint apart. A row of None is a gap: the controller was away."""

    endpoint: str
    rollout: int
    stable_version: str | None
    canary_version: str
    phase: str
    step_s: int
    columns: tuple[str, ...]
    points: tuple[tuple[float | None, ...], ...] = ()
    marks: tuple[HistoryEntry, ...] = ()


class House(msgspec.Struct, frozen=True):
    """Sections that the reader may not see are None."""

    about: About | None = None
    sources: tuple[Source, ...] | None = None
    live: LiveMetrics | None = None
    history: Series | None = None
    stages: Stages | None = None
    pipelines: Pipelines | None = None
    registry: RegistryTable | None = None
    runs: Runs | None = None
    pods: Pods | None = None
    rollouts: tuple[RolloutLine, ...] | None = None
    deployments: Deployments | None = None
    drift: DriftSection | None = None
    curves: tuple[RolloutCurve, ...] | None = None


SECTIONS: Final = tuple(House.__struct_fields__)
