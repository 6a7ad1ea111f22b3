"""How often an address may try wrong tokens. Pure.

Each address has a bucket: `BURST` wrong tokens at once, then one every `1 / PER_S` seconds. Memory is bounded: of more
than `MAX_ADDRESSES`, the one that was silent longest is forgotten. A right token always passes, so nobody can lock out
others who share their address; a token is not found by trying anyway.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

BURST: Final = 20
PER_S: Final = 1.0
MAX_ADDRESSES: Final = 4_096
_NETWORK_BITS: Final = 64
"""A host has at least so many addresses of IPv6 to choose from."""


class WrongTokens:
    """Counts wrong tokens by address. Time is an argument."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By address: how many wrong tokens it has left, and since when."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, address: str, now_s: float) -> float:
        """Counts a wrong token; returns 0, or for how many seconds this address gets no answer to another one."""
        key = network_of(address)
        left, since_s = self._buckets.pop(key, (float(BURST), now_s))
        left = min(float(BURST), left + max(0.0, now_s - since_s) * PER_S)
        is_over = left < 1.0
        self._buckets[key] = (left if is_over else left - 1.0, now_s)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return (1.0 - left) / PER_S if is_over else 0.0


def network_of(address: str) -> str:
    """What stands for one caller.

    >>> network_of("10.0.0.7"), network_of("2001:db8::1:2:3:4"), network_of("")
    ('10.0.0.7', '2001:db8::/64', '')
    """
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], _NETWORK_BITS), strict=False))
    except ValueError:
        return address
