"""What people ask of the controller: each change is in the audit log before it is made, unless the policy refuses it.

``barred`` says why the policy refuses it, and is empty otherwise. `PolicyDesk` has asked, since it must not be waited
for here.
"""

from __future__ import annotations

from functools import partial

import msgspec

from divisions.access.requests import Actor, TokenAnswer, TokenCommand
from divisions.control import RolloutCommand, RolloutSpec
from divisions.errors import AccessDeniedError, TokensUnavailableError
from divisions.promotion import ApprovalAnswer, ApprovalCommand
from router.control.approval_desk import ApprovalDesk
from router.control.audit_desk import AuditDesk
from router.control.commands import TAKES_BACK, Commands
from router.control.endpoints import Endpoints
from router.control.token_desk import TokenDesk
from router.rollouts import canary


class CommandDesk:
    """See the module. Without ``tokens`` there are none to manage."""

    def __init__(
        self,
        commands: Commands,
        approvals: ApprovalDesk,
        tokens: TokenDesk | None,
        audit: AuditDesk,
        endpoints: Endpoints,
    ) -> None:
        self._commands = commands
        self._approvals = approvals
        self._tokens = tokens
        self._audit = audit
        self._endpoints = endpoints

    def start_rollout(self, spec: RolloutSpec, actor: Actor | None, *, force: bool, barred: str) -> None:
        """Begins a rollout, see `Commands.start_rollout`."""
        action = "start by force" if force else "start"
        with self._audit.doing(actor or Actor(), action, spec.endpoint, partial(self._line_of, spec.endpoint)):
            _refuse(barred)
            who = actor or Actor("", "")
            self._commands.start_rollout(spec, force=force, who=who.name, role=who.role, traceparent=who.traceparent)

    def command(self, command: RolloutCommand, actor: Actor | None, *, barred: str) -> None:
        """Carries out a command of ``actor``, see `Commands.command`."""
        if actor is not None:
            command = msgspec.structs.replace(command, who=actor.name)
        who, endpoint, takes_back = actor or Actor(command.who), command.endpoint, command.command in TAKES_BACK
        action = f"{command.command}, breaking the glass" if command.break_glass else command.command
        line = partial(self._line_of, endpoint)
        with self._audit.doing(who, action, endpoint, line, takes_back=takes_back, reason=command.reason):
            _refuse(barred)
            self._commands.command(command)

    def manage_approvals(self, command: ApprovalCommand, actor: Actor, *, barred: str) -> ApprovalAnswer:
        """Approves a version, takes an approval back or lists them, see `ApprovalDesk.carry_out`."""
        asked = command.approve or command.revoke
        if asked is None:
            return self._approvals.carry_out(command, actor)
        comment = command.approve.comment if command.approve else ""
        line, subject = partial(self._approvals.line, asked.endpoint), f"{asked.endpoint}@{asked.version}"
        takes_back = command.revoke is not None
        with self._audit.doing(actor, command.verb, subject, line, takes_back=takes_back, reason=comment):
            _refuse(barred)
            return self._approvals.carry_out(command, actor)

    def manage_tokens(self, command: TokenCommand, actor: Actor, *, barred: str) -> TokenAnswer:
        """Carries out what an admin asks of the tokens, see `TokenDesk.carry_out`."""
        if self._tokens is None:
            raise TokensUnavailableError("this controller keeps no tokens", remedy="use that of a cluster")
        if command.verb == "list":
            return self._tokens.carry_out(command, actor)
        subject = command.new.name if command.new else command.name
        rights = f"{command.new.role.value} on {', '.join(command.new.endpoints) or 'all'}" if command.new else ""
        with self._audit.doing(actor, f"tokens {command.verb}", subject, lambda: rights):
            _refuse(barred)
            return self._tokens.carry_out(command, actor)

    def _line_of(self, endpoint: str) -> str:
        """How a rollout stands, for the audit log."""
        record = self._endpoints.records.get(endpoint)
        if record is None:
            return ""
        rollout = record.rollout
        phase = canary.phase(rollout.state).value
        return f"{phase} of {rollout.spec.version.version} at {rollout.canary_bp} bp, generation {record.generation}"


def _refuse(barred: str) -> None:
    if barred:
        raise AccessDeniedError(barred)
