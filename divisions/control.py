"""The structs of the control plane: specs, routing tables, registrations and status.

They are frozen, and go over HTTP, Ray and the journal as JSON or msgpack. `divisions.reports` has reports.
Weights are in basis points (bp): 10,000 bp are all of an endpoint's traffic.
"""

from __future__ import annotations

import enum

import msgspec

from divisions.access.tokens import AccessList
from divisions.analysis_spec import AnalysisSpec
from divisions.drift import DriftSummary
from divisions.inventory import Inventory
from divisions.notice import NoticeCounts, SpanCounts
from divisions.prediction_log import LogCount, LogPolicy
from divisions.promotion import NO_POLICY, GateStatus, PromotionPolicy
from divisions.scaling import Scaling, VersionScale
from divisions.schema import FeatureSchema

FULL_BP = 10_000


class Placement(enum.StrEnum):
    """Where a version's engines run: in replicas of their own, or inside the gateways (fastest, no isolation)."""

    REPLICAS = "replicas"
    IN_PROCESS = "in_process"


class EngineChoice(enum.StrEnum):
    """The engine that a version runs on. ``auto`` takes the best that works; any other choice must work."""

    AUTO = "auto"
    TENSORRT = "tensorrt"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_CPU = "onnxruntime-cpu"
    TORCH = "torch"


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults to inject into a version's replicas; refused unless the cluster was started with faults allowed.

    ``batch_delay_ms`` is added to every batch. ``error_rate`` and ``nan_rate`` are shares of batches: of those that
    fail, and of those whose scores are NaN. After ``hang_after`` batches a replica never answers again; after
    ``crash_after`` its process ends, and so does each that Ray puts in its place. None means never.
    """

    batch_delay_ms: float = 0.0
    error_rate: float = 0.0
    nan_rate: float = 0.0
    hang_after: int | None = None
    crash_after: int | None = None


class OnlinePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a request that names a customer only; ``serving.online`` of the pipeline file.

    Stored features are stale if they are older than ``max_age_s``; None means that they never are. ``on_missing`` is
    ``error`` or ``default`` (predict with every feature missing), ``on_stale`` also ``serve``. ``on_unavailable`` is as
    ``on_missing``, for customers that a shared store could not be asked for.
    """

    max_age_s: float | None = None
    on_missing: str = "error"
    on_stale: str = "serve"
    on_unavailable: str = "error"


class AccessPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may ask for predictions: with ``require_key``, who has a key. None leaves it as the endpoint has it, see
    `router.rollouts.records.needs_key`; ``serving.access`` of the pipeline file."""

    require_key: bool | None = None


class VersionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything needed to start the replicas of one model version.

    ``num_cpus`` and ``num_gpus`` are per replica, in Ray's units. ``schema`` is the bundle's feature schema.
    ``bundle_path`` is the bundle's address; in records of older releases, it is a path (`divisions.artifacts.local`).
    ``vram_gb`` is the memory of a whole GPU, of which a replica may use its share; None means all that the GPU has.
    ``online`` is for gateways; the stable version's holds. ``scaling`` makes ``replicas`` follow the load.
    ``nodes`` are labels that a replica's node must have. A probability of at least ``decision_threshold`` means yes;
    without it, answers have the probability only. ``log`` says what gateways log of its answers. ``access`` is for
    gateways, too.
    """

    model: str
    version: str
    bundle_path: str
    bundle_sha256: str
    schema: FeatureSchema
    replicas: int = 2
    num_cpus: float = 0.5
    num_gpus: float = 0.0
    accelerator_type: str | None = None
    max_batch: int = 256
    faults: Faults | None = None
    registry_version: int = 0
    run_id: str = ""
    placement: Placement = Placement.REPLICAS
    engine: EngineChoice = EngineChoice.AUTO
    vram_gb: float | None = None
    online: OnlinePolicy = OnlinePolicy()
    scaling: Scaling | None = None
    nodes: dict[str, str] = {}
    decision_threshold: float | None = None
    log: LogPolicy | None = None
    access: AccessPolicy = AccessPolicy()

    @property
    def gpu(self) -> str:
        """A replica's share of a GPU, for people: ``T4/0.5``; empty without a GPU."""
        return f"{self.accelerator_type or 'GPU'}/{self.num_gpus:g}" if self.num_gpus else ""

    @property
    def app_name(self) -> str:
        """The name of this version's Ray Serve application."""
        return f"{self.model}-v{self.version}"


class RolloutSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to bring ``version`` to all of ``endpoint``'s traffic in ``steps_bp`` (rising; the last is 10,000)."""

    endpoint: str
    version: VersionSpec
    steps_bp: tuple[int, ...] = (2_000, 5_000, 10_000)
    analysis: AnalysisSpec = AnalysisSpec()
    rollback_policy: str = "auto"
    policy: PromotionPolicy = NO_POLICY


class ReplicaAddress(msgspec.Struct, frozen=True):
    """Where a warm replica listens. ``tcp`` is ``host:port``, empty when the replica listens on no port.

    ``engine_note`` says why no better engine than ``engine`` is used; empty when it is the best.
    """

    replica_id: str
    app_name: str
    node_id: str
    unix_path: str
    tcp: str
    max_batch: int
    pid: int = 0
    engine: str = ""
    started_at_s: float = 0.0
    engine_note: str = ""


class VersionRoute(msgspec.Struct, frozen=True):
    """One version's share of an endpoint's traffic, and the replicas that answer it."""

    version: VersionSpec
    weight_bp: int
    is_canary: bool
    replicas: tuple[ReplicaAddress, ...] = ()


class EndpointRoute(msgspec.Struct, frozen=True):
    """How one endpoint's traffic is split: stable first, then at most one canary. Weights sum to 10,000.

    ``salt`` tells rollouts apart. ``trial_bp`` are the canary's future weights while salts are tried for them.
    ``mirror_bp`` is the share of stable's requests that are copied to the canary; its answers are dropped.
    ``warmup_s`` and ``warmup_requests`` say how long a new replica is not judged. ``needs_key``: predictions need a
    key, whatever the versions say.
    """

    endpoint: str
    salt: str
    versions: tuple[VersionRoute, ...]
    trial_bp: tuple[int, ...] = ()
    mirror_bp: int = 0
    warmup_s: float = 0.0
    warmup_requests: int = 0
    needs_key: bool = False


class RoutingTable(msgspec.Struct, frozen=True):
    """What gateways route by. They take a table only if its ``epoch`` is higher than that of their own."""

    epoch: int
    endpoints: tuple[EndpointRoute, ...] = ()
    hosted: tuple[VersionSpec, ...] = ()
    """Versions that every gateway runs in its own process, also those without traffic yet."""
    access: AccessList = AccessList()
    """Who has a token. It has a serial of its own, and is taken whatever the epoch."""


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


class RolloutCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's command: ``pause``, ``resume``, ``promote``, ``abort``, ``rollback`` or ``scale``.

    ``to`` names the version of a rollback; None means the one that served before. ``generation`` is the caller's
    If-Match: the command is refused with `ConflictError` when the rollout has moved on; None accepts any. ``replicas``
    and ``version`` (None: every one of the endpoint) are for ``scale``; ``force`` scales even where there is no room.
    ``reason`` is told with ``abort``, ``rollback`` and ``promote``; ``break_glass`` promotes without the policy.
    """

    endpoint: str
    command: str
    to: str | None = None
    generation: int | None = None
    who: str = "operator"
    replicas: int | None = None
    version: str | None = None
    force: bool = False
    reason: str = ""
    break_glass: bool = False


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
