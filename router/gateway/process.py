"""A gateway in a process of its own: ``python -m router.gateway.process FD GATEWAY_ID NODE_ID``.

`router.gateway.ray_gateway` starts it. Inside Ray's worker process a gateway answers fewer requests, because Ray's
threads and the gateway's loop share one interpreter lock. ``FD`` is this end of the bridge. When the other end closes,
the gateway lets its requests finish and ends.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys

from divisions.logs.json_lines import log_to
from divisions.settings import load_settings
from router.gateway import native

log = logging.getLogger("router.gateway.process")


def main() -> None:
    descriptor, gateway_id, node_id = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("router").setLevel(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command that started the cluster, which stops us.
    settings = load_settings()
    log_to(settings.home, "gateway", gateway_id)
    if settings.compiled and not native.activate():
        log.info("the hot path was not compiled for this code and Python: it runs as Python. See `make native`")
    # Not earlier: these imports must find the compiled hot path, if there is one.
    import uvloop

    from router.gateway.gateway import GatewayIdentity
    from router.gateway.lifecycle import live
    from router.gateway.slot import claim

    slot = claim(settings.home)
    identity = GatewayIdentity(
        gateway_id=gateway_id,
        node_id=node_id,
        control_token=(settings.home / "token").read_text().strip(),
        channel_token=(settings.home / "channel_token").read_bytes().strip(),
        number=slot.number,
    )
    uvloop.run(live(socket.socket(fileno=int(descriptor)), settings, identity, slot))


if __name__ == "__main__":
    main()
