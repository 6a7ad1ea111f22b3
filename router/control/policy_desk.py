"""Asks an engine of policies whether somebody may change something, beside the table that the gateways decide by; and
whether versions may be promoted.

What takes a rollout back is never asked about: it must be possible whatever becomes of the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from divisions.access.requests import Actor
from divisions.access.roles import Action
from divisions.policy.engine import Kind, PolicyEngine, Query
from divisions.policy.facts import AccessFacts, Person, VersionFact
from router.control.gate_desk import GateDesk
from router.rollouts.records import EndpointRecord

ACTIONS: Final[Mapping[str, Action]] = {
    "resume": Action.STEER_ROLLOUT,
    "promote": Action.PROMOTE,
    "scale": Action.SCALE,
    "start": Action.START_ROLLOUT,
    "start by force": Action.FORCE_ROLLOUT,
    "approve": Action.APPROVE,
    "tokens": Action.MANAGE_TOKENS,
}
"""What is asked about. Pause, abort and rollback are not here, because they take a rollout back; nor is the end of an
approval."""


class PolicyDesk:
    """See the module. Without an engine, nothing is refused here.

    Args:
        engine: decides, in a thread of its own, so that the controller goes on meanwhile.
    """

    def __init__(self, engine: PolicyEngine | None) -> None:
        self._engine = engine

    async def objection(
        self, verb: str, actor: Actor | None, endpoint: str = "", about: VersionFact | None = None
    ) -> str:
        """Why ``actor`` may not; empty if they may.

        Args:
            verb: a key of `ACTIONS`, or a command that is never asked about.
            actor: who asks; None is a caller inside the cluster.
            endpoint: what it is about; empty for what is about none.
            about: the version to approve.
        """
        if self._engine is None or verb not in ACTIONS:
            return ""
        who = actor or Actor()
        facts = AccessFacts(Person(who.name, who.role, who.endpoints), ACTIONS[verb].value, endpoint, about)
        decision = await asyncio.to_thread(self._engine.decide, Query(Kind.RBAC, facts))
        return "" if decision.allow else f"the policy refuses this: {decision.text}"

    async def ask(self, gates: GateDesk, records: Mapping[str, EndpointRecord]) -> None:
        """Asks what is due about promotions, and tells the desk of gates the answers."""
        if self._engine is None:
            return
        for endpoint, query in gates.due(records):
            decision = await asyncio.to_thread(self._engine.decide, query)
            gates.decided(records.get(endpoint), query, decision)
