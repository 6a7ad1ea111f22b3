"""The routing table in force: its endpoints, their pools, and the pools of versions that have left the table."""

from __future__ import annotations

import logging
from collections.abc import Callable

from divisions.control import EndpointRoute, Placement, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.errors import InvalidFeaturesError
from router.evidence import split
from router.evidence.drift import NO_BINS, InputBins
from router.predict.answer_log import AnswerLog, LogBuffer
from router.predict.decode import EndpointDecoder
from router.predict.endpoint import Endpoint, EndpointState
from router.predict.failure_sink import FailureSink
from router.predict.in_process_channel import InProcessEngine
from router.predict.jobs import Job
from router.predict.pool import Pool
from router.predict.remote_channels import RemoteChannels

log = logging.getLogger(__name__)


class ActiveRoutes:
    """Applies routing tables. Lives on one event loop.

    Args:
        now_s: monotonic clock.
        token: of the data channel.
        node_id: this gateway's node. Replicas on the same node are preferred.
        read_bins: reads the bins of a version's training data, for drift.
        hosted: the engine of a version that runs in this process, once the engine is warm.
        has_bookkeeping: whether pools and rollouts keep what they observe; see `router.predict.dispatcher`.
        remote: what channels to other nodes share; None for plain TCP.
        log_buffer: takes answers for the prediction log; None logs nothing.
        needs_keys: whether every endpoint asks for keys.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        token: bytes = b"",
        node_id: str = "",
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
        hosted: Callable[[str], tuple[ReplicaAddress, InProcessEngine] | None] = lambda app_name: None,
        has_bookkeeping: bool = True,
        remote: RemoteChannels | None = None,
        log_buffer: LogBuffer | None = None,
        needs_keys: bool = False,
    ) -> None:
        self._needs_keys = needs_keys
        self.epoch = -1
        self._log = log_buffer
        self.is_traced = False
        """Set before the first table, if requests are traced."""
        self._remote = remote
        self.endpoints: dict[str, Endpoint] = {}
        self._now_s = now_s
        self._token = token
        self._node_id = node_id
        self._read_bins = read_bins
        self._hosted = hosted
        self._has_bookkeeping = has_bookkeeping
        self._states: dict[str, EndpointState] = {}
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []

    def apply(self, table: RoutingTable, sink: FailureSink) -> bool:
        """Applies a routing table if it is newer than the present one; returns whether it was.

        Args:
            sink: takes the failed attempts of new pools.
        """
        if table.epoch <= self.epoch:
            return False
        self.epoch = table.epoch
        pools: dict[str, Pool] = {}
        endpoints = {route.endpoint: self._endpoint(route, pools, sink) for route in table.endpoints if route.versions}
        self.endpoints = endpoints
        retired = [pool for name, pool in self._pools.items() if name not in pools]
        self._pools = pools
        self._retired = [pool for pool in self._retired if not pool.is_idle] + retired
        for pool in retired:
            pool.retire()
        return True

    def _endpoint(self, route: EndpointRoute, pools: dict[str, Pool], sink: FailureSink) -> Endpoint:
        stable = next((version for version in route.versions if not version.is_canary), route.versions[0])
        canary = next((version for version in route.versions if version is not stable), None)
        decoder = EndpointDecoder(stable.version.schema, canary.version.schema if canary else None)
        stable_pool = self._pool(stable, decoder, pools, sink)
        canary_pool = None
        if canary is not None:
            try:
                canary_pool = self._pool(canary, decoder, pools, sink)
            except InvalidFeaturesError as error:
                log.error("canary %s gets no traffic: %s", canary.version.app_name, error)
        state = self._states.setdefault(route.endpoint, EndpointState())
        state.follow(route, stable_pool, canary_pool, self._read_bins, is_recording=self._has_bookkeeping)
        endpoint = Endpoint(route, decoder, stable_pool, canary_pool, state, self._needs_keys)
        endpoint.log = self._log_of(endpoint)
        # A rollout compares latencies. Only one arm near would make the other look slow.
        is_fair = canary_pool is None or all(self._is_near(version) for version in route.versions)
        for pool in endpoint.pools:
            pool.free.prefer_local(is_fair)
        if self._has_bookkeeping:
            for pool in endpoint.pools:
                pool.follow(route)
        return endpoint

    def _log_of(self, endpoint: Endpoint) -> AnswerLog | None:
        """Each version has its own policy: the columns that must not be logged differ."""
        logged = {
            pool.spec.app_name: split.threshold(pool.spec.log.sample_bp)
            for pool in endpoint.pools
            if pool.spec.log is not None
        }
        return AnswerLog(self._log, logged) if logged and self._log is not None else None

    def _is_near(self, version: VersionRoute) -> bool:
        return any(replica.node_id == self._node_id for replica in version.replicas)

    def _pool(self, version: VersionRoute, decoder: EndpointDecoder, pools: dict[str, Pool], sink: FailureSink) -> Pool:
        name = version.version.app_name
        encode = decoder.encoder(version.version.schema)
        pool = self._pools.get(name)
        if pool is None:
            pool = Pool(version.version, encode, sink, self._now_s, self._token, self._node_id, self._remote)
            pool.is_traced = self.is_traced
        pool.set_spec(version.version, encode)
        if version.version.placement is Placement.IN_PROCESS:
            pool.set_hosted(self._hosted(name))
        else:
            pool.set_replicas(version.replicas)
        pools[name] = pool
        return pool

    def seek_bins(self) -> None:
        """Asks for the bins of training data, and again for those that were not here when a rollout began."""
        for endpoint in self.endpoints.values():
            endpoint.state.inputs.find_bins(endpoint.stable.spec, self._read_bins)
            monitor = endpoint.state.monitor
            if monitor is not None and not monitor.has_bins:
                monitor.set_bins(self._read_bins(endpoint.stable.spec))

    def hosted_loaded(self, app_name: str) -> None:
        """A version in this process has become ready."""
        pool = self._pools.get(app_name)
        if pool is not None:
            pool.set_hosted(self._hosted(app_name))

    @property
    def is_ready(self) -> bool:
        """Whether every endpoint has a warm replica of its stable version."""
        return bool(self.endpoints) and all(endpoint.stable.ready_channels > 0 for endpoint in self.endpoints.values())

    def pool_named(self, app_name: str) -> Pool | None:
        """The pool of a version, if the table names the version."""
        return self._pools.get(app_name)

    def endpoint_with(self, pool: Pool) -> Endpoint | None:
        """The endpoint that a pool belongs to; None if its version has left the table."""
        return next((endpoint for endpoint in self.endpoints.values() if pool in endpoint.pools), None)

    def endpoint_instead(self, job: Job) -> Endpoint | None:
        """An endpoint that can answer a job whose version has left the table: any that serves the same model."""
        model = job.version.model
        return next((each for each in self.endpoints.values() if each.stable.version.model == model), None)

    def close(self) -> None:
        """Ends every channel; what is in flight fails."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()

    def expire(self) -> None:
        """Gives up attempts that are out of time, and counts answers. Call it every few milliseconds."""
        now_s = self._now_s()
        for pool in (*self._pools.values(), *self._retired):
            pool.expire(now_s)
            pool.tally.fold()
            if self._has_bookkeeping:
                pool.sample.refill()

    def sweep(self) -> None:
        """Has every endpoint check its breaker and go on with its trial of salts. Call it every few milliseconds."""
        now_s = self._now_s()
        for endpoint in self.endpoints.values():
            endpoint.sweep(now_s)
