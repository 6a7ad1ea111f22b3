"""A handle of one endpoint's latest rollout, for blocking code. `divisions.sdk.async_client` has that for asyncio."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from divisions.errors import ClusterError, DeadlineExceededError
from divisions.sdk import calls
from divisions.sdk.calls import Watch
from divisions.status import RolloutStatus

if TYPE_CHECKING:
    from divisions.sdk.client import Client


class Rollout:
    """The latest rollout of one endpoint.

    Commands take the ``generation`` of the status on which the caller decided. If the rollout has changed since, they
    are refused with `ConflictError`. None accepts any generation.
    """

    def __init__(self, client: Client, endpoint: str) -> None:
        self._client = client
        self.endpoint = endpoint

    def status(self) -> RolloutStatus:
        return self._client._send(calls.get_rollout(self.endpoint))

    def pause(self, *, generation: int | None = None) -> RolloutStatus:
        """Holds the present weight; guards stay active."""
        return self._command("pause", generation)

    def resume(self, *, generation: int | None = None) -> RolloutStatus:
        return self._command("resume", generation)

    def promote(self, *, break_glass: str = "", generation: int | None = None) -> RolloutStatus:
        """Gives the canary all traffic without the remaining steps.

        Args:
            break_glass: the reason to do so without approvals and the policy; it is audited. Empty: they hold.
            generation: see the class.

        Raises:
            PolicyRefusedError: the policy does not allow it; the message says which rule, and how to comply.
        """
        return self._command("promote", generation, reason=break_glass, breaks_glass=bool(break_glass))

    def abort(self, *, reason: str = "", generation: int | None = None) -> RolloutStatus:
        """Takes all traffic away from the canary."""
        return self._command("abort", generation, reason=reason)

    def rollback(self, to: str | None = None, *, reason: str = "", generation: int | None = None) -> RolloutStatus:
        """Goes back to the version ``to``. None means the version that served before."""
        return self._command("rollback", generation, to, reason=reason)

    def scale(
        self, replicas: int, *, version: str | None = None, force: bool = False, generation: int | None = None
    ) -> RolloutStatus:
        """Sets the number of replicas of ``version``; None means every version that the endpoint runs.

        Args:
            replicas: of each version.
            version: such as ``3.2``.
            force: even if the cluster has no room now; it may add nodes by itself.
            generation: see the class.

        Raises:
            NoRoomError: the cluster has no room for them; the message says what each node has.
            ConflictError: the version is scaled by its load, and the number is outside of its limits.
        """
        call = calls.scale(self.endpoint, replicas, version=version, is_forced=force, generation=generation)
        return self._client._send(call)

    def watch(self, *, poll_s: float = 1.0, patience: int = 30) -> Iterator[RolloutStatus]:
        """Yields the status whenever it changes, until the rollout ends.

        Args:
            poll_s: time between requests.
            patience: requests in a row that may fail before the failure is raised. A killed controller is back after
                some seconds, and the rollout with it.
        """
        watch = Watch(patience)
        while not watch.is_over:
            try:
                status = self.status()
            except (ClusterError, DeadlineExceededError) as error:
                watch.failed(error)
            else:
                if watch.changed(status):
                    yield status
            if not watch.is_over:
                time.sleep(poll_s)

    def _command(
        self,
        action: str,
        generation: int | None,
        to: str | None = None,
        *,
        reason: str = "",
        breaks_glass: bool = False,
    ) -> RolloutStatus:
        call = calls.command(
            self.endpoint, action, generation=generation, to=to, reason=reason, breaks_glass=breaks_glass
        )
        return self._client._send(call)
