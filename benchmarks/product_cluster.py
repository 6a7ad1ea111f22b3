"""The product as its users use it: the command line in processes of its own, in a home of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.ports import free_ports
from divisions.client import Client
from divisions.control import RolloutStatus
from divisions.errors import ClusterError, DivisionsError, RolloutError

_POLL_S = 0.5
_DOWN_S = 90.0


class ProductCluster:
    """One cluster in ``home``, on free ports.

    Args:
        home: folder of all its state.
        say: takes one line of the story at a time.
        output: where the commands' own output goes; None is the terminal.
    """

    def __init__(self, home: Path, say: Callable[[str], None], output: Path | None = None) -> None:
        self._home = home
        self._say = say
        self._output = output
        self._port, dashboard_port, gcs_port = free_ports(3)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DIVISIONS_")}
        self._environment = kept | {
            "DIVISIONS_HOME": str(home),
            "DIVISIONS_PORT": str(self._port),
            "DIVISIONS_DASHBOARD_PORT": str(dashboard_port),
            "DIVISIONS_GCS_PORT": str(gcs_port),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def client(self) -> Client:
        return Client(self.url, home=self._home)

    def divisions(self, *arguments: str, timeout_s: float = 240.0) -> None:
        """Runs one command of the product.

        Raises:
            ClusterError: it failed, or took longer than ``timeout_s``.
        """
        line = shlex.join(("divisions", *arguments))
        self._say(f"$ {line}")
        try:
            with contextlib.ExitStack() as stack:
                file = stack.enter_context(self._output.open("ab")) if self._output else None
                done = subprocess.run(
                    [sys.executable, "-m", "divisions.cli", *arguments],
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    timeout=timeout_s,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"`{line}` took longer than {timeout_s:g} s", remedy=self._where_to_look()) from None
        if done.returncode:
            raise ClusterError(f"`{line}` failed with exit status {done.returncode}", remedy=self._where_to_look())

    def up(self, *options: str) -> None:
        self.divisions("up", "--port", str(self._port), *options)

    def down(self) -> None:
        """Stops everything that `up` started; says so if that failed, but does not raise: it runs on the way out."""
        try:
            self.divisions("down", timeout_s=_DOWN_S)
        except DivisionsError as error:
            self._say(f"warning: {error}")

    def wait_for(
        self, endpoint: str, version: str, phases: Collection[str], timeout_s: float, beat: Callable[[str], None]
    ) -> RolloutStatus:
        """Follows a rollout until it is in one of ``phases``; each new phase or message is told once.

        Raises:
            RolloutError: it ended in another way, holds, or did not get there in time.
        """
        over = {"PROMOTED", "ROLLED_BACK", "HOLD"}
        ends_s, told = time.monotonic() + timeout_s, ""
        with self.client() as client:
            while time.monotonic() < ends_s:
                try:
                    status = client.rollout(endpoint).status()
                except DivisionsError as error:
                    beat(f"(the control API did not answer: {error.message})")
                    time.sleep(_POLL_S)
                    continue
                if version in {status.canary_version, status.stable_version}:
                    text = f"{status.phase}: {status.message}"
                    if text != told:
                        beat(text)
                        told = text
                    if status.phase in phases:
                        return status
                    if status.phase in over:
                        raise RolloutError(f"the rollout of {version} ended in {text}, not in {' or '.join(phases)}")
                time.sleep(_POLL_S)
        raise RolloutError(f"the rollout of {version} was not {' or '.join(phases)} after {timeout_s:g} s: {told}")

    def _where_to_look(self) -> str:
        return f"see {self._output or 'the output above'} and {self._home / 'logs'}"
