"""Reads a question from JSON, as people write it to try a policy. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from divisions.errors import PolicyError
from divisions.policy.engine import Kind, Query
from divisions.policy.facts import AccessFacts, PromotionFacts

_FACTS: Final[dict[Kind, type[AccessFacts | PromotionFacts]]] = {
    Kind.RBAC: AccessFacts,
    Kind.PROMOTION: PromotionFacts,
}
_EXAMPLE: Final = '{"kind": "rbac", "principal": {"name": "ann", "role": "viewer"}, "action": "read"}'


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
        query = Query(kind, msgspec.json.decode(text, type=_FACTS[kind]))
        unknown = _unknown(msgspec.json.decode(text), query.document())
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise PolicyError(f"this is no question: {error}", remedy=f"write one such as {_EXAMPLE}") from None
    if unknown:
        raise PolicyError(
            f"a question of kind {kind} has no field {unknown[:80]!r}",
            remedy="correct its name: the rules would be told nothing of it",
        )
    return query


def _unknown(given: Any, known: Any, where: str = "") -> str:
    """The first field that is not among those known; empty if there is none."""
    match given, known:
        case dict(), dict():
            for name, value in given.items():
                path = f"{where}.{name}".removeprefix(".")
                if name not in known:
                    return path
                if found := _unknown(value, known[name], path):
                    return found
        case list(), list():
            return next(filter(None, (_unknown(*pair, where) for pair in zip(given, known, strict=True))), "")
    return ""
