"""What is asked of an engine of policies, and what it answers. Pure.

An engine never raises and never takes longer than `LIMIT_S`: whatever goes wrong is a refusal that says so. It may be
asked from any thread. An event loop asks it by `asyncio.to_thread`.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from divisions.policy.facts import AccessFacts, PromotionFacts

LIMIT_S: Final = 0.2
"""Within this, there is a decision; without one, it is a refusal."""
ENGINE_RULE: Final = "engine"
"""The rule of a refusal that no policy gave: the engine was late, absent or broken."""


class Kind(enum.StrEnum):
    """What a question is about."""

    RBAC = "rbac"
    PROMOTION = "promotion"


@dataclass(frozen=True, slots=True)
class Query:
    """One question. ``input`` has the fields that the rules read."""

    kind: Kind
    input: AccessFacts | PromotionFacts

    def document(self) -> dict[str, Any]:
        """The ``input`` of the rules, as JSON has it."""
        return {"kind": self.kind.value, **msgspec.json.decode(msgspec.json.encode(self.input))}

    def digest(self) -> str:
        """Tells whether two questions were the same."""
        return hashlib.sha256(msgspec.json.encode(self.document(), order="deterministic")).hexdigest()


class Reason(msgspec.Struct, frozen=True):
    """Why something is refused: the rule, what it found, and how to comply."""

    rule: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}" + (f"; {self.remedy}" if self.remedy else "")


class Decision(msgspec.Struct, frozen=True):
    """``reasons`` say why not; empty if it is allowed. ``policy_digest`` names the rules that decided; empty if none
    did."""

    allow: bool
    reasons: tuple[Reason, ...] = ()
    policy_digest: str = ""

    @property
    def text(self) -> str:
        """All reasons, for a person."""
        return ". ".join(str(reason) for reason in self.reasons)


class PolicyEngine(Protocol):
    """Decides by a policy."""

    def decide(self, query: Query) -> Decision:
        """Answers within `LIMIT_S`, and refuses what it cannot decide. It never raises."""
        ...


def refusal(message: str, remedy: str, policy_digest: str = "") -> Decision:
    """The decision of an engine that has none."""
    return Decision(False, (Reason(ENGINE_RULE, message, remedy),), policy_digest)
