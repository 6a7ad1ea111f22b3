"""What `router.control.nodes` decides, done with Ray: nodes are prepared, gateways started and stopped.

Every call here blocks, but for `RayNodes.prepare`; the controller makes them in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray import serve
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from divisions.cause import cause_in
from divisions.code_identity import code_identity
from divisions.deployment import Deployment, read_deployment, write_node
from divisions.errors import ClusterError
from divisions.settings import node_home
from router.control.nodes import GATEWAY_APP, GatewayState, SeenNode
from router.control.ray_applications import resolve
from router.control.ray_nodes import list_nodes
from router.control.ray_ownership import Ledger

PREPARE_S = 45.0
"""How long a node may take. Ray starts a process there for it."""


class RayNodes:
    """See the module.

    Args:
        deployment: in force.
        builder: the function that builds an application of gateways, ``package.module:function``, by name because the
            controller does not import the gateway.
    """

    def __init__(self, deployment: Deployment, builder: str) -> None:
        self._deployment = deployment
        self._builder = builder
        self._ledger = Ledger(lambda name: name.startswith(GATEWAY_APP))
        self._preparation: Any = None

    def list_nodes(self) -> tuple[SeenNode, ...]:
        return list_nodes()

    async def prepare(self, node: SeenNode, secrets: Mapping[str, bytes]) -> str:
        """As `prepare_nodes`. No thread waits: a few nodes that hang would take all that the controller has."""
        call = await asyncio.to_thread(self._begin, node, secrets)
        waiting = asyncio.wrap_future(call.future())
        waiting.add_done_callback(asyncio.Future.exception)  # One that comes too late is nobody's fault.
        done, _ = await asyncio.wait([waiting], timeout=PREPARE_S)
        if done:
            return await asyncio.to_thread(_outcome, call, node)
        await asyncio.to_thread(partial(ray.cancel, call, force=True))
        return _late(node, PREPARE_S)

    def _begin(self, node: SeenNode, secrets: Mapping[str, bytes]) -> Any:
        self._preparation = self._preparation or _preparation()  # Ray gets the function once.
        return _begin(self._preparation, node, self._deployment, secrets)

    def gateways(self) -> Mapping[str, GatewayState]:
        """All applications of gateways, also those of earlier deployments."""
        applications = serve.status().applications
        self._ledger.sees(applications)
        return {
            name: GatewayState(
                str(overview.status.value),
                sum(part.replica_states.get("RUNNING", 0) for part in overview.deployments.values()),
                cause_in([overview.message, *(part.message for part in overview.deployments.values())]),
            )
            for name, overview in applications.items()
            if name.startswith(GATEWAY_APP)
        }

    def start(self, app_name: str, node: SeenNode) -> None:
        """Hands a node's gateways to Serve, which starts them and watches them, and returns."""
        self._ledger.starts(app_name)
        serve.start(proxy_location="Disabled")
        deployment = self._deployment
        application = resolve(self._builder)(node.node_id, node.gateways, deployment.home, deployment.stamp)
        serve.run_many(
            [serve.RunTarget(target=application, name=app_name, route_prefix=None)],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def stop(self, app_name: str) -> None:
        serve.delete(app_name, _blocking=False)


def prepare_nodes(
    nodes: Sequence[SeenNode], deployment: Deployment, secrets: Mapping[str, bytes], timeout_s: float = PREPARE_S
) -> dict[str, str]:
    """Checks the code of nodes, and writes settings and tokens into their homes.

    Returns:
        Why a node was refused, by its id; an empty text for one that is ready.
    """
    prepare = _preparation()
    calls = {_begin(prepare, node, deployment, secrets): node for node in nodes}
    done, late = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s) if calls else ([], [])
    outcomes = {calls[call].node_id: _outcome(call, calls[call]) for call in done}
    for call in late:
        ray.cancel(call, force=True)
        outcomes[calls[call].node_id] = _late(calls[call], timeout_s)
    return outcomes


