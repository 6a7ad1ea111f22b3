"""``divisions up``: starts an embedded cluster, in the background or in the foreground until a user ends it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster import ray_cluster, shutdown
from deploy.cluster.bootstrap import serve_something
from deploy.cluster.cluster_file import Cluster
from divisions.clock import Clock
from divisions.errors import ClusterError
from divisions.pipeline.file import load_pipeline
from divisions.progress import Progress
from divisions.settings import Settings

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class UpRequest:
    """``bootstrap`` is the pipeline file to run when nothing is served. None starts an empty cluster."""

    settings: Settings
    is_foreground: bool
    bootstrap: Path | None


def run(request: UpRequest, progress: Progress, clock: Clock, announce: Callable[[Cluster], None]) -> None:
    """Starts the cluster and announces it. In the foreground, returns after the cluster was stopped on request.

    Raises:
        DivisionsError: a step failed; the cluster is stopped.
        KeyboardInterrupt: interrupted before the announcement; the cluster is stopped.
    """
    settings = request.settings
    if request.bootstrap is not None:
        load_pipeline(request.bootstrap)  # report its mistakes now, not after the cluster has started
    _signals_interrupt()
    cluster = ray_cluster.start(settings, progress, clock, ends_with_us=request.is_foreground)
    is_announced = False
    try:
        _signals_interrupt()  # Ray has set its own handlers meanwhile
        if request.bootstrap is not None:
            serve_something(settings, cluster, request.bootstrap, progress, clock)
            _signals_interrupt()
        is_announced = True
        announce(cluster)
        if not request.is_foreground:
            return
        while cluster.is_alive:
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        if request.is_foreground:
            progress.notice("stopping")
        _stop(settings, progress, clock)
        if not (request.is_foreground and is_announced):
            raise
        return
    except BaseException:
        _stop(settings, progress, clock)
        raise
    _end_of_cluster(settings, cluster)


def _signals_interrupt() -> None:
    """Makes every stop signal raise `KeyboardInterrupt`. SIGHUP stays ignored where ``nohup`` ignores it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _stop(settings: Settings, progress: Progress, clock: Clock) -> None:
    with shutdown.uninterrupted():
        try:
            shutdown.stop(settings.home, progress, clock)
        except ClusterError:  # the cluster has ended meanwhile
            shutdown.kill(settings.home)


def _end_of_cluster(settings: Settings, cluster: Cluster) -> None:
    """Handles a cluster that ended without us: by ``divisions down`` elsewhere, or because it crashed."""
    if shutdown.was_stopped(settings.home, cluster):
        return
    shutdown.kill(settings.home)
    raise ClusterError(
        "the cluster ended by itself", remedy=f"see {settings.home / 'logs' / 'ray.log'}; `divisions up` starts it anew"
    )
