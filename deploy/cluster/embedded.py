"""``divisions up``: an embedded cluster in the background, or in the foreground until somebody ends it."""

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

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """``bootstrap`` is the pipeline file to run when nothing is served; None: leave it at an empty cluster."""

    settings: Settings
    is_foreground: bool
    bootstrap: Path | None


def run(wish: Wish, progress: Progress, clock: Clock, announce: Callable[[Cluster], None]) -> None:
    """Starts the cluster and tells of it. In the foreground, returns when it was asked to end and has ended.

    Raises:
        DivisionsError: something did not work; the cluster is stopped.
        KeyboardInterrupt: interrupted before there was anything to tell; the cluster is stopped.
    """
    settings = wish.settings
    if wish.bootstrap is not None:
        load_pipeline(wish.bootstrap)  # a mistake in it is told now, and not after the cluster has started
    _end_like_ctrl_c()
    cluster = ray_cluster.start(settings, progress, clock, ends_with_us=wish.is_foreground)
    is_announced = False
    try:
        _end_like_ctrl_c()  # Ray has handlers of its own, which it set meanwhile
        if wish.bootstrap is not None:
            serve_something(settings, cluster, wish.bootstrap, progress, clock)
            _end_like_ctrl_c()
        is_announced = True
        announce(cluster)
        if not wish.is_foreground:
            return
        while cluster.is_alive:
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        if wish.is_foreground:
            progress.notice("stopping")
        _stop(settings, progress, clock)
        if not (wish.is_foreground and is_announced):
            raise
        return
    except BaseException:
        _stop(settings, progress, clock)
        raise
    _end_of_cluster(settings, cluster)


def _end_like_ctrl_c() -> None:
    """Has us end orderly however we are asked to; not for a terminal that goes where ``nohup`` had us ignore that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _stop(settings: Settings, progress: Progress, clock: Clock) -> None:
    with shutdown.uninterrupted():
        try:
            shutdown.stop(settings.home, progress, clock)
        except ClusterError:  # it has ended meanwhile
            shutdown.kill(settings.home)


def _end_of_cluster(settings: Settings, cluster: Cluster) -> None:
    """The cluster has ended without us: by ``divisions down`` elsewhere, or because it crashed."""
    if shutdown.was_stopped(settings.home, cluster):
        return
    shutdown.kill(settings.home)
    raise ClusterError(
        "the cluster ended by itself", remedy=f"see {settings.home / 'logs' / 'ray.log'}; `divisions up` starts it anew"
    )
