"""Which versions of the registry may go. Pure.

A version stays if any of these holds, in this order; the first one is told:

==============  ===================================================================================================
reason          why
==============  ===================================================================================================
alias           it has an alias: production, staging, or one that somebody has set
in use          an endpoint or a target serves it, or could go back to it
reference       the next version will be compared with it: the newest that passed
newer           it has passed, or is being registered, and is newer than what is in production or in use
pending         its registration may still be under way
newest          it is among the newest of its model
young           it is younger than asked
==============  ===================================================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from divisions.versions import PRODUCTION, RegisteredVersion, ValidationStatus

PENDING_S: Final = 86_400.0
"""A registration takes seconds. One that is this old was killed."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What stays anyway: the newest ``keep`` versions of each model, and all that are younger than ``older_than_s``."""

    keep: int = 10
    older_than_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """``removed`` are the versions that may go, oldest first; ``kept`` counts the others by their reason."""

    removed: tuple[RegisteredVersion, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)


def plan(
    versions: Sequence[RegisteredVersion], in_use: Collection[tuple[str, str]], retention: Retention, now_s: float
) -> RetentionPlan:
    """Decides about each version.

    Args:
        versions: of any models, in any order.
        in_use: model and version of what must stay, whatever the registry says.
        now_s: seconds since the Unix epoch.
    """
    by_model: dict[str, list[RegisteredVersion]] = {}
    for version in sorted(versions, key=lambda one: -one.registry_version):
        by_model.setdefault(version.model, []).append(version)
    removed: list[RegisteredVersion] = []
    kept: Counter[str] = Counter()
    for newest_first in by_model.values():
        used = [one for one in newest_first if PRODUCTION in one.aliases or (one.model, one.version) in in_use]
        newest_used = max((one.registry_version for one in used), default=None)
        passed = [one for one in newest_first if one.validation_status is ValidationStatus.PASSED]
        for place, version in enumerate(newest_first):
            is_newer = newest_used is not None and version.registry_version > newest_used
            age_s = now_s - version.created_at_s
            reasons = {
                "alias": bool(version.aliases),
                "in use": (version.model, version.version) in in_use,
                "reference": version in passed[:1],
                "newer": is_newer and version.validation_status is not ValidationStatus.FAILED,
                "pending": version.validation_status is ValidationStatus.PENDING and age_s < PENDING_S,
                "newest": place < retention.keep,
                "young": age_s < retention.older_than_s,
            }
            reason = next((name for name, holds in reasons.items() if holds), None)
            if reason is None:
                removed.append(version)
            else:
                kept[reason] += 1
    removed.sort(key=lambda one: (one.created_at_s, one.model, one.registry_version))
    return RetentionPlan(tuple(removed), dict(kept))
