"""What people are told of a cluster: how its rollouts stand, with their evidence, its replicas and its machines.

The structs are frozen, and go over HTTP, Ray and, with rollouts, the journal. Weights are in basis points (bp).
"""

from __future__ import annotations

import msgspec

from divisions.drift import DriftSummary
from divisions.inventory import Inventory
from divisions.notice import NoticeCounts, SpanCounts
from divisions.prediction_log import LogCount
from divisions.promotion import GateStatus
from divisions.scaling import VersionScale


class HistoryEntry(msgspec.Struct, frozen=True):
    """One line of a rollout's history."""

    at_s: float
    phase: str
    weight_bp: int
    message: str


class Explanation(msgspec.Struct, frozen=True):
    """Why a rollout was rolled back or held: the guard that decided, with its counts.

    ``guard`` is ``latency``, ``errors``, ``breaker``, ``split``, ``inputs``, ``predictions``, ``undecided``,
    ``replicas``, ``deploy``, ``journal`` or ``operator``. ``quantile`` and ``threshold_ms`` are of latency only.
    ``*_exceeded`` counts requests over the threshold (latency) or failed ones (errors) among ``*_requests`` of the last
    ``window_s`` seconds. A quantile is None if more than that share failed: it is infinite.
    """

    guard: str
    text: str
    log_e: float = 0.0
    threshold: float = 0.0
    quantile: float = 0.0
    ratio: float = 0.0
    threshold_ms: float | None = None
    stable_requests: int = 0
    canary_requests: int = 0
    stable_exceeded: int = 0
    canary_exceeded: int = 0
    stable_quantile_ms: float | None = None
    canary_quantile_ms: float | None = None
    window_s: float = 0.0


class Evidence(msgspec.Struct, frozen=True):
    """The guards' present evidence. A rollout rolls back when a ``log_e`` reaches its threshold, ln(1/alpha).

    ``min_detectable`` is the smallest slow-down of the median, as a ratio, that the traffic of the current step
    lets the latency guard find; None without traffic. ``split_log_e`` is about the realised weights, over distinct
    customers of the present step (a random part of many). Drifts are corrected indices, 0 while there is too little;
    ``training_drift`` compares both arms with stable's training data and only warns. ``is_frozen``: stable has none
    left, and its last is weaker evidence. ``stable_applied``: its requests since every gateway splits by the weight.
    """

    latency_log_e: float = 0.0
    error_log_e: float = 0.0
    threshold: float = 0.0
    error_threshold: float = 0.0
    ticks: int = 0
    stable_requests: int = 0
    canary_requests: int = 0
    stable_errors: int = 0
    canary_errors: int = 0
    min_detectable: float | None = None
    split_log_e: float = 0.0
    split_threshold: float = 0.0
    stable_customers: int = 0
    canary_customers: int = 0
    input_drift: float = 0.0
    input_drift_feature: str = ""
    prediction_drift: float = 0.0
    training_drift: float = 0.0
    training_drift_feature: str = ""
    is_frozen: bool = False
    stable_applied: int = 0


class RolloutStatus(msgspec.Struct, frozen=True):
    """Everything about the latest rollout of an endpoint.

    ``phase`` is a `router.rollouts.canary.Phase`: PENDING, WARMING, STEP, BAKE, PROMOTED, HOLD, ROLLING_BACK, DRAINING
    or ROLLED_BACK. ``set_weight_bp`` is the share that the canary should have, ``actual_weight_bp`` its share in
    the published routing table. ``canary_requests`` are those judged in the current step; ``step_index`` counts from 0.
    ``unwritten`` says why this state is not on disk yet; empty if it is. ``is_compared`` is false for a first version
    and for a rollback: they get all traffic at once, without steps. ``previous_version`` served before the stable one.
    """

    endpoint: str
    model: str
    phase: str
    generation: int
    epoch: int
    step_index: int
    steps_bp: tuple[int, ...]
    set_weight_bp: int
    actual_weight_bp: int
    stable_version: str | None
    canary_version: str | None
    message: str
    rollback_reason: str
    evidence: Evidence
    canary_requests: int
    started_at_s: float
    phase_since_s: float
    history: tuple[HistoryEntry, ...] = ()
    explanation: Explanation | None = None
    spec_sha256: str = ""
    stable_replicas: int = 0
    canary_replicas: int = 0
    wanted_stable_replicas: int = 0
    wanted_canary_replicas: int = 0
    unwritten: str = ""
    is_compared: bool = True
    previous_version: str | None = None
    gate: GateStatus | None = None
    who: str = ""


class ReplicaStatus(msgspec.Struct, frozen=True):
    """One row of ``divisions status``. ``role`` is stable, canary, warm (kept for a way back) or idle.

    ``reason`` says in one line why it is not ready. A version whose replicas do not start has a row of its own: its
    name, and the status ``Failing``.
    """

    name: str
    ready: bool
    status: str
    restarts: int
    age_s: float
    ip: str
    node: str
    gpu: str
    version: str
    role: str
    weight_bp: int
    pid: int
    engine: str
    engine_note: str = ""
    reason: str = ""


class NodeStatus(msgspec.Struct, frozen=True):
    """One machine of the cluster.

    ``state`` is ``alive``, ``joining`` (it has no settings and tokens yet), ``refused`` (see ``reason``), ``leaving``
    or ``lost``.
    ``gateway`` is the URL of its gateways, empty if it is to have none; ``gateways`` is how many it has, of
    ``wanted_gateways``.
    """

    node_id: str
    address: str
    hostname: str
    state: str
    gateway: str = ""
    gateways: int = 0
    wanted_gateways: int = 0
    replicas: int = 0
    has_controller: bool = False
    reason: str = ""


class RollbackCount(msgspec.Struct, frozen=True):
    """How many rollouts of an endpoint a guard has rolled back, ever."""

    endpoint: str
    guard: str
    count: int


class ControllerStatus(msgspec.Struct, frozen=True):
    """The controller's answer to ``divisions status``.

    ``journal_fault`` says why the journal cannot be written, and since when; ``unwritten`` counts what waits for it.
    ``policy_fault`` says why the policy's folder does not decide; both may be empty. ``notices`` counts what was told
    by webhook, ``spans`` those of traces, ``logged`` rows of the prediction log.
    """

    epoch: int
    replicas: tuple[ReplicaStatus, ...] = ()
    rollouts: tuple[RolloutStatus, ...] = ()
    gateways: tuple[str, ...] = ()
    started_at_s: float = 0.0
    restarts: int = 0
    rollbacks: tuple[RollbackCount, ...] = ()
    journal_fault: str = ""
    unwritten: int = 0
    scales: tuple[VersionScale, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    inventory: Inventory = Inventory()
    drift: tuple[DriftSummary, ...] = ()
    notices: NoticeCounts = NoticeCounts()
    spans: SpanCounts = SpanCounts()
    logged: tuple[LogCount, ...] = ()
    policy_fault: str = ""
