"""Reads a question from JSON, as people write it to try a policy. Pure."""

from __future__ import annotations

import msgspec

from divisions.errors import PolicyError
from divisions.policy.engine import Kind, Query
from divisions.policy.facts import AccessFacts, PromotionFacts


class _Kind(msgspec.Struct):
    kind: Kind


def parse_question(text: str) -> Query:
    """The question.

    Raises:
        PolicyError: it is not JSON, or not a question.

    >>> parse_question('{"kind": "rbac", "principal": {"name": "ann", "role": "viewer"}, "action": "read"}').kind.value
    'rbac'
    """
    try:
        kind = msgspec.json.decode(text, type=_Kind).kind
        if kind is Kind.RBAC:
            return Query(kind, msgspec.json.decode(text, type=AccessFacts))
        return Query(kind, msgspec.json.decode(text, type=PromotionFacts))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(
            f"this is no question: {error}", remedy='docs/rego.md has one; "kind" is rbac or promotion'
        ) from None
