"""What the rules are told: the ``input`` of a decision. Pure.

What is not known is None, empty or ``unknown``, and never a value that looks known: the rules decide what follows from
that. Times come with the facts, because an engine's own clock is not the controller's.
"""

from __future__ import annotations

import msgspec


class Person(msgspec.Struct, frozen=True):
    """A principal. ``endpoints`` limits what they may do; empty means every endpoint."""

    name: str
    role: str
    endpoints: tuple[str, ...] = ()


class AccessFacts(msgspec.Struct, frozen=True):
    """Somebody asks for an action. ``endpoint`` is empty for what is about none."""

    principal: Person
    action: str
    endpoint: str = ""


class GateFact(msgspec.Struct, frozen=True):
    """One gate of the pipeline. ``outcome`` is ``passed``, ``failed`` or ``unknown``."""

    name: str
    outcome: str
    value: float | None = None


class LineageFact(msgspec.Struct, frozen=True):
    """Where a version came from; each is empty if it is not known."""

    run_id: str = ""
    data: str = ""
    code: str = ""
    bundle_sha256: str = ""


class ReportFact(msgspec.Struct, frozen=True):
    """The validation report of a version. ``signed_by`` are those whose signature of exactly it was checked."""

    sha256: str = ""
    signed_by: tuple[str, ...] = ()


class ApprovalFact(msgspec.Struct, frozen=True):
    """Somebody has approved exactly this version, by its bundle's hash."""

    name: str
    role: str
    at_s: float


class ImageFact(msgspec.Struct, frozen=True):
    """The image that a version is served from. ``digest`` is ``sha256:…``; empty if it is named by a tag only."""

    registry: str
    repository: str
    digest: str = ""


class AskedFact(msgspec.Struct, frozen=True):
    """What the version's own pipeline asks for, beside what the cluster's policy does.

    ``require`` names gates of `divisions.policy.gates`. ``frozen_until`` describes the window that is in force; empty
    if none is.
    """

    require: tuple[str, ...] = ()
    approvals: int = 0
    stores: tuple[str, ...] = ()
    frozen_until: str = ""


class PromotionFacts(msgspec.Struct, frozen=True):
    """A version is to get more traffic.

    ``environment`` is the cluster's, such as ``production``. ``authors`` are the principals who made the version:
    who ran its training, and who started its rollout. ``drift`` is the largest index of stability; None if it is not
    known. ``store`` is the address of the store that its bundle is in; empty for the home's own. ``image`` is None
    where none is used. ``now_s`` is Unix time.
    """

    endpoint: str
    model: str
    version: str
    environment: str
    requester: Person
    now_s: float
    authors: tuple[str, ...] = ()
    gates: tuple[GateFact, ...] = ()
    drift: float | None = None
    lineage: LineageFact = LineageFact()
    report: ReportFact = ReportFact()
    approvals: tuple[ApprovalFact, ...] = ()
    store: str = ""
    image: ImageFact | None = None
    asked: AskedFact = AskedFact()
