"""The exporter of traces as a process: ``python -m router.traces.process FD``.

A gateway starts it when ``DIVISIONS_TRACES`` is set, and ends it by closing the socket ``FD``. Where spans go, and how,
is said by the variables of OpenTelemetry (``OTEL_EXPORTER_OTLP_ENDPOINT`` and others), which its SDK reads here.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from divisions.clock import Clock, SystemClock
from divisions.traces.exporting import Export, Exporting
from divisions.traces.otlp import opened
from router.prediction_log.frames import Cutter
from router.traces.frames import Requests, TraceCounts, decode_requests, encode
from router.traces.spans import SpanMaker

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger("router.traces.process")

TURN_S = 0.5
READ_BYTES = 1 << 20
CLOSE_S = 3.0
NICENESS = 10
"""Requests come first where processors are few."""
SERVICE = "divisions-gateway"


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It ends with its gateway, whose last requests are still to come.
    os.nice(NICENESS)
    exporting = Exporting(*_sdk())
    exporting.start()
    serve(socket.socket(fileno=int(sys.argv[1])), exporting, SystemClock())


def _sdk() -> tuple[Callable[..., list[ReadableSpan]], Export]:
    """Makes and sends spans as the environment says."""
    resource, export = opened(SERVICE)
    random_bits = random.SystemRandom()
    maker = SpanMaker(resource, lambda bits: random_bits.getrandbits(bits) or 1)
    return maker.spans, export


def serve(connection: socket.socket, exporting: Exporting[Requests], clock: Clock) -> None:
    """Exports what comes over ``connection`` until its other end is closed."""
    connection.setblocking(False)
    cutter, told = Cutter(), None
    while True:
        select.select([connection], [], [], TURN_S)
        try:
            data = connection.recv(READ_BYTES)
            if not data:
                break
            for body in cutter.feed(data):
                exporting.take(decode_requests(body))
        except BlockingIOError:
            pass
        except ConnectionResetError:  # The gateway was killed with counts unread. What it sent before is still here.
            continue
        except ValueError as error:
            log.warning("the gateway's stream ends: %s", error)
            break
        counts = TraceCounts(exporting.exported, exporting.lost, exporting.fault)
        if counts != told:
            try:
                if connection.send(encode(counts)):
                    told = counts
            except (BlockingIOError, ConnectionError):
                pass  # Nobody reads it now.
    connection.close()
    exporting.close(CLOSE_S)


if __name__ == "__main__":
    main()
