"""Fills the online store for a version that is to be served: after its rollout was admitted, never before.

Every version of an endpoint reads the same rows. So a run without a rollout must not change them, nor must a version
that the controller refuses because its schema does not fit the one that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from divisions.online_store import OnlineRow, OnlineStoreWriter, online_store_path
from divisions.schema import FeatureSchema
from divisions.versions import RegisteredVersion

OFFLINE_FEATURES = "offline_features"
"""Key of a version's lineage: the file of its training rows in the offline store, relative to the home."""
NEWEST_FEATURES = "newest_features"
"""The file of the newest rows of all customers, likewise. Versions of older releases have none."""


def fill_online_store(home: Path, endpoint: str, rows: Sequence[OnlineRow]) -> int:
    """Writes rows for an endpoint; returns the number of customers whose features have changed.

    Raises:
        OnlineStoreError: the store cannot be written.
    """
    return OnlineStoreWriter(online_store_path(home), endpoint).upsert(rows)


def fill_from_offline(home: Path, endpoint: str, version: RegisteredVersion, schema: FeatureSchema) -> str:
    """Fills the online store from the newest rows that a version's run has read; returns a notice about the outcome.

    Raises:
        OnlineStoreError: the store cannot be written.
    """
    place = version.lineage.get(NEWEST_FEATURES) or version.lineage.get(OFFLINE_FEATURES)
    if place is None:
        return f"version {version.version} does not name its features: the online store of {endpoint} is unchanged"
    from trainers.data.feature_store import read_offline

    try:
        rows = read_offline(home / place, schema)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        return f"{endpoint}'s online store is unchanged: features of version {version.version} are unreadable: {reason}"
    return f"{fill_online_store(home, endpoint, rows):,} customers of {home / place} are in the online store"
