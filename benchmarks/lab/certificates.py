"""Certificates in the lab: every process signs its own, with the key of the lab's authority."""

from __future__ import annotations

import time
from pathlib import Path

from divisions.certificates.authority import read_authority
from divisions.certificates.names import Credentials, Role
from divisions.certificates.request import new_request


def self_signed(role: Role, identity: str, authority: Path) -> Credentials:
    asked = new_request(role, identity)
    return asked.answered(read_authority(authority.read_bytes(), authority).issue(asked.message, time.time()))
