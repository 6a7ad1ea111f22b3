"""What is at SageMaker, as values. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from divisions.control import FULL_BP
from divisions.errors import ClusterError, ConflictError

IN_SERVICE, FAILED = "InService", "Failed"


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of an endpoint. ``weight`` and ``count`` are the wanted ones; ``ready`` instances run now.

    ``config`` is its part of the endpoint's configuration, as SageMaker has it.
    """

    name: str
    instance_type: str
    weight: float
    count: int
    ready: int
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint; the first variant is stable, the second the canary.

    ``failure`` is why its last update failed, empty if it did not. ``changed_at_s`` is in seconds since the Unix epoch.
    ``common`` is what its configuration says of all variants, such as the capture of data.
    """

    name: str
    status: str
    config: str
    variants: tuple[Variant, ...]
    failure: str = ""
    changed_at_s: float = 0.0
    common: Mapping[str, Any] = field(default_factory=dict)

    def share_bp(self, variant: Variant) -> int:
        """The variant's share of the traffic, in basis points."""
        total = sum(each.weight for each in self.variants)
        return round(FULL_BP * variant.weight / total) if total else 0


@dataclass(frozen=True, slots=True)
class Observed:
    """What a plan is made from. ``endpoint`` is None if there is none; ``rolled_back`` is why the release was taken
    back from here before, empty if it was not."""

    endpoint: Endpoint | None
    has_model: bool
    has_upload: bool
    rolled_back: str = ""


class Situation(enum.Enum):
    """How a release stands to an endpoint."""

    ABSENT = "there is no endpoint"
    FAILED = "the endpoint has failed for good"
    SERVED = "it serves all traffic, alone"
    STARTING = "it will serve all traffic, alone"
    CANARY = "it is the canary, or has all traffic beside its predecessor"
    STABLE = "it is stable, and another version is beside it"
    OTHER = "another version serves"


def situation(endpoint: Endpoint | None, name: str) -> Situation:
    """How the release whose variant is ``name`` stands to the endpoint.

    Raises:
        ConflictError: two other versions have traffic, or the endpoint is none that can be worked with.
    """
    if endpoint is None:
        return Situation.ABSENT
    if endpoint.status == FAILED:
        return Situation.FAILED
    names = [variant.name for variant in endpoint.variants]
    if len(names) > 2:
        raise ConflictError(
            f"endpoint {endpoint.name} has {len(names)} variants",
            remedy="name an endpoint of Divisions' own in the target",
        )
    if names == [name]:
        return Situation.SERVED if endpoint.status == IN_SERVICE else Situation.STARTING
    if name in names:
        return Situation.STABLE if names[0] == name else Situation.CANARY
    serving_variant(endpoint)
    return Situation.OTHER


def serving_variant(endpoint: Endpoint) -> Variant:
    """The variant that serves all traffic.

    Raises:
        ConflictError: two do.
        ClusterError: none does.
    """
    serving = [variant for variant in endpoint.variants if variant.weight > 0]
    if len(endpoint.variants) == 1:
        serving = list(endpoint.variants)
    if len(serving) > 1:
        raise ConflictError(
            f"endpoint {endpoint.name} is between {serving[0].name} and {serving[1].name}",
            remedy="deploy one of these two to its end first: the second to go on, the first to go back",
        )
    if not serving:
        raise ClusterError(f"no variant of endpoint {endpoint.name} has weight", remedy="give one of them all weight")
    return serving[0]
