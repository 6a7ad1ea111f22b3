"""Makes a new cluster serve something: what it served before, else a registered version, else a new model.

the journal has a version to serve     -> wait until it is warm again
the registry has a version that passed -> roll it out (production first, else the newest)
neither (or none that has passed)      -> write the demo data, run the pipeline on its first day
"""

from __future__ import annotations

from pathlib import Path

from deploy.cluster.served_bundles import missing_bundles
from deploy.cluster.warm import failure
from deploy.rollout_start import start_version
from deploy.supervision.cluster_file import Cluster
from deploy.supervision.gateway_address import answers_ok
from deploy.supervision.processes import wait_until
from divisions.clock import Clock
from divisions.errors import ClusterError, DivisionsError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.progress import Progress, step
from divisions.registry import Registry
from divisions.schedule.obedience import what_of_demo
from divisions.sdk.calls import ServiceStatus
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.status import RolloutStatus
from trainers.demo_data import FIRST_DAY, write_demo_data
from trainers.start import StartOptions, start

WARM_DEADLINE_S = 240.0
_LOST = frozenset({"ROLLED_BACK", "ROLLING_BACK", "DRAINING"})


def serve_something(
    settings: Settings, cluster: Cluster, pipeline_path: Path, progress: Progress, clock: Clock
) -> None:
    """Waits until the pipeline's endpoint answers; starts a version first if there is none.

    Raises:
        DivisionsError: the pipeline is refused or fails, the bundle is missing, or no replica gets warm.
    """
    pipeline = load_pipeline(pipeline_path)
    endpoint = pipeline.deployment.endpoint
    with Client(cluster.gateway_url, home=settings.home, timeout_s=15.0) as client:
        status = client.status()
        if (lost := missing_bundles(settings, status.rollouts).get(endpoint)) is not None:
            raise lost
        if not _is_served(status, endpoint):
            registry = Registry(settings.home, settings.tracking_uri)
            version = registry.reference_version(pipeline.model_name)
            if version is None:
                _train(settings, cluster, pipeline_path, progress, len(registry.list_versions(pipeline.model_name)))
                if notice := what_of_demo(settings.home, pipeline_path, pipeline):
                    progress.notice(notice)
            else:
                progress.notice(f"the registry has {version.model} {version.version}: serving it")
                start_version(client, settings, pipeline, version, force=True)
        with step(progress, clock, f"Warm {endpoint} up") as current:
            current.detail = wait_until_warm(client, cluster, pipeline)


def _is_served(status: ServiceStatus, endpoint: str) -> bool:
    """Whether the journal has a version for the endpoint, warm or not yet."""
    for rollout in status.rollouts:
        if rollout.endpoint == endpoint:
            return rollout.stable_version is not None or rollout.phase not in _LOST
    return False


def _why_train(num_registered: int) -> str:
    """
    >>> _why_train(0), _why_train(2)
    ('nothing is registered yet', 'none of the 2 registered versions has passed its gates')
    """
    match num_registered:
        case 0:
            return "nothing is registered yet"
        case 1:
            return "the one version that is registered has not passed its gates"
    return f"none of the {num_registered} registered versions has passed its gates"


def _train(settings: Settings, cluster: Cluster, pipeline_path: Path, progress: Progress, num_registered: int) -> None:
    demo = write_demo_data(settings.home / "demo")
    progress.notice(f"{_why_train(num_registered)}: training on demo data of {FIRST_DAY} in {demo.raw}")
    options = StartOptions(
        pipeline_path=pipeline_path,
        input_uri=str(demo.raw / "partition=${today}"),
        today=FIRST_DAY,
        gateway_url=cluster.gateway_url,
    )
    try:
        start(options, settings, progress)
    finally:
        from deploy.cluster.ray_connection import leave_ray  # Ray reads the environment at import; now it is set

        leave_ray()


def wait_until_warm(client: Client, cluster: Cluster, pipeline: Pipeline) -> str:
    """Waits until the endpoint's stable version has a warm replica that a gateway knows; returns model and version."""
    endpoint = pipeline.deployment.endpoint
    latest: list[RolloutStatus] = []

    def is_warm() -> bool:
        if not cluster.is_alive:
            raise ClusterError("the cluster ended by itself", remedy="see the logs folder of the home")
        try:
            status = client.status()
            latest[:] = [rollout for rollout in status.rollouts if rollout.endpoint == endpoint]
        except DivisionsError:  # the controller or a gateway is being restarted
            return False
        if latest and latest[0].phase in _LOST and latest[0].stable_version is None:
            raise ClusterError(f"{endpoint} does not get warm: {latest[0].rollback_reason or latest[0].message}")
        reason = failure(status, endpoint)
        if reason:
            raise ClusterError(f"{endpoint} is not served: {reason}")
        # Ask the gateway last: it may learn of a replica a moment after the controller does.
        path = f"/v2/models/{endpoint}/ready"
        return bool(latest) and latest[0].stable_replicas > 0 and answers_ok(cluster.gateway_url, path)

    if not wait_until(is_warm, WARM_DEADLINE_S):
        reason = latest[0].message if latest else "no rollout of it was started"
        raise ClusterError(f"{endpoint} is not warm after {WARM_DEADLINE_S:g} s: {reason}")
    return f"{latest[0].model} {latest[0].stable_version}"
