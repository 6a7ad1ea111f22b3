"""The log's writer as a process: ``python -m router.prediction_log.process FD GATEWAY_ID``.

A gateway starts it when a version has ``serving.log``, and ends it by closing the socket ``FD``. It has a process of
its own because a thread would take turns with the gateway's loop at one interpreter lock.
"""

from __future__ import annotations

import functools
import logging
import os
import select
import signal
import socket
import sys
from importlib.abc import MetaPathFinder

from divisions.clock import Clock, SystemClock
from divisions.prediction_log import hash_key
from divisions.settings import PRIVATE_UMASK, load_settings
from router.prediction_log import places
from router.prediction_log.frames import Cutter, decode_to_writer, encode
from router.prediction_log.retention import Keeper, remove_old
from router.prediction_log.shipper import Shipper
from router.prediction_log.writer import LogWriter

log = logging.getLogger("router.prediction_log.process")

TURN_S = 0.2
READ_BYTES = 1 << 20
CLOSE_S = 5.0
"""How long the end waits for the log's place. What is not there by then stays spooled for the next writer."""
NICENESS = 10
"""Requests come first where processors are few."""


class WithoutPandas(MetaPathFinder):
    """Says that there is no Pandas. PyArrow would import it at the first array: a third of a second, and 50 MB."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("the log's writer does without Pandas", name=fullname)


def main() -> None:
    sys.meta_path.insert(0, WithoutPandas())
    descriptor, gateway_id = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("router").setLevel(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It ends with its gateway, whose last rows are still to come.
    os.umask(PRIVATE_UMASK)
    os.nice(NICENESS)
    settings, clock = load_settings(), SystemClock()
    key = hash_key((settings.home / "channel_token").read_bytes().strip())
    shipper = Shipper(functools.partial(places.put, s3=settings.s3), clock.monotonic_s)
    shipper.start()
    keeper = Keeper(settings.home, functools.partial(remove_old, s3=settings.s3), clock.wall_s)
    keeper.start()
    writer = LogWriter(settings.home, gateway_id, key, shipper, keep=keeper.follow)
    serve(socket.socket(fileno=int(descriptor)), writer, shipper, clock)


def serve(connection: socket.socket, writer: LogWriter, shipper: Shipper, clock: Clock) -> None:
    """Writes what comes over ``connection`` until its other end is closed."""
    connection.setblocking(False)
    cutter, unsent = Cutter(), b""
    told_s = clock.monotonic_s()
    while True:
        select.select([connection], [connection] if unsent else [], [], TURN_S)
        try:
            data = connection.recv(READ_BYTES)
            if not data:
                break
            for body in cutter.feed(data):
                writer.take(decode_to_writer(body), clock.monotonic_s(), clock.wall_s())
        except BlockingIOError:
            pass
        except ConnectionResetError:  # The gateway was killed with counts unread. What it sent before is still here.
            continue
        except ValueError as error:
            log.warning("the gateway's stream ends: %s", error)
            break
        writer.turn(clock.monotonic_s(), clock.wall_s())
        now_s = clock.monotonic_s()
        if not unsent and (writer.has_news or now_s - told_s >= 1.0):
            writer.has_news, told_s = False, now_s
            unsent = encode(writer.counts())
        try:
            unsent = unsent[connection.send(unsent) :] if unsent else b""
        except BlockingIOError:
            pass
        except ConnectionError:
            unsent = b""  # Nobody reads it. What the gateway sent before it ended is still to be read.
    connection.close()
    writer.close(clock.monotonic_s(), clock.wall_s())
    shipper.close(CLOSE_S)


if __name__ == "__main__":
    main()
