"""What one `up` has deployed, as every node of the cluster keeps it: ``<home>/deployment.json``, and tokens.

Each node has a home on its own disk. Settings and tokens reach it over Ray's authenticated channels and are written
with mode 0600. Nothing secret is an argument of an actor, because Ray keeps those (in Redis, where there is one).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from divisions.certificates.names import AUTHORITY
from divisions.code_identity import code_identity
from divisions.errors import ClusterError
from divisions.settings import PRIVATE_UMASK, Settings, load_settings, node_home, shared_environment, take_environment

NAME = "deployment.json"
NODE_SECRETS = ("token", "channel_token")
"""Files of the home that every node needs."""
_WAIT_S = 60.0
_POLL_S = 0.1


class Deployment(msgspec.Struct, frozen=True):
    """``home`` is the deployer's; a node without ``DIVISIONS_HOME`` has the same path. ``environment`` are the settings
    that all nodes share, as variables. ``code`` is the deployer's `code_identity`. ``pin`` is the address of the node
    that the controller must run on, because its journal is there; empty lets it run anywhere."""

    code: str
    home: str
    environment: dict[str, str]
    pin: str = ""

    def encoded(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")

    @property
    def stamp(self) -> str:
        """Changes with anything of it."""
        return hashlib.sha256(self.encoded()).hexdigest()[:16]


def deployment_of(settings: Settings, node_address: str = "") -> Deployment:
    """The deployment of a deployer with these settings on a node with this address."""
    pin = "" if settings.database else node_address
    return Deployment(code_identity(), str(settings.home), shared_environment(settings), pin)


def read_deployment(home: Path) -> Deployment | None:
    """None when nothing was deployed onto this home's node, or the file is damaged: then it will be written again."""
    try:
        return msgspec.json.decode((home / NAME).read_bytes(), type=Deployment)
    except (OSError, msgspec.MsgspecError):
        return None


def read_secrets(home: Path) -> dict[str, bytes]:
    """The contents of `NODE_SECRETS` and of `AUTHORITY`, if they exist, by name."""
    found = {}
    for name in (*NODE_SECRETS, AUTHORITY):
        with contextlib.suppress(FileNotFoundError):
            found[name] = (home / name).read_bytes()
    return found


def write_node(home: Path, deployment: Deployment, secrets: Mapping[str, bytes]) -> None:
    """Writes what a node needs. The deployment comes last: who finds it, finds the secrets too.

    Raises:
        ClusterError: the home cannot be written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in secrets.items():
            write_private(home / name, content)
        write_private(home / NAME, msgspec.json.format(deployment.encoded()))
    except OSError as error:
        raise ClusterError(
            f"the home {home} of this node cannot be written: {error.strerror or error}",
            remedy="set DIVISIONS_HOME for its `ray start` to a folder of the node's own disk",
        ) from None


def write_private(path: Path, content: bytes) -> None:
    """Replaces a file by one with mode 0600, whole or not at all. A file that has this content stays."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content and not path.stat().st_mode & PRIVATE_UMASK:
            return
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def enter_node(home: str, stamp: str = "", wait_s: float = _WAIT_S) -> Settings:
    """Gives this process the settings of the deployment on its node. The first thing that an actor of ours does.

    Args:
        home: the deployer's home, for a node that has none of its own.
        stamp: the deployment that is waited for, because the node may have just joined. Empty takes any, and the
            process's own environment without one.
        wait_s: how long. After that another deployment is taken, too: an `up` may have written it and died.

    Raises:
        ClusterError: the node was not prepared in time.
    """
    folder = node_home(Path(home))
    deadline_s = time.monotonic() + wait_s
    while True:
        found = read_deployment(folder)
        is_late = time.monotonic() >= deadline_s
        if found is not None and (not stamp or found.stamp == stamp or is_late):
            return take_environment(found.environment, folder)
        if not stamp:
            return take_environment(shared_environment(load_settings()), folder)
        if is_late:
            raise ClusterError(
                f"node {os.uname().nodename} was not prepared: {folder / NAME} is not the deployment in force",
                remedy="`divisions status` shows why",
            )
        time.sleep(_POLL_S)
