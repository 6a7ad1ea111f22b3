"""How commands reach the home's cluster: the URL of its gateway, and a client for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from divisions.errors import ClusterError, DivisionsError, MissingTokenError, NotRunningError, UnknownTokenError
from divisions.settings import Settings, load_settings

if TYPE_CHECKING:
    from deploy.supervision.cluster_file import Cluster
    from divisions.sdk.client import Client


def gateway_url(settings: Settings) -> str:
    """The URL that ``DIVISIONS_GATEWAY`` gives, else that of the home's cluster, else where one of this machine would
    listen.

    Raises:
        NotRunningError: the home's cluster has no gateway.
    """
    if settings.gateway:
        return settings.gateway
    from deploy.supervision import cluster_file
    from divisions import gateway_address

    cluster = cluster_file.read_cluster(settings.home)
    if cluster is None:
        return gateway_address.gateway_url(settings)
    if not cluster.gateway_url:
        raise NotRunningError(
            f"the cluster at {cluster.ray_address} has no gateway",
            remedy="mark a node for one with Ray's resource divisions_gateway, then repeat `divisions up`",
        )
    return cluster.gateway_url


@contextlib.contextmanager
def connect(url: str = "") -> Iterator[Client]:
    """A client of the gateway at ``url``. The default is the home's gateway.

    Raises:
        NotRunningError: nothing answers there; says what the home's cluster does instead, if there is one.
        MissingTokenError: the cluster there asks for a token, and there is none here.
        UnknownTokenError: it does not know the token that is here; it may be that of another home.
    """
    from divisions.sdk.client import Client

    settings = load_settings()
    with Client(url or gateway_url(settings), home=settings.home) as client:
        try:
            yield client
        except (NotRunningError, MissingTokenError, UnknownTokenError) as error:
            raise (error if url or settings.gateway else _explained(settings, error)) from None


def _explained(settings: Settings, error: NotRunningError | MissingTokenError | UnknownTokenError) -> DivisionsError:
    """The reason why nothing answers, or nobody whose token is here, from ``cluster.json``."""
    from deploy.supervision import cluster_file
    from divisions.environment import secret_of_environment

    cluster = cluster_file.read_cluster(settings.home)
    if not isinstance(error, NotRunningError):
        if (cluster is not None and cluster.is_alive) or secret_of_environment("DIVISIONS_TOKEN"):
            return error
        return type(error)(
            f"no cluster of the home {settings.home} runs; the one at {gateway_url(settings)} has another home, "
            "and asks for its token",
            remedy="run this in the folder that it was started in, or name its home with DIVISIONS_HOME; "
            "DIVISIONS_TOKEN gives a token",
        )
    if cluster is None:
        return error
    reason = f": {cluster.message}" if cluster.message else ""
    if not cluster.is_alive:
        return NotRunningError(
            f"the cluster of {settings.home} has ended{reason}", remedy="start it again with `divisions up`"
        )
    if cluster.phase == cluster_file.UP:
        return error
    return NotRunningError(
        f"the cluster of {settings.home} is {cluster.phase}{reason}", remedy=_REMEDIES.get(cluster.phase, "")
    )


_REMEDIES = {
    "starting": "try again shortly",
    "restarting": "try again shortly",
    "stopping": "wait for `divisions down`",
}


def warn_of_restarts() -> None:
    """Says on standard error that the home's cluster has crashed and was started again, and why."""
    from deploy.supervision import cluster_file

    with contextlib.suppress(ClusterError):
        cluster: Cluster | None = cluster_file.read_cluster(load_settings().home)
        if cluster is not None and cluster.restarts:
            times = "once" if cluster.restarts == 1 else f"{cluster.restarts} times"
            print(f"note: the cluster crashed and was restarted {times}, at last: {cluster.message}", file=sys.stderr)
