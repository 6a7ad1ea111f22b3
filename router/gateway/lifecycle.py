"""A gateway's process from its start to its end. See `router.gateway.process`."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import logging
import signal
import socket

import msgspec

from divisions.clock import Clock, SystemClock
from divisions.control import VersionSpec
from divisions.errors import ClusterError, SettingsError
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.settings import Settings
from divisions.store_url import parse_store_url
from router.gateway.bridge import Beat, BridgeLink, Listening, failure, send
from router.gateway.gateway import Gateway, GatewayIdentity
from router.gateway.slot import Slot, address
from router.predict.in_process_channel import InProcessEngine
from router.predict.stored_features import FeatureSource, StoredFeatures

log = logging.getLogger(__name__)

ENGINE_LOADER = "serving.replica.in_process:open_hosted"
"""Opens a version's engine in this process, for ``serving.placement: in_process``."""
BEAT_S = 1.0
GC_THRESHOLDS = (50_000, 20, 50)
"""Requests leave no reference cycles, so there is almost nothing to collect. Python's defaults would search all the
time."""


def _load(settings: Settings, spec: VersionSpec) -> InProcessEngine:
    # By name, because router and serving do not import each other; they share only the channel.
    module, _, function = ENGINE_LOADER.partition(":")
    hosted: InProcessEngine = getattr(importlib.import_module(module), function)(msgspec.json.encode(spec), settings)
    return hosted


def feature_source(settings: Settings, clock: Clock) -> FeatureSource:
    """Where stored features are: in the server that the settings name, or in a file of the home."""
    if settings.online_store:
        from router.predict.shared_features import SharedFeatures
        from router.predict.store_link import StoreLink

        address = parse_store_url(settings.online_store)
        return SharedFeatures(functools.partial(StoreLink, address), clock.monotonic_s)
    path = online_store_path(settings.home)
    return StoredFeatures(functools.lru_cache(lambda endpoint: OnlineStoreReader(path, endpoint)))


async def live(bridge: socket.socket, settings: Settings, identity: GatewayIdentity, slot: Slot) -> None:
    """Runs a gateway until the other end of ``bridge`` goes, or SIGTERM comes."""
    reader, writer = await asyncio.open_unix_connection(sock=bridge)
    link = BridgeLink(reader, writer)
    clock = SystemClock()
    stored = feature_source(settings, clock)
    try:
        gateway = Gateway(settings, identity, link, stored, clock, functools.partial(_load, settings))
    except SettingsError as error:  # such as a certificate that cannot be used
        send(writer, failure(0, error))
        await writer.drain()
        return
    calls = asyncio.ensure_future(link.run())  # The gateway asks for its table before it listens.
    try:
        await gateway.start()
    except OSError as error:
        reason = f"the gateway cannot listen on {settings.host}:{settings.port}: {error}"
        send(writer, failure(0, ClusterError(reason, remedy="choose another port with DIVISIONS_PORT")))
        await writer.drain()
        return
    try:
        slot.advertise(address(settings.hosts[-1], await gateway.listen_alone()), settings.scheme)
    except OSError as error:
        log.error("this gateway's metrics have no address of their own: %s", error)  # It serves all the same.
    gc.collect()
    gc.freeze()  # Modules and routes stay for good, so the collector need not walk them while callers wait.
    gc.set_threshold(*GC_THRESHOLDS)
    send(writer, Listening())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, calls.cancel)
    while not calls.done() and gateway.is_alive:
        send(writer, Beat())
        await asyncio.wait([calls], timeout=BEAT_S)
    slot.release()
    await gateway.stop()
    calls.cancel()
    writer.close()
