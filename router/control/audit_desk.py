"""Has every change that somebody asks for written into the audit log: before it, and what came of it.

A change waits for the line that it is asked for. What takes a rollout back never does: while the log cannot be written,
its lines are kept, and written with the first line that can be. So a full disk stops no rollback, and hides none.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from divisions.access.audit import AuditEvent
from divisions.access.requests import Actor
from divisions.clock import Clock
from divisions.errors import AuditUnavailableError, DivisionsError
from divisions.reports import Refused

log = logging.getLogger(__name__)

MAX_KEPT = 10_000
_MAX_CHARACTERS = 500


class AuditSink(Protocol):
    """Where lines go; durable when `append` returns."""

    def append(self, event: AuditEvent) -> None:
        """Raises:
        AuditUnavailableError: nothing was written.
        """
        ...


class AuditDesk:
    """See the module.

    Args:
        sink: the log; None writes none.
        clock: the time.
    """

    def __init__(self, sink: AuditSink | None, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._kept: deque[AuditEvent] = deque(maxlen=MAX_KEPT)

    @contextlib.contextmanager
    def doing(
        self,
        actor: Actor,
        action: str,
        subject: str,
        state: Callable[[], str],
        *,
        takes_back: bool = False,
        reason: str = "",
    ) -> Iterator[None]:
        """Notes an action that is carried out inside.

        Args:
            actor: who asks.
            action: what for.
            subject: the endpoint, or the principal.
            state: tells how it stands, in a line.
            takes_back: whether it must be possible while the log cannot be written.
            reason: why, as the actor says it.

        Raises:
            AuditUnavailableError: the log cannot be written, and nothing was done.
        """
        asked = AuditEvent(
            self._clock.wall_s(), actor.name, actor.role, actor.address, action, subject[:64], "asked", state()
        )
        asked = msgspec.structs.replace(asked, reason=reason[:_MAX_CHARACTERS])
        self._note(asked, may_wait=takes_back)
        try:
            yield
        except BaseException as error:
            why = str(error) if isinstance(error, DivisionsError) else type(error).__name__
            self._ended(asked, "refused", state(), why[:_MAX_CHARACTERS])
            raise
        self._ended(asked, "done", state(), asked.reason)

    def refused(self, gateway_id: str, found: Iterable[Refused]) -> None:
        """Notes what a gateway has refused: one line for all that are alike."""
        for each in found:
            times = "once" if each.count == 1 else f"{each.count:,} times"
            reason = f"status {each.status}, {times} within a minute, by gateway {gateway_id}"
            event = AuditEvent(
                self._clock.wall_s(),
                each.who,
                each.role,
                each.address,
                each.action,
                each.subject[:64],
                "refused",
                reason=reason[:_MAX_CHARACTERS],
            )
            self._note(event, may_wait=True)

    def flush(self) -> None:
        """Writes what was kept, if it can be written now."""
        with contextlib.suppress(AuditUnavailableError):
            self._flush()

    def _ended(self, asked: AuditEvent, outcome: str, after: str, reason: str) -> None:
        now_s = self._clock.wall_s()
        ended = msgspec.structs.replace(asked, at_s=now_s, outcome=outcome, after=after, reason=reason)
        self._note(ended, may_wait=True)  # It has happened already.

    def _note(self, event: AuditEvent, *, may_wait: bool) -> None:
        if self._sink is None:
            return
        try:
            self._flush()
            self._sink.append(event)
        except AuditUnavailableError as error:
            if not may_wait:
                raise
            log.error("%s", error)
            self._kept.append(event)

    def _flush(self) -> None:
        while self._kept and self._sink is not None:
            self._sink.append(self._kept[0])
            self._kept.popleft()
