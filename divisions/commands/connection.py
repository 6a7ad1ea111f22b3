"""How commands reach the home's cluster: the URL of its gateway, and a client for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divisions.settings import Settings, load_settings

if TYPE_CHECKING:
    from divisions.sdk.client import Client


def gateway_url(settings: Settings) -> str:
    """The URL of the home's cluster; without a cluster, the URL that the settings give."""
    from deploy.cluster import cluster_file, gateway_address

    cluster = cluster_file.read_cluster(settings.home)
    return cluster.gateway_url if cluster is not None else gateway_address.gateway_url(settings)


def connect(url: str = "") -> Client:
    """A client of the gateway at ``url``. The default is the home's gateway."""
    from divisions.sdk.client import Client

    settings = load_settings()
    return Client(url or gateway_url(settings), home=settings.home)
