"""``divisions join``: makes this machine a node of a cluster, in the background or until a user ends it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.cluster import ray_cluster
from deploy.cluster.attached import canonical, keep_tokens, require_listener
from deploy.cluster.embedded import signals_interrupt, stop, wait_for_end
from deploy.supervision.cluster_file import Cluster, require_down
from deploy.supervision.secret_files import create_private_folder
from divisions.clock import Clock
from divisions.errors import ClusterError, UsageError, reason_of
from divisions.progress import Progress
from divisions.settings import Settings


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """``host`` is this machine's address, empty to find it; ``token_file`` holds Ray's token, None to use what the home
    or the environment has."""

    settings: Settings
    head: str
    host: str
    token_file: Path | None
    is_foreground: bool


def run(request: JoinRequest, progress: Progress, clock: Clock, announce: Callable[[Cluster], None]) -> None:
    """Joins and announces it. In the foreground, returns after the node was ended on request.

    Raises:
        DivisionsError: a step failed; nothing of it is left.
        KeyboardInterrupt: interrupted before the announcement; nothing of it is left.
    """
    head = canonical(request.head)
    require_listener(head)
    host = request.host or request.settings.node_host or own_address(head)
    settings = replace(request.settings, node_host=host)
    create_private_folder(settings.home)
    require_down(settings.home)  # the tokens that it has are of another cluster
    has_token = keep_tokens(settings.home, head, _read_token(request.token_file) if request.token_file else "")
    signals_interrupt()
    cluster = ray_cluster.join(settings, head, progress, clock, has_token=has_token, ends_with_us=request.is_foreground)
    announce(cluster)
    if not request.is_foreground:
        return
    try:
        wait_for_end(settings, cluster, progress)
    except KeyboardInterrupt:
        progress.notice("stopping")
        stop(settings, progress, clock)
    except BaseException:
        stop(settings, progress, clock)
        raise


def own_address(head: str) -> str:
    """The address by which this machine reaches the head, and so the one by which the head reaches it.

    >>> own_address("127.0.0.1:6479")
    '127.0.0.1'
    """
    host, _, port = head.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # connecting sends nothing
        try:
            probe.connect((host.strip("[]"), int(port)))
        except OSError as error:
            raise ClusterError(
                f"this machine has no way to {head}: {error}", remedy="name its address with --host"
            ) from None
        return str(probe.getsockname()[0])


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        told = f"the token in {file} cannot be read: {reason_of(error)}"
        raise UsageError(told, remedy="name another file") from None
