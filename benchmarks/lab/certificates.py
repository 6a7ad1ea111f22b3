"""Certificates in the lab: every process signs its own for the channel; the port has one that nobody vouches for."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.harness.certificates import new_pair
from divisions.certificates.authority import read_authority
from divisions.certificates.names import Credentials, Role
from divisions.certificates.request import new_request


def write_port_pair(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files; returns their paths."""
    return new_pair("127.0.0.1", ("127.0.0.1",)).write(folder, "port")


def self_signed(role: Role, identity: str, authority: Path) -> Credentials:
    asked = new_request(role, identity)
    return asked.answered(read_authority(authority.read_bytes(), authority).issue(asked.message, time.time()))
