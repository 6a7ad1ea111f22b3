"""The product as its users use it: commands in processes of their own, with a home of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from benchmarks.harness.ports import free_ports
from divisions.errors import ClusterError, DivisionsError, RolloutError
from divisions.sdk.client import Client
from divisions.status import RolloutStatus

_POLL_S = 0.5
_REPEAT_S = 4.0
_DOWN_S = 90.0


class ProductCluster:
    """One cluster in ``home``, on free ports.

    Args:
        home: folder of all its state.
        say: takes one line of progress at a time.
        log: takes the output of quiet commands.
        is_quiet: whether all commands are quiet.
    """

    def __init__(self, home: Path, say: Callable[[str], None], log: Path, is_quiet: bool = False) -> None:
        self._home = home
        self._say = say
        self._log = log
        self._is_quiet = is_quiet
        self._port, dashboard_port, gcs_port = free_ports(3)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DIVISIONS_")}
        self.environment = kept | {
            "DIVISIONS_HOME": str(home),
            "DIVISIONS_PORT": str(self._port),
            "DIVISIONS_DASHBOARD_PORT": str(dashboard_port),
            "DIVISIONS_GCS_PORT": str(gcs_port),
            "DIVISIONS_SCHEDULE": "0",  # at 02:00 the checkout's pipeline would run
        }

    @property
    def home(self) -> Path:
        return self._home

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        scheme = "https" if self.environment.get("DIVISIONS_TLS_CERT") else "http"
        return f"{scheme}://127.0.0.1:{self._port}"

    def client(self) -> Client:
        return Client(self.url, home=self._home)

    def divisions(self, *arguments: str, timeout_s: float = 240.0, is_quiet: bool = False) -> None:
        """Runs one command of the product; if quiet, its output goes to the log and is quoted when it fails.

        Raises:
            ClusterError: it failed, or took longer than ``timeout_s``.
        """
        line = shlex.join(("divisions", *arguments))
        self._say(f"$ {line}")
        is_quiet = is_quiet or self._is_quiet
        try:
            with self._log.open("ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "divisions.cli", *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log if is_quiet else None,
                    stderr=log if is_quiet else None,
                    timeout=timeout_s,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"`{line}` took longer than {timeout_s:g} s", remedy=self._where_to_look()) from None
        if done.returncode:
            quote = f": {self._log.read_text(errors='replace')[-500:].strip()}" if is_quiet else ""
            raise ClusterError(
                f"`{line}` failed with exit status {done.returncode}{quote}", remedy=self._where_to_look()
            )

    def up(self, *options: str) -> None:
        self.divisions("up", "--port", str(self._port), *options)

    def down(self) -> None:
        """Stops everything that `up` started. A failure is reported, not raised, because this runs during clean-up.

        A second Ctrl-C is ignored, here and in the command itself (ignored signals are inherited).
        """
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.divisions("down", timeout_s=_DOWN_S)
        except DivisionsError as error:
            self._say(f"warning: {error}")
        finally:
            signal.signal(signal.SIGINT, before)

    def wait_for(
        self, endpoint: str, version: str, phases: Collection[str], timeout_s: float, report: Callable[[str], None]
    ) -> RolloutStatus:
        """Follows a rollout until it is in one of ``phases``; reports each new phase and weight, and the message now
        and then.

        Raises:
            RolloutError: it ended in another way, holds, or took too long.
        """
        over = {"PROMOTED", "ROLLED_BACK", "HOLD"}
        ends_s, text, told, told_at_s = time.monotonic() + timeout_s, "", ("", 0), 0.0
        with self.client() as client:
            while time.monotonic() < ends_s:
                try:
                    status = client.rollout(endpoint).status()
                except DivisionsError as error:
                    report(f"(the control API did not answer: {error.message})")
                    time.sleep(_POLL_S)
                    continue
                if version in {status.canary_version, status.stable_version}:
                    text = f"{status.phase}: {status.message}"
                    at = (status.phase, status.set_weight_bp)
                    if at != told or time.monotonic() - told_at_s >= _REPEAT_S:
                        report(f"{status.phase} {status.set_weight_bp / 100:g} %: {status.message}")
                        told, told_at_s = at, time.monotonic()
                    if status.phase in phases:
                        return status
                    if status.phase in over:
                        raise RolloutError(f"the rollout of {version} ended in {text}, not in {' or '.join(phases)}")
                time.sleep(_POLL_S)
        raise RolloutError(f"the rollout of {version} was not {' or '.join(phases)} after {timeout_s:g} s: {text}")

    def _where_to_look(self) -> str:
        return f"see {self._log} and {self._home / 'logs'}"


@contextlib.contextmanager
def quiet_cluster(
    work: Path, say: Callable[[str], None], *options: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ProductCluster]:
    """A cluster in ``work`` that is up with these options of `divisions up`, and down afterwards in any case.

    Args:
        environment: further settings.

    Raises:
        ClusterError: it did not come up.
    """
    (work / "home").mkdir()
    cluster = ProductCluster(work / "home", say, work / "server.log", is_quiet=True)
    cluster.environment |= environment
    try:
        cluster.up(*options)
        yield cluster
    finally:
        cluster.down()
