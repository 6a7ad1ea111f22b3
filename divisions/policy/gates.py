"""What the cluster's owner sets for the gates of promotions: ``gates`` of ``data.yaml``. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from divisions.errors import PolicyError

GATES: Final = ("metrics", "drift", "lineage", "report", "trainer", "approvals", "freeze", "store", "image")
"""In the order of `divisions/policy/rules/promotion.rego`."""
_MOST: Final = 1_000


class Freeze(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From one moment to another, nothing gets more traffic. Both are RFC 3339, with an offset from UTC."""

    from_: str = msgspec.field(name="from")
    to: str
    why: str = "frozen"


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``require`` are the gates that must pass. Empty ``stores``, ``registries`` and ``image_digests`` allow any.

    ``production`` names the environments where nobody approves a version that they made, and somebody must.
    ``approvals`` is how many people must approve, everywhere.
    """

    require: tuple[str, ...] = ("metrics", "drift", "lineage", "approvals", "freeze", "store", "image")
    production: tuple[str, ...] = ("production",)
    max_drift: float = 0.25
    allow_unknown_drift: bool = True
    approvals: int = 0
    freeze: tuple[Freeze, ...] = ()
    stores: tuple[str, ...] = ()
    need_image: bool = False
    registries: tuple[str, ...] = ()
    image_digests: tuple[str, ...] = ()


def parse_gates(document: Any, path: str) -> Gates:
    """Reads the settings of the gates.

    Raises:
        PolicyError: a key is unknown, or a value is none of its kind.
    """
    try:
        gates = msgspec.convert(document, Gates)
    except msgspec.ValidationError as error:
        raise PolicyError(f"gates: {error}", remedy="docs/rego.md lists the keys", path=path) from None
    if unknown := [name for name in gates.require if name not in GATES]:
        raise PolicyError(
            f"gates: require names {unknown[0][:40]!r}, which is no gate",
            remedy=f"name some of {', '.join(GATES)}",
            path=path,
        )
    if not 0 <= gates.approvals <= 10:
        raise PolicyError(f"gates: approvals is {gates.approvals}", remedy="write a number from 0 to 10", path=path)
    for window in gates.freeze:
        if _seconds(window.from_, path) >= _seconds(window.to, path):
            raise PolicyError(
                f"gates: freeze ends before it begins: {window.from_!r} to {window.to!r}", remedy="swap them", path=path
            )
    if max(map(len, (gates.freeze, gates.stores, gates.registries, gates.image_digests))) > _MOST:
        raise PolicyError(f"gates: a list has more than {_MOST} items", remedy="shorten it", path=path)
    return gates


def gates_document(gates: Gates) -> dict[str, Any]:
    """The settings as the rules read them: windows in Unix time, too."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(gates))
    for window in document["freeze"]:
        window["from_s"], window["to_s"] = _seconds(window["from"]), _seconds(window["to"])
    return document


def _seconds(text: str, path: str = "") -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PolicyError(
            f"gates: freeze: {text[:40]!r} is no moment", remedy="write one like 2026-12-20T00:00:00+01:00", path=path
        )
    return moment.timestamp()
