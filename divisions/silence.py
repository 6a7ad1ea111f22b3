"""How long a TCP peer may be silent. A host that dies or is cut off sends nothing, not even the end of a connection.

Without these options a connection to it lasts for many minutes.
"""

from __future__ import annotations

import socket
from typing import Protocol

LOST_AFTER_S = 1.2
"""A gateway gives a connection up when what it sent is not acknowledged for so long. Its requests are tried elsewhere
before, at half of their time."""
PEER_LOST_AFTER_S = 10.0
"""A replica may wait longer: it loses nothing but memory."""
_IDLE_S = 5
_PROBE_S = 1


class HasOptions(Protocol):
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def give_up_after(connection: HasOptions, silent_s: float) -> None:
    """Lets the kernel end a TCP connection whose peer is silent: under way after ``silent_s``, idle a little later."""
    milliseconds = int(silent_s * 1_000)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, max(1, int(silent_s / _PROBE_S)))
