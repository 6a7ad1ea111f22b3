"""What a connection may ask of the gateway."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Sizes in bytes, times in seconds."""

    max_body_bytes: int = 1_048_576
    max_header_bytes: int = 32_768
    """Of a head: the target, and each field with its separators. Also of trailers, and of one chunk's extensions."""
    max_headers: int = 100
    max_connections: int = 10_000
    request_s: float = 10.0
    """From a request's first byte to its last."""
    idle_s: float = 75.0
    """Between requests."""
    write_s: float = 30.0
    """A reply that the caller does not take for this long is dropped, and its connection too."""
    allowed_hosts: frozenset[bytes] = frozenset()
    """As `router.http.hosts.canonical` writes them; empty means any."""
    any_host_targets: frozenset[bytes] = frozenset()
    """Paths that are answered whatever the Host: probes send the address of the process."""
