"""What is checked before a controller is started: the journal, and the authority of the channel between nodes.

What needs the journal's database is imported where it runs: a process that only starts the controller does without.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import ray

from divisions.clock import SystemClock
from divisions.errors import DivisionsError
from divisions.settings import Settings, is_routable
from router.control.ray_handle import find_controller
from router.journal.place import NAME, is_begun

if TYPE_CHECKING:
    from router.journal.fence import Holder


def this_process(cluster: str) -> Holder:
    from router.journal.fence import Holder

    return Holder(cluster, f"process {os.getpid()} on {socket.gethostname()}")


def check_journal(settings: Settings) -> None:
    """Checks the journal before the first actor opens it: from here an error reaches the command whole.

    A journal on a server is checked where controllers run: the command's machine may not reach the server.
    """
    if find_controller() is not None:
        return
    if not settings.database:
        if is_begun(settings.home / NAME):
            from router.journal.opening import database_of

            database_of(settings).check()
        return
    check = ray.remote(_take_journal).options(num_cpus=0, max_retries=0)
    try:
        ray.get(check.remote(settings, ray.get_runtime_context().get_session_name()))
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, DivisionsError) else error) from None


def _take_journal(settings: Settings, cluster: str) -> None:
    """Opens a journal for this cluster: makes it if there is none, refuses one that is damaged or in use."""
    from router.journal.journal import Journal
    from router.journal.opening import database_of

    Journal(database_of(settings), holder=this_process(cluster)).close()


def ensure_authority(settings: Settings) -> None:
    """Puts the authority for the channel between nodes into the home; none for a cluster on the loopback interface.

    Raises:
        SettingsError: the given one cannot be used.
    """
    addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
    if not settings.channel_tls or not (settings.channel_host or any(is_routable(each) for each in addresses)):
        return
    from divisions.certificates.authority_file import obtain_authority  # a cluster on one machine needs none

    obtain_authority(settings.home, settings.channel_ca, SystemClock().wall_s())
