"""What the controller does once a second: moves every rollout on, and ends what is over."""

from __future__ import annotations

import contextlib

import msgspec

from divisions.clock import Clock
from divisions.errors import JournalUnavailableError
from router.control.analyses import Analyses
from router.control.driver import RolloutDriver
from router.control.endpoints import Endpoints
from router.control.publisher import TablePublisher
from router.control.replica_register import ReplicaRegister
from router.journal.journal import Kind
from router.journal.writer import JournalWriter
from router.rollouts.monitor import Monitor

SNAPSHOT_S = 10.0


class Ticker:
    """See the module.

    Args:
        driver: moves rollouts on.
        writer: writes what it has kept, once it can.
        endpoints: the records.
        publisher: publishes the routing table.
        register: the replicas, which age here.
        monitor: the reports, whose ticks are closed here.
        analyses: what is known of running rollouts; saved every `SNAPSHOT_S`.
        clock: the time.
    """

    def __init__(
        self,
        driver: RolloutDriver,
        writer: JournalWriter,
        endpoints: Endpoints,
        publisher: TablePublisher,
        register: ReplicaRegister,
        monitor: Monitor,
        analyses: Analyses,
        clock: Clock,
    ) -> None:
        self._driver = driver
        self._writer = writer
        self._endpoints = endpoints
        self._publisher = publisher
        self._register = register
        self._monitor = monitor
        self._analyses = analyses
        self._clock = clock
        self._snapshot_s = clock.monotonic_s()

    def tick(self) -> None:
        """One second: judges reports, moves every rollout on, stops keeping old versions warm."""
        now_s = self._clock.monotonic_s()
        self._writer.flush()
        if self._register.tick(now_s):
            self._publisher.publish()
        self._monitor.close_ticks(now_s, self._endpoints.arms)
        if self._publisher.is_recovering:
            self._publisher.publish()
            return
        gateways = self._monitor.gateways(now_s)
        for endpoint in list(self._endpoints.records):
            self._driver.acknowledge(endpoint, gateways)
            self._driver.tick(endpoint, now_s)
            with contextlib.suppress(JournalUnavailableError):  # the next tick tries again
                self._driver.make_way(endpoint)
                self._retire(endpoint)
            self._driver.resize(endpoint)
        if now_s - self._snapshot_s >= SNAPSHOT_S:
            self._snapshot_s = now_s
            for record in self._endpoints.records.values():
                self._analyses.save(record)
            self._writer.prune()

    def _retire(self, endpoint: str) -> None:
        """Stops keeping versions warm whose time is over."""
        record = self._endpoints.records[endpoint]
        now_s = self._clock.wall_s()
        over = [retiring for retiring in record.retiring if retiring.until_s <= now_s]
        if over:
            kept = tuple(retiring for retiring in record.retiring if retiring.until_s > now_s)
            note = ", ".join(f"{retiring.version.version} is no longer kept warm" for retiring in over)
            self._driver.write(Kind.RETIRED, msgspec.structs.replace(record, retiring=kept), note)
