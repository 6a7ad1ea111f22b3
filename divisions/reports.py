"""What gateways report to the controller once a second: counts, splits, trials of salts, trips of breakers.

Frozen structs, sent as msgpack. The controller merges the reports of all gateways (`router.rollouts.monitor`).
"""

from __future__ import annotations

import msgspec

from divisions.prediction_log import LogCount


class VersionReport(msgspec.Struct, frozen=True):
    """One gateway's counts of one version, of the requests that *arrived* in one tick.

    ``buckets`` maps a log-bucket's index (see `router.evidence.histogram`) to a count; failures and timeouts are in the
    overflow bucket. ``requests`` counts arrivals, ``errors`` those that failed. ``scores`` are counts of answers by
    bin of score (see `router.evidence.drift`), empty while no rollout compares versions.
    """

    app_name: str
    requests: int
    errors: int
    buckets: dict[int, int]
    scores: dict[int, int] = {}


class SaltScores(msgspec.Struct, frozen=True):
    """How one gateway's last minute of traffic would have been split by each candidate salt (see
    `router.evidence.salts`).

    Each row is ``requests, slow, slow, slow``, by `router.evidence.salts.QUANTILES`. ``total`` are all requests of the
    minute, ``heavy`` those of the customers tried, and ``canary`` holds for each candidate what of ``heavy`` would
    have been the canary's: one such row after the other for each of the route's ``trial_bp``. Rows add up over
    gateways.
    """

    base: str
    total: tuple[int, ...]
    heavy: tuple[int, ...]
    canary: tuple[tuple[int, ...], ...]


class ArmSample(msgspec.Struct, frozen=True):
    """Customers that are new on one arm since the last report.

    ``digests`` are those in the counted part (see `router.evidence.sample_ratio`). ``inputs`` counts some of these
    customers' rows, feature by feature, in the bins of stable's training data: ``num_rows`` of them.
    """

    digests: tuple[int, ...] = ()
    inputs: tuple[tuple[int, ...], ...] = ()
    num_rows: int = 0


class SplitReport(msgspec.Struct, frozen=True):
    """How one gateway has split an endpoint's customers since its last report, by which salt and weight.

    ``level`` says which part of the customers is counted. ``features`` are the names that ``inputs`` follow.
    """

    salt: str
    weight_bp: int
    level: int
    stable: ArmSample
    canary: ArmSample
    features: tuple[str, ...] = ()


class BreakerTrip(msgspec.Struct, frozen=True):
    """A gateway sends nothing more to a rollout's canary, because it fails grossly. Repeated until the rollout ends."""

    salt: str
    app_name: str
    log_e: float
    threshold: float
    stable_requests: int
    stable_errors: int
    canary_requests: int
    canary_errors: int


class InputSample(msgspec.Struct, frozen=True):
    """Some rows that stable has answered since the last report, for the drift of its inputs and predictions.

    ``digests`` has the customer of each row as a hash, 64 bits little-endian. ``bins`` has for each row its bins of
    all features, then of its score, 16 bits each; they are those of the bundle with ``bundle_sha256``.
    """

    bundle_sha256: str
    digests: bytes
    bins: bytes


class EndpointReport(msgspec.Struct, frozen=True):
    endpoint: str
    versions: tuple[VersionReport, ...]
    split: SplitReport | None = None
    salts: SaltScores | None = None
    trip: BreakerTrip | None = None
    inputs: InputSample | None = None


class VersionLoad(msgspec.Struct, frozen=True):
    """What one gateway asked of one version since its last report, whoever the caller was.

    ``rows`` were answered in ``batches``; ``refused`` rows were not taken, because they could not be answered in time.
    ``queued`` rows wait now. ``intercept_s`` and ``slope_s`` are the running fit of a batch's duration. ``channels``
    are the replicas that are connected.
    """

    app_name: str
    rows: int
    batches: int
    refused: int
    queued: int
    intercept_s: float
    slope_s: float
    channels: int


class Refused(msgspec.Struct, frozen=True):
    """Requests to control routes that a gateway has refused alike, for the audit log. ``address`` is a network."""

    who: str
    role: str
    address: str
    action: str
    subject: str
    status: int
    count: int


class GatewayReport(msgspec.Struct, frozen=True):
    """One gateway's report of one tick of one second; merged once by (gateway_id, epoch, tick).

    ``tick`` is the host's monotonic second in which the requests arrived; ``epoch`` the table they were split by.
    ``token_uses`` are the ids of tokens that were used since the last report.
    ``asked`` are the predictions that each principal with a limit has asked for since the last report.
    ``loads`` are of the last ``load_span_s`` seconds, whatever the tick; without them the span is 0. ``logged`` counts
    since the gateway's start. ``refused`` is of the last minute.
    """

    gateway_id: str
    epoch: int
    tick: int
    endpoints: tuple[EndpointReport, ...]
    open_connections: int = 0
    loads: tuple[VersionLoad, ...] = ()
    load_span_s: float = 0.0
    token_uses: tuple[str, ...] = ()
    logged: tuple[LogCount, ...] = ()
    asked: tuple[tuple[str, int], ...] = ()
    refused: tuple[Refused, ...] = ()


class LimitShares(msgspec.Struct, frozen=True):
    """The part of each principal's limits that one gateway grants, by name. It is an equal part for all others."""

    gateways: int = 1
    by_name: dict[str, float] = {}
