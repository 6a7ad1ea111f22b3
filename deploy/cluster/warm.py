"""Waits until everything that the journal serves is answered again, or until it is known that it will not be."""

from __future__ import annotations

from deploy.cluster.served_bundles import missing_bundles
from deploy.supervision.cluster_file import Cluster
from deploy.supervision.gateway_address import answers_ok
from deploy.supervision.processes import wait_until
from divisions.clock import Clock
from divisions.errors import DivisionsError
from divisions.progress import Progress, step
from divisions.sdk.calls import ServiceStatus
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.status import RolloutStatus

WARM_DEADLINE_S = 120.0
_FAILING = "Failing"


def warm_up(settings: Settings, cluster: Cluster, progress: Progress, clock: Clock) -> dict[str, str]:
    """Waits for the endpoints of the journal.

    Returns:
        The endpoints that do not answer, and the reason of each.
    """
    with Client(cluster.gateway_url, home=settings.home, timeout_s=15.0) as client:
        rollouts = _rollouts(client)
        served = [rollout.endpoint for rollout in rollouts if rollout.stable_version is not None]
        missing = missing_bundles(settings, rollouts)
        reasons: dict[str, str] = {}
        for endpoint in served:
            with step(progress, clock, f"Warm {endpoint} up") as current:
                reason = str(missing[endpoint]) if endpoint in missing else _wait_for(client, cluster, endpoint)
                current.detail = f"not served: {reason}" if reason else ""
            if reason:
                reasons[endpoint] = reason
        return reasons


def _wait_for(client: Client, cluster: Cluster, endpoint: str) -> str:
    """Waits for one endpoint; returns why it does not answer, empty when it does."""
    reason = [""]

    def is_known() -> bool:
        if answers_ok(cluster.gateway_url, f"/v2/models/{endpoint}/ready"):
            reason[0] = ""
            return True
        try:
            reason[0] = failure(client.status(), endpoint)
        except DivisionsError:  # the controller or a gateway is being restarted
            return not cluster.is_alive
        return bool(reason[0]) or not cluster.is_alive

    if not wait_until(is_known, WARM_DEADLINE_S):
        return f"it is not warm after {WARM_DEADLINE_S:g} s"
    return reason[0] if cluster.is_alive else "the cluster ended"


def failure(status: ServiceStatus, endpoint: str) -> str:
    """Why the replicas of an endpoint's stable version do not start; empty while they may."""
    versions = {(one.model, one.stable_version) for one in status.rollouts if one.endpoint == endpoint}
    for replica in status.replicas:
        is_its = any(replica.version == version and replica.name.startswith(model) for model, version in versions)
        if is_its and replica.status == _FAILING:
            return replica.reason or "its replicas do not start"
    return ""


def _rollouts(client: Client) -> tuple[RolloutStatus, ...]:
    found: list[RolloutStatus] = []

    def has_answered() -> bool:
        try:
            found[:] = client.status().rollouts
        except DivisionsError:  # the gateway answers before its line to the controller is up
            return False
        return True

    wait_until(has_answered, WARM_DEADLINE_S)
    return tuple(found)
