"""How many replicas a version has: what the pipeline file asks for, and what the status tells."""

from __future__ import annotations

import msgspec

MAX_REPLICAS = 1_000
MAX_SCALE_DOWN_S = 86_400.0


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``serving.replicas`` of the pipeline file, where it is a section: the number follows the load.

    ``target_utilization`` is the share of a replica's greatest rate (rows per second) that is used on average.
    Replicas are added at once; one is removed when it was not needed for ``scale_down_after_s``.
    """

    min: int
    max: int
    target_utilization: float = 0.6
    scale_down_after_s: float = 300.0


class VersionScale(msgspec.Struct, frozen=True):
    """How many replicas a version has and should have.

    ``role`` is stable, canary or warm (kept for a way back). ``scaling`` is None for a number that only people change.
    ``utilization`` is the share of the present replicas' greatest rate that is used; None if that is not known.
    ``note`` says why it has this number, ``lacks`` what the cluster has too little of for it.
    """

    app_name: str
    endpoint: str
    version: str
    role: str
    ready: int
    wanted: int
    scaling: Scaling | None = None
    utilization: float | None = None
    note: str = ""
    lacks: str = ""
