"""The parent of all processes of an embedded cluster. It starts them, starts them again after a crash, and ends them.

    divisions up --foreground     (when it dies, the kernel signals the supervisor)
      └── supervisor              a session of its own; adopts every orphan below it (`deploy.supervision.descendants`)
            ├── ray start --block (when the supervisor dies, the kernel signals it)
            │     └── GCS, raylet, dashboard, … └── workers: controller, gateways, replicas
            ├── service           starts Ray Serve, controller and gateways, then ends (`deploy.supervision.service`)
            ├── scheduler         runs pipelines by their trigger, if there are any (`deploy.schedule.scheduler`)
            └── prometheus        Debian's, with `up --prometheus` (`deploy.prometheus.server`)

A cluster without its GCS or its raylet cannot recover: the rest of it ends within a minute. So the supervisor kills
the rest at once and starts everything anew. The controller replays its journal, so the same versions are served.
Crashes are counted (`deploy.supervision.restarts`). After too many the supervisor ends, and ``cluster.json`` says why.
A first start that fails is not repeated, except when Ray ran out of its own time on a busy machine.

    python -m deploy.supervision.supervisor PARENT_PID [HEAD:PORT]      0: live on without the parent

With the address of a head it runs a node of that cluster (``divisions join``), and never gives up: the head may be away
for hours. The settings come from the environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psutil

from deploy.supervision import cluster_file
from deploy.supervision.beside import Beside
from deploy.supervision.crash import CrashError, is_out_of_time, reason_of_end
from deploy.supervision.descendants import adopt_orphans, end_all, end_with_parent, reap
from deploy.supervision.launch import HEAD_STEP, Command, Launch, has_pipelines, member_launch, ray_launch
from deploy.supervision.patience import Patience, StartLimits
from deploy.supervision.processes import is_alive, start_ticks, wait_until
from deploy.supervision.restarts import RestartPolicy, next_pause_s
from divisions.settings import PRIVATE_UMASK, load_settings

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_S = 0.2
_FILE_S = 30.0
_REPORT_S = 1.5
"""How long the head may take to report which process ended: it looks once a second."""
_BESIDE_PAUSE_S = 5.0
"""Between two starts of the scheduler or Prometheus, and between two looks whether there is a pipeline."""
_CPU_STEP_S = 2.0
"""Processor time of a starting process that counts as progress. A process that hangs uses some, but less."""


class _StopRequested(BaseException):
    """A signal asks us to end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a supervisor."""

    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    start: StartLimits = field(default_factory=StartLimits)
    first_starts: int = 3
    grace_s: float = 10.0


class Supervisor:
    """Runs one cluster until it is asked to end, or gives up.

    Args:
        home: the cluster's home folder; ``cluster.json`` in it must name this process.
        launch: what to run.
        limits: how often, and how long.
    """

    def __init__(self, home: Path, launch: Launch, limits: Limits) -> None:
        self._home = home
        self._launch = launch
        self._limits = limits
        self._started: list[subprocess.Popen[bytes]] = []
        """Kept, because a forgotten `Popen` would take exit statuses away from `reap`."""
        self._head = 0
        self._vital: list[tuple[str, int, int | None]] = []
        """Name, pid and start of the head's processes that must live."""
        self._beside = [
            Beside(name, command, is_wanted, end)
            for name, command, is_wanted, end in (
                # At once: it may be killed at any point, and the end of the head must not wait for it.
                ("the scheduler", launch.scheduler, lambda: has_pipelines(home), signal.SIGKILL),
                ("Prometheus", launch.prometheus, lambda: True, signal.SIGTERM),
            )
            if command is not None
        ]
        self._log_start = 0
        self._num_starts = 0
        self._has_served = False
        self._crashes_s: list[float] = []
        self._is_to_stop = False

    def run(self) -> int:
        """Returns the exit status: 0 when it was asked to end, 1 when it gave up."""
        status = 0
        try:
            for number in _STOP_SIGNALS:
                signal.signal(number, self._request_stop)
            status = self._keep_running()
        except _StopRequested:
            _log("asked to end")
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for one in self._beside:
            one.stop()
        end_all(self._head, self._limits.grace_s)
        return status

    def _keep_running(self) -> int:
        # `divisions up` writes the file, because it knows our pid only after our start.
        wait_until(lambda: self._record() is not None, _FILE_S)
        while self._record() is not None:
            try:
                self._run_once()
            except CrashError as crash:
                _log(f"the cluster crashed: {crash}")
                self._head = 0
                end_all()
                for one in self._beside:
                    one.pid = 0
                pause_s = self._pause_s(crash)
                if pause_s is None:
                    self._record(phase=cluster_file.FAILED, step="", message=self._why_given_up(crash))
                    return 1
                self._announce_restart(crash)
                self._pause(pause_s)
        return 0

    def _request_stop(self, number: int, frame: object) -> None:
        """Interrupts what we do, once: a second signal must not interrupt the end. Python drops an exception that a
        handler raises in the clean-up of an object, so each loop looks, too (`_pause`)."""
        if not self._is_to_stop:
            self._is_to_stop = True
            raise _StopRequested

    def _pause(self, pause_s: float) -> None:
        """Raises: _StopRequested: a signal asks us to end."""
        wait_until(lambda: self._is_to_stop, pause_s)
        if self._is_to_stop:
            raise _StopRequested

    def _run_once(self) -> NoReturn:
        """Raises: CrashError: the cluster crashed, or did not start."""
        try:
            self._start()
            self._watch()
        except CrashError:
            raise
        except Exception as error:  # The edge of the loop: a full disk, for example, must not end the supervisor.
            raise CrashError(f"{type(error).__name__}: {error}") from error

    def _start(self) -> None:
        """Starts everything; returns when it serves.

        Raises:
            CrashError: a step failed, or made no progress.
        """
        self._num_starts += 1
        self._record(step=HEAD_STEP)
        self._launch.prepare()
        self._log_start = self._launch.log.stat().st_size if self._launch.log.exists() else 0
        head, service = self._launch.commands()
        self._vital = []
        self._head = self._run(head)
        self._wait_for(self._head, lambda ended: self._launch.ready.exists())
        self._vital = self._find_vital()
        starting = self._run(service)
        self._wait_for(starting, lambda ended: ended.get(starting) == 0)
        if self._record(phase=cluster_file.UP, step="") is not None:
            self._has_served = True
            _log(f"serves, after start {self._num_starts}")

    def _watch(self) -> NoReturn:
        while True:
            ended = reap()
            self._require_running(ended)
            self._keep_beside(ended)
            self._pause(_POLL_S)

    def _keep_beside(self, ended: dict[int, int]) -> None:
        """Starts what runs beside the cluster, again if it has ended: the cluster serves on without it."""
        for one in self._beside:
            if told := one.has_ended(ended):
                _log(told)
            if one.may_start(time.monotonic(), _BESIDE_PAUSE_S):
                one.pid = self._run(one.command)

    def _wait_for(self, starting: int, is_done: Callable[[dict[int, int]], bool]) -> None:
        patience = Patience(self._limits.start, time.monotonic())
        while True:
            ended = reap()
            if is_done(ended):
                return
            if starting in ended:
                raise CrashError(f"{self._step()}: {self._reason_of_end(ended[starting])}")
            self._require_running(ended)
            mark = (self._step(), _size_of(self._launch), int(_cpu_s(starting) / _CPU_STEP_S))
            if why := patience.exhausted(mark, time.monotonic()):
                raise CrashError(f"{self._step()} {why} ({_load()}). The log ends with {self._last_line()!r}")
            self._pause(_POLL_S)

    def _require_running(self, ended: dict[int, int]) -> None:
        """Raises: CrashError: the head, or a process of it that must live, has ended."""
        if self._head in ended:
            raise CrashError(self._reason_of_end(ended[self._head]))
        dead = [(name, pid) for name, pid, ticks in self._vital if ticks is None or not is_alive(pid, ticks)]
        if dead:
            wait_until(lambda: self._head in reap(), _REPORT_S)
            name, pid = dead[0]
            raise CrashError(reason_of_end(self._lines(), f"{name} (pid {pid}) ended", {name for name, _ in dead}))

    def _reason_of_end(self, status: int) -> str:
        return reason_of_end(self._lines(), f"it ended with status {status}")

    def _pause_s(self, crash: CrashError) -> float | None:
        """Seconds until the next start; None when there is to be none."""
        if not self._has_served:
            is_worth_another = is_out_of_time(str(crash)) and self._num_starts < self._limits.first_starts
            return self._limits.restarts.pause_s if is_worth_another else None
        self._crashes_s.append(time.monotonic())
        return next_pause_s(self._crashes_s, self._limits.restarts)

    def _announce_restart(self, crash: CrashError) -> None:
        phase = cluster_file.RESTARTING if self._has_served else cluster_file.STARTING
        self._record(phase=phase, step=HEAD_STEP, restarts=len(self._crashes_s), message=str(crash))

    def _why_given_up(self, crash: CrashError) -> str:
        if not self._has_served:
            return str(crash)
        policy = self._limits.restarts
        return f"it crashed more than {policy.most} times in {policy.window_s / 60:.0f} minutes, at last: {crash}"

    def _record(self, **changes: Any) -> cluster_file.Cluster | None:
        """Changes ``cluster.json``; None when the cluster is to stop."""
        try:
            return cluster_file.change_cluster(self._home, os.getpid(), **changes)
        except OSError as error:  # a full disk must not keep the cluster from coming back
            _log(f"cluster.json cannot be written: {error}")
            return cluster_file.read_cluster(self._home)

    def _step(self) -> str:
        with contextlib.suppress(Exception):
            cluster = cluster_file.read_cluster(self._home)
            return cluster.step if cluster is not None else ""
        return ""

    def _find_vital(self) -> list[tuple[str, int, int | None]]:
        found = []
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._head).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if child.name() in self._launch.vital:
                        found.append((child.name(), child.pid, start_ticks(child.pid)))
        return found

    def _run(self, command: Command) -> int:
        # preexec_fn is safe: we have no threads that could hold a lock.
        process = subprocess.Popen(
            command.arguments,
            env=command.environment,
            preexec_fn=end_with_parent,  # noqa: PLW1509
            stdin=subprocess.DEVNULL,
        )
        self._started.append(process)
        return process.pid

    def _lines(self) -> list[str]:
        """The lines of the log since the present start."""
        try:
            return self._launch.log.read_bytes()[self._log_start :].decode(errors="replace").splitlines()
        except OSError:
            return []

    def _last_line(self) -> str:
        return next((line.strip()[:200] for line in reversed(self._lines()) if line.strip()), "")


def _log(text: str) -> None:
    print(f"supervisor: {text}", flush=True)


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def _size_of(launch: Launch) -> int:
    """Bytes of all logs and the number of files: grows while a start makes progress."""
    total = 0
    # Not rglob(): it raises when Ray replaces a folder meanwhile.
    below = (Path(folder, name) for folder, _, files in os.walk(launch.session_logs) for name in files)
    for path in [launch.log, *below]:
        with contextlib.suppress(OSError):
            total += path.stat().st_size + 1
    return total


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def main(arguments: Sequence[str]) -> int:
    os.umask(PRIVATE_UMASK)
    parent = int(arguments[0])
    adopt_orphans()
    if parent:
        end_with_parent()
        if os.getppid() != parent:  # it died before we asked the kernel
            return 0
    settings = load_settings()
    if arguments[1:]:
        limits = Limits(RestartPolicy(most=sys.maxsize))
        return Supervisor(settings.home, member_launch(settings, arguments[1]), limits).run()
    return Supervisor(settings.home, ray_launch(settings), Limits()).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
