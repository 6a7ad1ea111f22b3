"""The tables of the house (`divisions.house`): pipeline files, versions, runs, replicas, deployments. Structs."""

from __future__ import annotations

import msgspec

from divisions.inventory import RunCount


class LastRun(msgspec.Struct, frozen=True):
    """How a pipeline's last scheduled run ended, and for which time it ran."""

    at_s: float
    outcome: str
    message: str = ""
    run_id: str = ""


class PipelineFile(msgspec.Struct, frozen=True):
    """A pipeline file, without passwords, and when it runs next. ``text`` is None if it cannot be read, or if there
    are too many; ``fault`` says why."""

    pipeline: str
    path: str
    text: str | None = None
    is_scheduled: bool = False
    expression: str = ""
    zone: str = "UTC"
    next_run_s: float | None = None
    is_paused: bool = False
    is_running: bool = False
    is_active: bool = False
    lag_s: float = 0.0
    fault: str = ""
    last: LastRun | None = None


class Pipelines(msgspec.Struct, frozen=True):
    """None while the schedule was not read."""

    pipelines: tuple[PipelineFile, ...] | None = None
    left_out: int = 0


class VersionRow(msgspec.Struct, frozen=True):
    """A registered version. ``stage`` is Production, Staging, Archived, Passed, Pending or Failed: the first that
    holds."""

    model: str
    version: str
    registry_version: int
    stage: str
    validation: str
    message: str
    size_bytes: int | None
    framework: str
    metrics: dict[str, float]
    created_at_s: float
    run_id: str
    bundle_sha256: str


class RegistryTable(msgspec.Struct, frozen=True):
    """None while the registry was not read."""

    versions: tuple[VersionRow, ...] | None = None
    models: int | None = None
    total: int | None = None
    pending: int | None = None
    left_out: int = 0


class GateRow(msgspec.Struct, frozen=True):
    """A gate of a run. ``value`` and ``is_met`` are None if it was not measured."""

    metric: str
    operator: str
    threshold: float
    value: float | None = None
    is_met: bool | None = None


class RunVersion(msgspec.Struct, frozen=True):
    model: str
    version: str
    stage: str


class RunRow(msgspec.Struct, frozen=True):
    """A training run. ``curves`` has step and value of each metric that was measured more than once; None for older
    runs. ``gpu_util`` is in per cent; None if it was not measured. ``registered_from`` is the version whose
    bundle it has registered again, without a training; empty of all others."""

    run_id: str
    name: str
    pipeline: str
    status: str
    started_at_s: float
    ended_at_s: float
    optimizer: str
    lr_schedule: str
    epochs: int | None
    dataset: str
    gpu_util: float | None
    error: str
    metrics: dict[str, float]
    gates: tuple[GateRow, ...]
    versions: tuple[RunVersion, ...]
    curves: dict[str, tuple[tuple[float, float], ...]] | None = None
    registered_from: str = ""


class Runs(msgspec.Struct, frozen=True):
    """The newest runs; None while they were not read."""

    runs: tuple[RunRow, ...] | None = None
    counts: tuple[RunCount, ...] | None = None
    left_out: int = 0


class Pod(msgspec.Struct, frozen=True):
    """A replica as ``divisions status`` lists it. ``since_s`` is None if it is not known."""

    name: str
    ready: str
    is_ready: bool
    status: str
    restarts: int
    since_s: float | None
    ip: str
    node: str
    gpu: str
    version: str
    role: str
    weight_bp: int
    engine: str
    engine_note: str
    reason: str


class ScaleRow(msgspec.Struct, frozen=True):
    """How many replicas a version has; ``least`` and ``most`` where the number follows the load."""

    endpoint: str
    version: str
    role: str
    ready: int
    wanted: int
    is_automatic: bool
    least: int | None = None
    most: int | None = None
    utilization: float | None = None
    note: str = ""


class Pods(msgspec.Struct, frozen=True):
    replicas: tuple[Pod, ...] = ()
    scales: tuple[ScaleRow, ...] = ()
    left_out: int = 0


class StepRow(msgspec.Struct, frozen=True):
    """A step of a deployment. ``ended_s`` is None while it goes on, or if the process ended in it."""

    name: str
    title: str
    began_s: float
    ended_s: float | None
    detail: str
    error: str


class DeploymentRow(msgspec.Struct, frozen=True):
    """One deployment from the controller's home. ``ending`` is empty while it is unfinished; ``is_under_way`` says
    whether a process works on it, None if that is not known."""

    number: int
    target: str
    model: str
    version: str
    endpoint: str
    who: str
    began_s: float
    ended_s: float | None
    ending: str
    is_under_way: bool | None
    steps: tuple[StepRow, ...]


class Deployments(msgspec.Struct, frozen=True):
    """Newest first; None while they were not read."""

    deployments: tuple[DeploymentRow, ...] | None = None
    left_out: int = 0
