"""Which Ray cluster and gateway a run uses. Does not import Ray, because Ray reads its token's path at its import."""

from __future__ import annotations

from pathlib import Path

import msgspec

from divisions.environment import join_ray_cluster, set_default_environment
from divisions.errors import NotRunningError
from divisions.settings import Settings


def cluster_address(settings: Settings, given: str = "") -> str:
    """The given address, else that of this home's cluster, else ``RAY_ADDRESS``.

    Raises:
        NotRunningError: there is no address.
    """
    address = given or _read(settings.home, "ray_address") or settings.ray_address
    if not address:
        raise NotRunningError(f"no cluster of {settings.home} is up", remedy="start one with `divisions up`")
    return address


def prepare_environment(settings: Settings) -> None:
    """Sets the path of the home's token for Ray. Call it before any import of Ray. Variables that are set stay."""
    # Ray Train accepts a checkpoint at its next check of the workers. With the default of 2 s, short runs mostly wait.
    set_default_environment({"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25"})
    # Ray Tune: no files of results, no tables on the terminal, and a trial's relative paths stay as they are.
    quiet = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    set_default_environment(quiet)
    if join_ray_cluster(settings.home):
        return
    token = settings.home / "ray_token"
    if token.exists():
        set_default_environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)})


def cluster_gateway(home: Path) -> str:
    """The URL of the home's gateway; empty if no cluster of this home is up."""
    return _read(home, "gateway_url")


def _read(home: Path, field: str) -> str:
    try:
        cluster = msgspec.json.decode((home / "cluster.json").read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError):
        return ""
    return str(cluster.get(field, ""))