def _begin(prepare: Any, node: SeenNode, deployment: Deployment, secrets: Mapping[str, bytes]) -> Any:
    there = prepare.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False))
    return there.remote(deployment.code, deployment.encoded(), dict(secrets))


def _late(node: SeenNode, timeout_s: float) -> str:
    return f"{node.address} did not answer within {timeout_s:g} s"


def obtain_deployment(home: str, stamp: str, timeout_s: float = PREPARE_S) -> None:
    """Gives this node what other nodes have, if nobody has prepared it: settings and secrets.

    The controller prepares nodes. When it starts itself on a node that has just joined, it must do that one first.

    Args:
        home: the deployer's home, for nodes that have none of their own.
        stamp: the deployment that is wanted.

    Raises:
        ClusterError: this node has other code, or its home cannot be written.
    """
    folder = node_home(Path(home))
    if read_deployment(folder) is not None:
        return
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in list_nodes() if node.is_alive and node.node_id != here]
    read = _reading()
    calls = [
        read.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(home)
        for node in others
    ]
    done, late = ray.wait(calls, num_returns=len(calls), timeout=timeout_s) if calls else ([], [])
    for call in late:
        ray.cancel(call, force=True)
    found = []
    for call in done:
        with contextlib.suppress(ray.exceptions.RayError):
            found.append(ray.get(call))
    chosen = choose_deployment([each for each in found if each is not None], stamp)
    if chosen is None:
        return
    deployment, secrets = chosen
    if deployment.code != code_identity():
        raise ClusterError(
            f"this node has divisions {code_identity()}, the cluster has {deployment.code}",
            remedy="install the same wheel on every node, then start its Ray again",
        )
    write_node(folder, deployment, secrets)


def choose_deployment(
    found: Sequence[tuple[bytes, dict[str, bytes]]], stamp: str
) -> tuple[Deployment, dict[str, bytes]] | None:
    """The wanted deployment, else the one that most nodes have: an `up` with other settings may have come since."""
    known = [(msgspec.json.decode(encoded, type=Deployment), secrets) for encoded, secrets in found]
    votes = Counter(deployment.stamp for deployment, _ in known)
    return max(known, key=lambda one: (one[0].stamp == stamp, votes[one[0].stamp]), default=None)


def _reading() -> Any:
    """The task that reads what a node has; made here for the same reason as `_preparation`."""

    def read_node(home: str) -> tuple[bytes, dict[str, bytes]] | None:
        try:
            from divisions.deployment import read_deployment, read_secrets
            from divisions.settings import node_home
        except ImportError:
            return None
        from pathlib import Path

        folder = node_home(Path(home))
        found = read_deployment(folder)
        return None if found is None else (found.encoded(), read_secrets(folder))

    return ray.remote(num_cpus=0, max_retries=0)(read_node)


def _outcome(call: Any, node: SeenNode) -> str:
    try:
        why = ray.get(call)
    except ray.exceptions.RayError as error:
        return f"{node.address} ({node.hostname}) could not be prepared: {cause_in([str(error)])}"
    return f"{node.address} ({node.hostname}) {why}" if why else ""


def _preparation() -> Any:
    """The task that prepares a node. It is made here, because only then does Ray send the function itself: the node may
    have no code of ours, or other code."""

    def prepare_node(code: str, encoded: bytes, secrets: dict[str, bytes]) -> str:
        install = "install the same wheel on every node, then start its Ray again"
        try:
            from divisions.code_identity import code_identity
        except ImportError:
            return f"has no divisions installed, or one that is too old; the cluster has {code}. {install}"
        code_identity.cache_clear()
        if code_identity() != code:
            return f"has divisions {code_identity()}, the cluster has {code}. {install}"
        from pathlib import Path

        import msgspec

        from divisions.deployment import Deployment, write_node
        from divisions.errors import DivisionsError
        from divisions.settings import node_home

        deployment = msgspec.json.decode(encoded, type=Deployment)
        try:
            write_node(node_home(Path(deployment.home)), deployment, secrets)
        except DivisionsError as error:
            return f"refused: {error}"
        return ""

    return ray.remote(num_cpus=0, max_retries=0)(prepare_node)
