"""What travels on the control plane: specs, routing tables, registrations and reports.

Structs are frozen and go over HTTP, Ray and the journal as JSON or msgpack through msgspec.
Weights are in basis points (bp): 10,000 bp are all of an endpoint's traffic.
"""

from __future__ import annotations

import msgspec

from divisions.schema import FeatureSchema

FULL_BP = 10_000


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Faults to inject into a version's replicas; refused unless the cluster was started with faults allowed."""

    batch_delay_ms: float = 0.0
    error_rate: float = 0.0


class VersionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is needed to start the replicas of one model version.

    ``num_cpus`` and ``num_gpus`` are per replica, in Ray's units. ``schema`` is the bundle's feature schema.
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

    @property
    def app_name(self) -> str:
        """The name of this version's Ray Serve application."""
        return f"{self.model}-v{self.version}"


class AnalysisSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a rollout is judged; ``deployment.analysis`` of the pipeline file. Reasons are in docs/rollouts.md.

    ``tolerance`` is delta of the null hypothesis: the canary is no slower than (1 + tolerance) x stable.
    ``min_samples`` are canary requests needed before a step may pass, one per step; the last one repeats.
    """

    tolerance: float = 0.104
    alpha: float = 0.01
    error_alpha: float = 0.005
    min_dwell_s: float = 60.0
    max_dwell_s: float = 600.0
    min_samples: tuple[int, ...] = (3000, 5500)
    bake_s: float = 300.0
    warmup_s: float = 30.0
    warmup_requests: int = 200
    holdback_bp: int = 300
    deploy_deadline_s: float = 180.0
    drain_s: float = 5.0
    keep_stable_s: float = 600.0
    guards: tuple[str, ...] = ("latency", "errors")


class RolloutSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish: bring ``version`` to all of ``endpoint``'s traffic in ``steps_bp`` (rising, the last is 10,000)."""

    endpoint: str
    version: VersionSpec
    steps_bp: tuple[int, ...] = (2_000, 5_000, 10_000)
    analysis: AnalysisSpec = AnalysisSpec()
    rollback_policy: str = "auto"


class ReplicaAddress(msgspec.Struct, frozen=True):
    """Where a warm replica listens. ``tcp`` is ``host:port``, empty when the replica listens on no port."""

    replica_id: str
    app_name: str
    node_id: str
    unix_path: str
    tcp: str
    max_batch: int
    pid: int = 0
    engine: str = ""
    started_at_s: float = 0.0


class VersionRoute(msgspec.Struct, frozen=True):
    """One version's share of an endpoint's traffic, and the replicas that answer it."""

    version: VersionSpec
    weight_bp: int
    is_canary: bool
    replicas: tuple[ReplicaAddress, ...] = ()


class EndpointRoute(msgspec.Struct, frozen=True):
    """How one endpoint's traffic is split: stable first, then at most one canary. Weights sum to 10,000."""

    endpoint: str
    salt: str
    versions: tuple[VersionRoute, ...]


class RoutingTable(msgspec.Struct, frozen=True):
    """What gateways obey. They take a table only if its ``epoch`` is higher than the one they have."""

    epoch: int
    endpoints: tuple[EndpointRoute, ...] = ()


class VersionReport(msgspec.Struct, frozen=True):
    """What one gateway saw of one version among the requests that *arrived* in one tick.

    ``buckets`` maps a log-bucket's index (see `router.histogram`) to a count; failures and timeouts are in the
    overflow bucket. ``requests`` counts arrivals, ``errors`` those that failed.
    """

    app_name: str
    requests: int
    errors: int
    buckets: dict[int, int]


class EndpointReport(msgspec.Struct, frozen=True):
    endpoint: str
    versions: tuple[VersionReport, ...]


class GatewayReport(msgspec.Struct, frozen=True):
    """One gateway's report of one tick of one second; merged once by (gateway_id, epoch, tick).

    ``tick`` is the host's monotonic second in which the requests arrived; ``epoch`` the table they were split by.
    """

    gateway_id: str
    epoch: int
    tick: int
    endpoints: tuple[EndpointReport, ...]
    open_connections: int = 0
