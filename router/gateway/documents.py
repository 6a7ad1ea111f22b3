"""What the gateway's own routes answer, as structs."""

from __future__ import annotations

import msgspec

from divisions.status import ControllerStatus, RolloutStatus


class VersionShare(msgspec.Struct, frozen=True):
    """A version's weight in basis points, and how many replicas this gateway knows."""

    weight_bp: int
    replicas: int


class EndpointSummary(msgspec.Struct, frozen=True):
    """One endpoint: where it predicts, what names its entity, the kinds of its features, and its versions."""

    predict: str
    entity: str
    features: dict[str, str]
    versions: dict[str, VersionShare]


class Index(msgspec.Struct, frozen=True):
    """``divisions`` is the release. ``public`` are the sections of the house that need no token."""

    divisions: str
    endpoints: dict[str, EndpointSummary]
    public: tuple[str, ...] = ()


class GatewayState(msgspec.Struct, frozen=True):
    """The gateway that answers. ``now_s`` is its clock, to compare the times of the status with."""

    id: str
    epoch: int
    version: str
    now_s: float
    is_store_reachable: bool


class Status(ControllerStatus, frozen=True, kw_only=True):
    """The controller's status, with the gateway's own."""

    gateway: GatewayState


class Rollouts(msgspec.Struct, frozen=True):
    rollouts: tuple[RolloutStatus, ...]
