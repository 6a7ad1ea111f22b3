"""A gateway in a process of its own: ``python -m router.gateway_process FD GATEWAY_ID NODE_ID``.

`router.ray_gateway` starts it. Inside Ray's worker process the same gateway answered a quarter fewer requests: Ray's
threads and the gateway's loop took turns at one interpreter lock. ``FD`` is this end of the bridge; when the other end
goes, the gateway lets its requests finish and ends.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import logging
import signal
import socket
import sys

import msgspec
import uvloop

from divisions.clock import SystemClock
from divisions.control import VersionSpec
from divisions.errors import ClusterError
from divisions.online_store import OnlineStoreReader
from divisions.settings import Settings, load_settings
from router.bridge import Beat, BridgeLink, Listening, failure, send
from router.gateway import Gateway, GatewayIdentity
from router.local_channel import Hosted

ENGINE_LOADER = "serving.hosted:open_hosted"
"""Opens a version's engine in this process, for ``serving.placement: in_process``."""
BEAT_S = 1.0


def _load(settings: Settings, spec: VersionSpec) -> Hosted:
    # By name, because router and serving do not import each other: the channel is what they share.
    module, _, function = ENGINE_LOADER.partition(":")
    hosted: Hosted = getattr(importlib.import_module(module), function)(msgspec.json.encode(spec), settings)
    return hosted


async def live(bridge: socket.socket, settings: Settings, identity: GatewayIdentity) -> None:
    """Runs a gateway until the other end of ``bridge`` goes, or SIGTERM comes."""
    reader, writer = await asyncio.open_unix_connection(sock=bridge)
    link = BridgeLink(reader, writer)
    path = settings.home / "features" / "online.db"
    store = functools.lru_cache(lambda endpoint: OnlineStoreReader(path, endpoint))
    gateway = Gateway(settings, identity, link, store, SystemClock(), functools.partial(_load, settings))
    line = asyncio.ensure_future(link.run())  # The gateway asks for its table before it listens.
    try:
        await gateway.start()
    except OSError as error:
        reason = f"the gateway cannot listen on {settings.host}:{settings.port}: {error}"
        send(writer, failure(0, ClusterError(reason, remedy="choose another port with DIVISIONS_PORT")))
        await writer.drain()
        return
    gc.collect()
    gc.freeze()  # Modules and routes stay for good: the collector need not walk them, while callers wait.
    send(writer, Listening())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, line.cancel)
    while not line.done() and gateway.is_alive:
        send(writer, Beat())
        await asyncio.wait([line], timeout=BEAT_S)
    await gateway.stop()
    line.cancel()
    writer.close()


def main() -> None:
    descriptor, gateway_id, node_id = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("router").setLevel(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started the cluster, who ends us in order.
    settings = load_settings()
    identity = GatewayIdentity(
        gateway_id=gateway_id,
        node_id=node_id,
        control_token=(settings.home / "token").read_text().strip(),
        channel_token=(settings.home / "channel_token").read_bytes().strip(),
    )
    uvloop.run(live(socket.socket(fileno=int(descriptor)), settings, identity))


if __name__ == "__main__":
    main()
