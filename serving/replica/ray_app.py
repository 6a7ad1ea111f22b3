"""One model version as a Ray Serve application.

Ray Serve starts replicas, checks their health and replaces them. Requests do not pass through it. Every replica listens
on its own data channel and registers the address with the controller.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random

import msgspec
import ray
from ray import serve

from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, VersionSpec
from divisions.deployment import enter_node
from divisions.errors import UnhealthyReplicaError
from divisions.logs.json_lines import log_to
from divisions.settings import is_routable, load_settings
from serving.replica.certification import Certification
from serving.replica.faults import check_allowed
from serving.replica.heartbeat import Heartbeat
from serving.replica.ray_registration import Registration
from serving.replica.replica import Replica, open_version

HEALTH_PERIOD_S = 2.0
HEALTH_TIMEOUT_S = 15.0
"""Three in a row, so a cable that is out for 20 s costs no replica: TCP may take as long again to notice that it is
back. A replica whose batch hangs says so, and goes sooner."""
CONSTRUCTOR_RETRIES = 3
DRAIN_S = 5.0
"""How long a stopping replica may take to answer its batches. Must exceed a request's deadline."""
LEAVE_S = 3.0
"""How long it goes on as before once it has left the routing table. Gateways take a table within milliseconds; one that
is cut off from the controller still has the old one, and is told by a refusal then."""


class VersionReplica:
    """What Ray Serve instantiates in each replica's process."""

    def __init__(self, version_spec_json: bytes, home: str, stamp: str = "") -> None:
        """Loads, warms, listens, and only then registers.

        Raises:
            BundleError: the bundle is damaged or is not the registered one.
            EngineError: the engine that the version demands is not available, or the GPU has no room.
            FaultsRefusedError: the version asks for faults, and they are not allowed.
        """
        _configure_logging()
        spec = msgspec.json.decode(version_spec_json, type=VersionSpec)
        settings = enter_node(home, stamp)
        log_to(settings.home, "replica", spec.app_name)
        host = channel_host(settings.channel_host, ray.util.get_node_ip_address())
        settings = dataclasses.replace(settings, channel_host=host)
        clock = SystemClock()
        tag = serve.get_replica_context().replica_tag
        opened = open_version(spec, settings, random.Random(tag))
        self._replica = Replica(spec, opened.engine, settings, clock)
        listening = self._replica.start(tag, os.getpid())
        address = ReplicaAddress(
            replica_id=f"{spec.app_name}#{tag}",
            app_name=spec.app_name,
            node_id=ray.get_runtime_context().get_node_id(),
            unix_path=listening.unix_path,
            tcp=_reachable(listening.tcp),
            max_batch=spec.max_batch,
            pid=os.getpid(),
            engine=listening.engine,
            started_at_s=clock.wall_s(),
            engine_note=opened.note,
        )
        certification = None
        if address.tcp and settings.channel_tls:
            certification = Certification(address.replica_id, self._replica.install, clock)
        self._registration = Registration(address, self._replica.check_health, certification)
        self._heartbeat = Heartbeat(self._registration.beat)
        self._heartbeat.start()

    async def check_health(self) -> None:
        """Ray Serve stops the replica gracefully when this raises three times in a row."""
        self._replica.check_health()
        if self._registration.is_asked_to_go:
            raise UnhealthyReplicaError("the controller has another replica instead, on a node that has fewer")

    def __del__(self) -> None:
        """Ray Serve calls this when it stops the replica. It also runs if `__init__` has failed.

        The replica leaves the routing table first, and answers until the gateways have hung up. Only then it refuses.
        """
        is_heard = False
        if hasattr(self, "_heartbeat"):
            self._heartbeat.stop()
            is_heard = self._registration.leave()
        if hasattr(self, "_replica"):
            self._replica.drain(DRAIN_S, LEAVE_S if is_heard else 0.0)


def _configure_logging() -> None:
    """Sends the log of serving to standard error, which Ray keeps in its own log folder.

    Ray configures its own loggers only. Without this, the chosen engine and the reasons would not be logged.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("serving").setLevel(logging.INFO)


def channel_host(setting: str, node_address: str) -> str:
    """The address to listen on: the setting, else the node's own; none where Ray is on the loopback interface."""
    return setting or (node_address if is_routable(node_address) else "")


def _reachable(tcp: str) -> str:
    """The address for other nodes. A replica that listens on all interfaces is reached by its node's address."""
    host, _, port = tcp.rpartition(":")
    return f"{ray.util.get_node_ip_address()}:{port}" if host in {"0.0.0.0", "::"} else tcp


def build_application(version_spec_json: bytes, home: str, stamp: str = "") -> serve.Application:
    """Builds the application of one version. Start it with ``name=spec.app_name`` and ``route_prefix=None``.

    Args:
        version_spec_json: a `VersionSpec` as JSON.
        home: the deployer's home folder.
        stamp: of the deployment that a replica's node must have.

    Raises:
        FaultsRefusedError: the version asks for faults, and this process's settings do not allow them.
    """
    spec = msgspec.json.decode(version_spec_json, type=VersionSpec)
    settings = load_settings()
    check_allowed(spec.faults, settings.allow_faults)
    actor_options: dict[str, object] = {"num_cpus": spec.num_cpus, "num_gpus": spec.num_gpus}
    if spec.accelerator_type and spec.num_gpus > 0:
        actor_options["accelerator_type"] = spec.accelerator_type
    if spec.nodes:
        actor_options["label_selector"] = spec.nodes
    deployment = serve.deployment(
        name=spec.model,
        num_replicas=spec.replicas,
        ray_actor_options=actor_options,
        max_ongoing_requests=1_000,
        max_constructor_retry_count=CONSTRUCTOR_RETRIES,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        # Serve waits this long for its own requests. It has none, because requests do not pass through it.
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=LEAVE_S + DRAIN_S + max(5.0, settings.request_timeout_ms / 1e3),
    )(VersionReplica)
    application: serve.Application = deployment.bind(version_spec_json, home, stamp)
    return application
