"""Version applications on Ray Serve. Every call here blocks; the controller makes them in a thread."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import msgspec
import ray
from ray import serve
from ray.serve._private.common import DeploymentID
from ray.serve.context import _get_global_client

from divisions.cause import cause_in
from divisions.control import VersionSpec
from divisions.errors import ClusterError
from router.control.applications import FOREIGN, ApplicationState
from router.control.nodes import GATEWAY_APP
from router.control.ray_ownership import Ledger

RESIZE_TIMEOUT_S = 10.0


class RayApplications:
    """Runs each version as a Serve application of its own, so that a new version never replaces an old one's replicas.

    Args:
        builder: the function that builds an application, ``package.module:function``. It is called with the version
            as JSON, the home folder and the stamp. It is named by text, because the router does not import serving.
        home: the deployer's home folder.
        stamp: of the deployment that a replica's node must have.
    """

    def __init__(self, builder: str, home: str, stamp: str = "") -> None:
        self._builder = builder
        self._home = home
        self._stamp = stamp
        self._ledger = Ledger(lambda name: not name.startswith(GATEWAY_APP))

    def start(self, version: VersionSpec) -> None:
        """Hands the application to Serve and returns; Serve starts its replicas.

        A second call would replace the replicas, so callers start only what does not exist.
        """
        self._connect()
        self._ledger.starts(version.app_name)
        application = resolve(self._builder)(msgspec.json.encode(version), self._home, self._stamp)
        serve.run_many(
            # "External" is what lets `resize` change the number; nothing else in Serve then does.
            [
                serve.RunTarget(
                    target=application, name=version.app_name, route_prefix=None, external_scaler_enabled=True
                )
            ],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def stop(self, app_name: str) -> None:
        serve.delete(app_name, _blocking=False)

    def resize(self, version: VersionSpec) -> None:
        """Tells Serve how many replicas to run. Deploying the application again would replace all of them."""
        self._connect()
        client = _get_global_client(raise_if_no_controller_running=True)
        deployment = DeploymentID(name=version.model, app_name=version.app_name)
        call = client._controller.update_deployment_replicas.remote(deployment, version.replicas)
        ray.get(call, timeout=RESIZE_TIMEOUT_S)

    def running(self) -> Mapping[str, ApplicationState]:
        applications = serve.status().applications
        self._ledger.sees(applications)
        return {
            name: ApplicationState(
                str(overview.status.value) if self._ledger.owns(name) else FOREIGN,
                cause_in([overview.message, *(part.message for part in overview.deployments.values())]),
            )
            for name, overview in applications.items()
        }

    def _connect(self) -> None:
        # Without this, the first application of a cluster would start Serve with its HTTP proxies.
        serve.start(proxy_location="Disabled")


def resolve(path: str) -> Any:
    module, _, function = path.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"the application builder {path!r} cannot be imported: {error}",
            remedy="install Divisions on every node in the same version",
        ) from None
