"""``divisions up``: starts an embedded cluster, in the background or in the foreground until a user ends it."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster import first_run, ray_cluster, shutdown
from deploy.cluster.bootstrap import serve_something
from deploy.cluster.packaged import load_release, serve_release
from deploy.cluster.warm import warm_up
from deploy.supervision.cluster_file import FAILED, RESTARTING, UP, Cluster, read_cluster
from divisions.clock import Clock
from divisions.errors import ClusterError
from divisions.pipeline.file import load_pipeline
from divisions.progress import Progress
from divisions.settings import Settings

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class UpRequest:
    """``bootstrap`` is the pipeline file to run when nothing is served, ``release`` the folder of a version to serve.
    Without both, the cluster serves what its journal has."""

    settings: Settings
    is_foreground: bool
    bootstrap: Path | None
    release: Path | None = None


def run(
    request: UpRequest, progress: Progress, clock: Clock, announce: Callable[[Cluster, Mapping[str, str]], None]
) -> Mapping[str, str]:
    """Starts the cluster and announces it. In the foreground, returns after the cluster was stopped on request.

    Returns:
        The endpoints that the journal has, but that do not answer, and the reason of each. The cluster runs.

    Raises:
        DivisionsError: a step failed; the cluster is stopped.
        KeyboardInterrupt: interrupted before the announcement; the cluster is stopped.
    """
    settings = request.settings
    if request.bootstrap is not None:
        load_pipeline(request.bootstrap)  # report its mistakes now, not after the cluster has started
    if request.release is not None:
        load_release(request.release)
    signals_interrupt()
    is_first = request.bootstrap is not None and first_run.is_first(settings)
    with first_run.importing() if is_first else contextlib.nullcontext():
        cluster = ray_cluster.start(settings, progress, clock, ends_with_us=request.is_foreground)
    is_announced = False
    failures: Mapping[str, str] = {}
    try:
        if request.bootstrap is not None:
            serve_something(settings, cluster, request.bootstrap, progress, clock)
            signals_interrupt()  # Ray, which training may use, has set its own handlers
        else:
            if request.release is not None:
                serve_release(settings, cluster, request.release, progress, clock)
                signals_interrupt()  # Ray, which is asked for GPUs, too
            failures = warm_up(settings, cluster, progress, clock)
        is_announced = True
        announce(cluster, failures)
        if request.is_foreground:
            wait_for_end(settings, cluster, progress)
    except KeyboardInterrupt:
        if request.is_foreground:
            progress.notice("stopping")
        stop(settings, progress, clock)
        if not (request.is_foreground and is_announced):
            raise
    except BaseException:
        stop(settings, progress, clock)
        raise
    return failures


def wait_for_end(settings: Settings, cluster: Cluster, progress: Progress) -> None:
    """Returns when the cluster was stopped elsewhere; reports its restarts until then.

    Raises:
        ClusterError: it ended without being asked to.
    """
    last = cluster
    while cluster.is_alive:
        time.sleep(POLL_S)
        last = _report_restart(settings.home, last, progress)
    last = _report_restart(settings.home, last, progress)
    if shutdown.was_stopped(settings.home, cluster):
        return
    reason = last.message if last.phase == FAILED else "its supervisor was killed"
    raise ClusterError(
        f"the cluster ended by itself: {reason}", remedy=f"see {settings.home / 'logs'}; `divisions up` starts it again"
    )


def _report_restart(home: Path, last: Cluster, progress: Progress) -> Cluster:
    """Reports that a restart began or ended since ``last``; returns the present state."""
    with contextlib.suppress(ClusterError):
        now = read_cluster(home)
        if now is None or now.pid != last.pid:
            return last
        has_crashed = now.restarts != last.restarts
        if has_crashed:
            progress.notice(f"the cluster crashed: {now.message}; restart {now.restarts}")
        if now.phase == UP and (has_crashed or last.phase == RESTARTING):  # a whole restart may lie between two looks
            progress.notice("the cluster serves again")
        return now
    return last


def signals_interrupt() -> None:
    """Makes every stop signal raise `KeyboardInterrupt`. SIGHUP stays ignored where ``nohup`` ignores it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def stop(settings: Settings, progress: Progress, clock: Clock) -> None:
    with shutdown.uninterrupted():
        try:
            shutdown.stop(settings.home, progress, clock)
        except ClusterError:  # the cluster has ended meanwhile
            shutdown.kill(settings.home)
