"""The structs of the control plane: specs, routing tables, registrations and commands.

They are frozen, and go over HTTP, Ray and the journal as JSON or msgpack. `divisions.status` has what people are told,
`divisions.reports` has reports.
Weights are in basis points (bp): 10,000 bp are all of an endpoint's traffic.
"""

from __future__ import annotations

import enum

import msgspec

from divisions.access.tokens import AccessList
from divisions.analysis_spec import AnalysisSpec
from divisions.prediction_log import LogPolicy
from divisions.promotion import NO_POLICY, PromotionPolicy
from divisions.scaling import Scaling
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
