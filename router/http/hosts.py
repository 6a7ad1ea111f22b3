"""Values of the Host header, and whether two of them name the same host. Pure.

Names are compared without case, IPv6 addresses as addresses, and ports do not count.
"""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(rb"([a-z0-9._-]*)(?::[0-9]{0,5})?")
_BRACKETED = re.compile(rb"\[([0-9a-f:.]{2,45})\](?::[0-9]{0,5})?")
_BARE_V6 = re.compile(rb"[0-9a-f:.]{2,45}")


def canonical(host: bytes) -> bytes | None:
    """The one way to write this host: lower case, no port, IPv6 shortened and in brackets. None if it is malformed.

    An IPv6 address may come without brackets, but then without a port.

    >>> canonical(b"Example.COM:8000"), canonical(b"[0:0:0:0:0:0:0:1]:80"), canonical(b"FD00::1")
    (b'example.com', b'[::1]', b'[fd00::1]')
    >>> canonical(b"localhost:80@evil"), canonical(b"[::1]evil"), canonical(b"a b")
    (None, None, None)
    """
    host = host.lower()
    match = _BRACKETED.fullmatch(host)
    if match is not None:
        return _address(match[1])
    match = _NAME.fullmatch(host)
    if match is not None:
        return match[1]
    return _address(host) if _BARE_V6.fullmatch(host) else None


def _address(text: bytes) -> bytes | None:
    try:
        return b"[%s]" % ipaddress.IPv6Address(text.decode("ascii")).compressed.encode("ascii")
    except ValueError:
        return None
