"""What the supervisor starts: commands and places, as plain values."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.prometheus import server
from deploy.supervision import ports, ray_head
from deploy.supervision.secret_files import close_to_others, create_private_folder
from divisions.environment import inherited_environment, ray_token_of
from divisions.schedule.folder import PIPELINES
from divisions.schedule.state_file import NAME as SCHEDULE
from divisions.settings import Settings, environment_for_child, runtime_dir

HEAD_STEP = "Start Ray"
VITAL = frozenset({"gcs_server", "raylet"})
"""Processes of the head without which a cluster cannot recover."""


@dataclass(frozen=True, slots=True)
class Command:
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Launch:
    """``commands`` gives the head's command and the service's; each call picks new free ports.

    ``ready`` is the file that the head writes when all its processes run. ``log`` gets the output of all commands,
    ``session_logs`` is the folder of the logs of Ray's processes, ``kept_logs`` the place to keep those of a crashed
    cluster. ``scheduler`` runs pipelines by their trigger, once there is one (`has_pipelines`). ``prometheus`` watches
    the cluster, where it was asked for.
    """

    commands: Callable[[], tuple[Command, Command]]
    runtime: Path
    ready: Path
    log: Path
    session_logs: Path
    kept_logs: Path
    vital: frozenset[str] = VITAL
    scheduler: Command | None = None
    prometheus: Command | None = None

    def prepare(self) -> None:
        """Creates the runtime folder, empty. The logs of a cluster that crashed there are kept."""
        move_logs(self.session_logs, self.kept_logs)
        shutil.rmtree(self.runtime, ignore_errors=True)
        create_private_folder(self.runtime)


def move_logs(session_logs: Path, target: Path) -> None:
    """Moves the logs of Ray's processes, if there are any, replacing earlier ones."""
    if session_logs.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(OSError):  # a full disk must not prevent a restart or a clean-up
            shutil.move(session_logs.resolve(), target)
            close_to_others(target)


def has_pipelines(home: Path) -> bool:
    """Whether the scheduler has anything to read. Without, its process would only occupy memory."""
    return PIPELINES.is_dir() or (home / SCHEDULE).exists()


def session_logs(runtime: Path) -> Path:
    return ray_head.temp_dir(runtime) / "session_latest" / "logs"


def ray_launch(settings: Settings) -> Launch:
    """The real cluster of ``settings``."""
    runtime = runtime_dir(settings.home)

    def commands() -> tuple[Command, Command]:
        free_ports = ports.choose_free(ray_head.NUM_FREE_PORTS)
        environment = ray_head.head_environment(settings, inherited_environment(), free_ports)
        head = ray_head.head_command(settings, runtime, free_ports, os.cpu_count() or 1)
        service = [sys.executable, "-m", "deploy.supervision.service", str(os.getpid())]
        return Command(head, environment), Command(service, environment)

    scheduler = Command([sys.executable, "-m", "deploy.schedule.scheduler"], environment_for_child(settings))
    watcher = Command(server.command(settings), inherited_environment())
    return replace(
        _launch(settings, commands, VITAL),
        scheduler=scheduler if settings.schedule else None,
        prometheus=watcher if settings.prometheus_port else None,
    )


def member_launch(settings: Settings, head: str) -> Launch:
    """A node for the cluster whose head is at ``head``. ``settings.node_host`` is this machine's address."""
    runtime = runtime_dir(settings.home)

    def commands() -> tuple[Command, Command]:
        free_ports = ports.choose_free(ray_head.NUM_FREE_PORTS)
        has_token = bool(ray_token_of(settings.home))
        environment = ray_head.head_environment(settings, inherited_environment(), free_ports, has_token=has_token)
        member = ray_head.member_command(settings, head, runtime, free_ports, os.cpu_count() or 1)
        service = [sys.executable, "-m", "deploy.supervision.membership", head]
        return Command(member, environment), Command(service, environment)

    return _launch(settings, commands, frozenset({"raylet"}))


def _launch(settings: Settings, commands: Callable[[], tuple[Command, Command]], vital: frozenset[str]) -> Launch:
    runtime = runtime_dir(settings.home)
    return Launch(
        commands=commands,
        runtime=runtime,
        ready=ray_head.temp_dir(runtime) / "ray_current_cluster",  # Ray writes it when its node is complete
        log=settings.home / "logs" / "ray.log",
        session_logs=session_logs(runtime),
        kept_logs=settings.home / "logs" / "ray-crashed",
        vital=vital,
    )
