"""A replica process of the lab: the product's `serving.replica.replica` without Ray around it.

    python -m benchmarks.lab.replica SPEC.json REPLICA_ID NODE AUTHORITY.pem

It signs its own certificate, for want of a controller. The home comes from ``DIVISIONS_HOME``. It prints its address as
one JSON line; it ends when its standard input does.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import msgspec

from benchmarks.lab.certificates import self_signed
from divisions.certificates.names import Role
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, VersionSpec
from divisions.settings import load_settings
from serving.replica.replica import Replica, load_engine


def main() -> int:
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=VersionSpec)
    replica_id, node, authority = sys.argv[2:]
    settings = load_settings()
    replica = Replica(spec, load_engine(spec, settings, random.Random(replica_id)), settings, SystemClock())
    listening = replica.start(replica_id, os.getpid())
    address = ReplicaAddress(
        replica_id, spec.app_name, node, listening.unix_path, listening.tcp, spec.max_batch, os.getpid()
    )
    if listening.tcp and settings.channel_tls:
        replica.install(self_signed(Role.REPLICA, replica_id, Path(authority)))
    print(msgspec.json.encode(address).decode(), flush=True)
    sys.stdin.read()
    replica.drain(1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
