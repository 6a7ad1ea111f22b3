"""What the rules are told: the ``input`` of a decision. Pure.

What is not known is None, empty or ``unknown``, and never a value that looks known: the rules decide what follows from
that. Times come with the facts, because an engine's own clock is not the controller's.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Person(msgspec.Struct, frozen=True):
    """A principal. ``endpoints`` limits what they may do; empty means every endpoint."""

    name: str
    role: str
    endpoints: tuple[str, ...] = ()


class VersionFact(msgspec.Struct, frozen=True):
    """The version that somebody asks to approve, and what of it is known: see `PromotionFacts`. ``report_sha256`` is of
    the validation report that they sign off; empty if they sign none."""

    model: str
    version: str
    bundle_sha256: str
    environment: str
    authors: tuple[str, ...] = ()
    report_sha256: str = ""


class AccessFacts(msgspec.Struct, frozen=True):
    """Somebody asks for an action. ``endpoint`` is empty for what is about none. ``about`` is the version to approve;
    None for all other actions."""

    principal: Person
    action: str
    endpoint: str = ""
    about: VersionFact | None = None


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
    schema: str = ""
    pipeline: str = ""


class ReportFact(msgspec.Struct, frozen=True):
    """The validation report of a version. ``signed_by`` are those whose approval counts and names exactly it."""

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

    @property
    def is_pinned(self) -> bool:
        """Whether it is named by its digest."""
        return _DIGEST.fullmatch(self.digest) is not None


class AskedFact(msgspec.Struct, frozen=True):
    """What the version's own pipeline asks for, beside what the cluster's policy does.

    ``require`` names gates of `divisions.policy.gates`. ``frozen_until`` describes the window that is in force; empty
    if none is.
    """

    require: tuple[str, ...] = ()
    approvals: int = 0
    stores: tuple[str, ...] = ()
    frozen_until: str = ""
    images: tuple[str, ...] = ()


class PromotionFacts(msgspec.Struct, frozen=True):
    """A version is to get more traffic.

    ``environment`` is the cluster's, such as ``production``. ``authors`` are the principals who made the version:
    who ran its training, and who started its rollout. ``trainer`` is the first of these; empty if it is not known.
    ``drift`` is the largest index of stability; None if it is not known. ``drift_alerts`` is how many are open.
    ``store`` is the address of the store that its bundle is in; empty for the home's own. ``image`` is None where it
    is not known. ``now_s`` is Unix time.
    """

    endpoint: str
    model: str
    version: str
    environment: str
    requester: Person
    now_s: float
    authors: tuple[str, ...] = ()
    trainer: str = ""
    gates: tuple[GateFact, ...] = ()
    drift: float | None = None
    drift_alerts: int = 0
    lineage: LineageFact = LineageFact()
    report: ReportFact = ReportFact()
    approvals: tuple[ApprovalFact, ...] = ()
    store: str = ""
    image: ImageFact | None = None
    asked: AskedFact = AskedFact()
