"""``python -m deploy.attach``: `divisions up --address` from inside a Ray cluster, such as one that KubeRay started.

It may run on every start of the head, and on more than one node: it finds what is there and adds what is missing.
Settings come from the environment. So do tokens: ``DIVISIONS_TOKEN`` and ``RAY_AUTH_TOKEN`` are written into the home
with mode 0600, and no process that it starts inherits them. It waits for Ray on this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from deploy.cluster import attached
from divisions.clock import SystemClock
from divisions.errors import DivisionsError, NotRunningError, UsageError
from divisions.progress import LineProgress
from divisions.settings import PRIVATE_UMASK, load_settings

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
POLL_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for a `DivisionsError`, 2 for wrong usage."""
    given = _parser().parse_args(arguments)
    os.umask(PRIVATE_UMASK)
    progress = LineProgress(sys.stdout)
    try:
        settings = load_settings()
        address = given.address or settings.ray_address or attached.AUTO
        _wait_for_node(address, given.wait_s)
        cluster = attached.up(settings, address, progress, SystemClock())
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print(f"deployed onto {cluster.ray_address}; gateway: {cluster.gateway_url or 'none yet'}", flush=True)
    return 0


def _wait_for_node(address: str, wait_s: float) -> None:
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            attached.node_here(address)
        except NotRunningError:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(POLL_S)
        else:
            return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.attach", description="Deploy onto the Ray cluster here.")
    parser.add_argument(
        "--address", default="", metavar="HOST:PORT", help="of Ray's head; default RAY_ADDRESS, else the cluster here"
    )
    parser.add_argument("--wait-s", type=float, default=120.0, metavar="S", help="how long to wait for Ray to start")
    return parser


if __name__ == "__main__":
    sys.exit(main())
