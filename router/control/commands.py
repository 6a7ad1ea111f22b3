"""Carries out what operators and deployments ask for: a new rollout; pause, resume, promote, abort, rollback, scale."""

from __future__ import annotations

from divisions.clock import Clock
from divisions.control import FULL_BP, RolloutCommand, RolloutSpec
from divisions.errors import (
    ConflictError,
    InvalidCommandError,
    MalformedRequestError,
    StaleGenerationError,
    UnknownVersionError,
)
from divisions.promotion import MAX_COMMENT_CHARS, is_line
from router.control import scale_command
from router.control.driver import RolloutDriver
from router.control.endpoints import Endpoints
from router.journal.journal import Journal, Kind
from router.journal.writer import JournalWriter
from router.rollouts import admission, canary, records
from router.rollouts.records import EndpointRecord, Queued
from router.scaling.placement import Cluster

TAKES_BACK = frozenset({"pause", "abort", "rollback"})
"""Commands that must be possible while a disk is full."""


class Commands:
    """See the module.

    Args:
        driver: carries out.
        endpoints: the records that commands are about.
        journal: knows every version that was ever deployed.
        writer: writes new versions to it.
        clock: the time.
        allow_faults: whether versions may ask for fault injection.
    """

    def __init__(
        self,
        driver: RolloutDriver,
        endpoints: Endpoints,
        journal: Journal,
        writer: JournalWriter,
        clock: Clock,
        *,
        allow_faults: bool,
    ) -> None:
        self._driver = driver
        self._endpoints = endpoints
        self._journal = journal
        self._writer = writer
        self._clock = clock
        self._allow_faults = allow_faults
        self.cluster: Cluster | None = None
        """The cluster as it was seen last; None if it was not."""

    def start_rollout(
        self, spec: RolloutSpec, *, force: bool, who: str = "", role: str = "", traceparent: str = ""
    ) -> None:
        """Begins a rollout for ``who``. One that is under way is rolled back first; the new one follows it.

        Raises:
            MalformedRequestError: the spec makes no sense.
            FaultsRefusedError: it asks for faults, and they are not allowed.
            LatchedSpecError: the same spec was rolled back before, and ``force`` is not set.
            ConflictError: the same spec is under way, or its version serves already.
            SchemaMismatchError: its features do not fit those of the version that serves.
            JournalUnavailableError: the journal cannot be written.
        """
        record = self._endpoints.records.get(spec.endpoint)
        admission.check(spec, record, is_forced=force, allow_faults=self._allow_faults)
        self._writer.save_version(spec.endpoint, spec.version)
        self._driver.begin_or_queue(Queued(spec, who=who, role=role, traceparent=traceparent))

    def command(self, command: RolloutCommand) -> None:
        """Carries out an operator's command. It is on disk when this returns.

        Pause, abort and a rollback to stable are carried out even if the journal cannot be written, see
        `router.journal.writer`; the status says so.

        Raises:
            UnknownVersionError: no such endpoint, or no such version to go back to.
            StaleGenerationError: the rollout has moved on since the generation that the caller saw.
            IllegalEventError: the command cannot be carried out in this phase.
            PolicyRefusedError: a policy does not allow it.
            NoRoomError: the cluster has no room for so many replicas.
            JournalUnavailableError: the command would raise a weight, and the journal cannot be written.
        """
        record = self._endpoints.record(command.endpoint)
        _check_reason(command)
        if command.generation is not None and command.generation != record.generation:
            raise StaleGenerationError(
                f"the rollout of {command.endpoint} is at generation {record.generation}, not {command.generation}",
                remedy="look at its status, and repeat the command if it still makes sense",
            )
        now_s = self._clock.monotonic_s()
        match command.command:
            case "pause":
                self._driver.apply(command.endpoint, canary.Pause(now_s, command.who))
            case "resume":
                self._driver.apply(command.endpoint, canary.Resume(now_s, command.who))
            case "promote":
                self._driver.promote(record, command.who, command.reason if command.break_glass else "")
            case "abort":
                self._driver.abort(record, f"aborted by {command.who}{_because(command)}")
            case "rollback":
                self._go_back(record, command)
            case "scale":
                self._scale(record, command)
            case _:
                raise MalformedRequestError(
                    f"unknown command {command.command!r}",
                    remedy="use pause, resume, promote, abort, rollback or scale",
                )

    def _scale(self, record: EndpointRecord, command: RolloutCommand) -> None:
        now_s = self._clock.wall_s()
        changed = scale_command.sizes(record, command, self.cluster.nodes if self.cluster else None, now_s)
        note = scale_command.note(record, command, changed, now_s)
        self._driver.write(Kind.SCALED, records.resized(record, changed, at_s=now_s, message=note), note)

    def _go_back(self, record: EndpointRecord, command: RolloutCommand) -> None:
        """Back to stable while a rollout runs; afterwards to an earlier version, as a rollout straight to it."""
        stable = records.stable_version(record)
        is_running = not canary.is_finished(record.rollout.state)
        if is_running and (command.to is None or (stable and command.to == stable.version)):
            self._driver.abort(record, f"rolled back by {command.who}{_because(command)}")
            return
        to = command.to or record.previous
        version = self._journal.version(record.endpoint, to) if to else None
        if version is None:
            known = ", ".join(self._journal.versions(record.endpoint))
            what = f"version {to} was never deployed to" if to else "no earlier version is known for"
            raise UnknownVersionError(f"{what} {record.endpoint}", remedy=f"known versions: {known}")
        if stable is not None and version.app_name == stable.app_name:
            raise ConflictError(f"version {to} serves {record.endpoint} already", remedy="name another version")
        analysis = record.rollout.spec.analysis
        # A version that has never served all traffic is no way back: the policy is asked, see `records.begun`.
        spec = RolloutSpec(record.endpoint, version, (FULL_BP,), analysis, policy=record.rollout.spec.policy)
        self._driver.begin_or_queue(Queued(spec, is_direct=True, who=command.who, reason=command.reason))


def _check_reason(command: RolloutCommand) -> None:
    if not is_line(command.reason):
        raise InvalidCommandError(
            f"a reason is one line of up to {MAX_COMMENT_CHARS} characters", remedy="write why, in a sentence"
        )
    if command.break_glass and (command.command != "promote" or not command.reason.strip()):
        raise InvalidCommandError("only promote breaks the glass, and for a reason", remedy="write promote, and why")


def _because(command: RolloutCommand) -> str:
    return f": {command.reason}" if command.reason else ""
