"""What an engine's answer means. Pure. Whatever is not a clear yes is a no."""

from __future__ import annotations

from typing import Any, Final

from divisions.policy.engine import Decision, Reason, refusal

MOST_REASONS: Final = 20
_MOST_CHARACTERS: Final = 300
_UNREASONED: Final = Reason("policy", "it is refused, and no rule says why", "read the policy: `divisions policy show`")


def verdict(answer: Any, digest: str = "") -> Decision:
    """The decision in a document of ``data.divisions.authz.decision``.

    Args:
        answer: the document; None if it is undefined.
        digest: of the rules, where that is known without the answer.

    >>> verdict({"allow": True, "reasons": [], "policy_digest": "ab"}).allow
    True
    >>> verdict({"allow": "true"}).allow, verdict(None).allow
    (False, False)
    """
    if not isinstance(answer, dict):
        return refusal(
            "the policy has no decision about this",
            "are these the rules that `divisions policy bundle` writes?",
            digest,
        )
    named = answer.get("policy_digest")
    digest = digest or (named[:64] if isinstance(named, str) else "")
    reasons = _reasons(answer.get("reasons"))
    match answer.get("allow"):
        case True if reasons == ():
            return Decision(True, (), digest)
        case True:
            return refusal("the policy allows this and names objections, too", "correct the policy", digest)
        case False:
            return Decision(False, reasons or (_UNREASONED,), digest)
        case _:
            return refusal("the policy's answer is neither yes nor no", "correct the policy", digest)


def _reasons(found: Any) -> tuple[Reason, ...] | None:
    """The reasons in an answer, in one order; None if they are none."""
    if not isinstance(found, list):
        return None
    reasons = {
        Reason(*(_text(reason.get(key)) for key in ("rule", "message", "remedy")))
        for reason in found
        if isinstance(reason, dict)
    }
    return tuple(sorted(reasons, key=lambda reason: (reason.rule, reason.message)))[:MOST_REASONS]


def _text(value: Any) -> str:
    """One line, so that no rule can write lines into a log."""
    text = value if isinstance(value, str) else ""
    return "".join(character if character.isprintable() else " " for character in text)[:_MOST_CHARACTERS]
