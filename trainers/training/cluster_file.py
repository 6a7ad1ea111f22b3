"""Which Ray cluster and gateway a run belongs to. Without Ray, for Ray reads its token's place when it is imported."""

from __future__ import annotations

from pathlib import Path

import msgspec

from divisions.errors import NotRunningError
from divisions.settings import Settings, join_embedded_cluster, set_default_environment


def cluster_address(settings: Settings, given: str = "") -> str:
    """The address that was given, else that of this home's cluster, else ``RAY_ADDRESS``.

    Raises:
        NotRunningError: there is none.
    """
    address = given or _read(settings.home, "ray_address") or settings.ray_address
    if not address:
        raise NotRunningError(f"no cluster of {settings.home} is up", remedy="start one with `divisions up`")
    return address


def prepare_environment(settings: Settings) -> None:
    """Tells Ray where the home's token is. Must be called before anything imports Ray; what is set already stays."""
    # Ray Train takes a checkpoint over when it next looks at its workers. With its default of 2 s, short runs would
    # mostly wait: measured 31 s against 14 s for 50 epochs with ten checkpoints.
    set_default_environment({"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25"})
    if join_embedded_cluster(settings.home):
        return
    token = settings.home / "ray_token"
    if token.exists():
        set_default_environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)})


def cluster_gateway(home: Path) -> str:
    """The URL of the home's gateway; empty when no cluster of this home is up."""
    return _read(home, "gateway_url")


def _read(home: Path, field: str) -> str:
    try:
        cluster = msgspec.json.decode((home / "cluster.json").read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError):
        return ""
    return str(cluster.get(field, ""))
