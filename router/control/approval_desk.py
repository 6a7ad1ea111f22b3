"""Takes approvals of versions, takes them back, and lists them. They are part of the endpoint's journaled record."""

from __future__ import annotations

import msgspec

from divisions.access.requests import Actor
from divisions.access.roles import Role
from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.errors import ConflictError, InvalidCommandError, PolicyRefusedError, UnknownVersionError
from divisions.policy.facts import VersionFact
from divisions.promotion import (
    APPROVAL_S,
    PRODUCTION,
    Approval,
    ApprovalAnswer,
    ApprovalCommand,
    NewApproval,
    RevokedApproval,
    is_line,
)
from divisions.versions import REPORT
from router.control.driver import RolloutDriver
from router.control.endpoints import Endpoints
from router.control.gate_desk import GateDesk
from router.journal.journal import Kind
from router.rollouts import approvals, records
from router.rollouts.records import EndpointRecord

AGAIN_S = 600.0
"""Within this, the same approval is a request that was repeated, because its answer was lost."""


class ApprovalDesk:
    """See the module.

    Args:
        driver: writes records.
        endpoints: the records.
        gates: know the policy in force.
        clock: the time.
    """

    def __init__(self, driver: RolloutDriver, endpoints: Endpoints, gates: GateDesk, clock: Clock) -> None:
        self._driver = driver
        self._endpoints = endpoints
        self._gates = gates
        self._clock = clock

    def carry_out(self, command: ApprovalCommand, actor: Actor) -> ApprovalAnswer:
        """An approval is on disk when this returns.

        Raises:
            UnknownVersionError: no such version is being rolled out, or nobody has approved it.
            PolicyRefusedError: somebody may not approve what they have started.
            ConflictError: the version has another bundle than the caller has seen.
            InvalidCommandError: the comment is no line of text, or the approval is somebody else's.
            JournalUnavailableError: the journal cannot be written, and nothing has changed.
        """
        if command.approve is not None:
            return self._approve(command.approve, actor)
        if command.revoke is not None:
            return self._revoke(command.revoke, actor)
        found = [each for record in self._endpoints.records.values() for each in record.approvals]
        return ApprovalAnswer(tuple(sorted(found, key=lambda each: each.at_s, reverse=True)))

    def pinned(self, command: ApprovalCommand) -> tuple[ApprovalCommand, VersionFact | None]:
        """The command for exactly the bundle that it is about now, and what a policy is told of that before it is
        carried out; None if it approves nothing that there is."""
        asked = command.approve
        if asked is None or (record := self._endpoints.records.get(asked.endpoint)) is None:
            return command, None
        version = approvals.version_to_approve(record, asked.version)
        if version is None:
            return command, None
        fact = VersionFact(
            version.model,
            version.version,
            version.bundle_sha256,
            self._gates.policy(record).environment,
            self._gates.authors(approvals.starter(record, version), version),
            asked.report_sha256,
        )
        bundle = asked.bundle_sha256 or version.bundle_sha256
        return msgspec.structs.replace(command, approve=msgspec.structs.replace(asked, bundle_sha256=bundle)), fact

    def _approve(self, asked: NewApproval, actor: Actor) -> ApprovalAnswer:
        record = self._endpoints.record(asked.endpoint)
        version = self._version(record, asked.version)
        if asked.bundle_sha256 and asked.bundle_sha256 != version.bundle_sha256:
            raise ConflictError(
                f"version {version.version} has the bundle {version.bundle_sha256[:16]} now, not the one you have seen",
                remedy="look at it again, and approve that",
            )
        if not is_line(asked.comment):
            raise InvalidCommandError("a comment is one line of text", remedy="leave control characters out")
        self._check_author(record, version, actor.name)
        self._check_report(version, asked.report_sha256)
        now_s = self._clock.wall_s()
        comment = asked.comment.strip()
        for known in approvals.standing(record, version, now_s):
            same = (known.name, known.role, known.comment, known.report_sha256)
            if same == (actor.name, actor.role, comment, asked.report_sha256) and known.at_s > now_s - AGAIN_S:
                return ApprovalAnswer((known,))
        new = Approval(
            record.endpoint,
            version.version,
            version.bundle_sha256,
            actor.name,
            actor.role,
            now_s,
            now_s + APPROVAL_S,
            comment,
            asked.report_sha256,
        )
        report = f" with the report {new.report_sha256[:16]}" if new.report_sha256 else ""
        note = f"{version.version} approved by {actor.name}{report}" + (f": {new.comment}" if new.comment else "")
        self._write(record, approvals.with_one(record.approvals, new), note)
        return ApprovalAnswer((new,))

    def _check_author(self, record: EndpointRecord, version: VersionSpec, name: str) -> None:
        starter = approvals.starter(record, version)
        if name not in self._gates.authors(starter, version) or self._gates.policy(record).environment != PRODUCTION:
            return
        did = "started the rollout of" if name == starter else "trained"
        raise PolicyRefusedError(
            f"no-self-approval: {name} has {did} version {version.version}",
            remedy=f"ask another approver for `divisions approve {record.endpoint}@{version.version}`",
        )

    def _check_report(self, version: VersionSpec, sha256: str) -> None:
        if not sha256:
            return
        registered = self._gates.registered(version)
        known = registered.lineage.get(REPORT, "") if registered is not None else ""
        if not known:
            raise ConflictError(
                f"the registry's entry of version {version.version} names no validation report, so none is signed off",
                remedy="it is read every minute: repeat it then; releases before this one did not note the report",
            )
        if known != sha256:
            raise ConflictError(
                f"the validation report of version {version.version} is {known[:16]}, not {sha256[:16]}",
                remedy="read validation/report.html of its run as it was kept, and sign that off",
            )

    def _revoke(self, asked: RevokedApproval, actor: Actor) -> ApprovalAnswer:
        record = self._endpoints.record(asked.endpoint)
        name = asked.name or actor.name
        if name != actor.name and actor.role != Role.ADMIN.value:
            raise InvalidCommandError(f"the approval of {name} is not yours", remedy="ask an admin to take it back")
        gone = tuple(each for each in record.approvals if (each.version, each.name) == (asked.version, name))
        if not gone:
            raise UnknownVersionError(
                f"{name} has not approved version {asked.version} of {record.endpoint}",
                remedy="`divisions approvals list` shows who has",
            )
        kept = tuple(each for each in record.approvals if each not in gone)
        self._write(record, kept, f"{asked.version}: the approval of {name} was taken back by {actor.name}")
        return ApprovalAnswer(gone)

    def _version(self, record: EndpointRecord, label: str) -> VersionSpec:
        version = approvals.version_to_approve(record, label)
        if version is None:
            raise UnknownVersionError(
                f"version {label} is not being rolled out to {record.endpoint}",
                remedy="start its rollout first: it waits for approvals before it is promoted",
            )
        return version

    def line(self, endpoint: str) -> str:
        """Who has approved what of an endpoint, for the audit log."""
        record = self._endpoints.records.get(endpoint)
        found = record.approvals if record is not None else ()
        signed = {each: f" with the report {each.report_sha256[:16]}" if each.report_sha256 else "" for each in found}
        return ", ".join(f"{each.version} ({each.bundle_sha256[:16]}) by {each.name}{signed[each]}" for each in found)

    def _write(self, record: EndpointRecord, found: tuple[Approval, ...], note: str) -> None:
        now_s = self._clock.wall_s()
        kept = tuple(each for each in found if each.expires_s > now_s)
        after = records.told(msgspec.structs.replace(record, approvals=kept), now_s, note)
        self._driver.write(Kind.APPROVED, after, note)
