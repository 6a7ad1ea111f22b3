"""Fills the online store for a version that is to be served: after its rollout was admitted, never before.

Every version of an endpoint reads the same rows. So a run without a rollout must not change them, nor must a version
that the controller refuses because its schema does not fit the one that serves. A run and ``divisions rollout start``
fill it from the same file of the offline store.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from divisions.errors import InputError
from divisions.online_stores import OnlineStore, open_store
from divisions.online_writer import Filled
from divisions.schema import FeatureSchema
from divisions.settings import Settings
from divisions.versions import RegisteredVersion
from trainers.data.online_rows import stored_rows

OFFLINE_FEATURES = "offline_features"
"""Key of a version's lineage: the file of its training rows in the offline store, relative to the home."""
NEWEST_FEATURES = "newest_features"
"""The file of the newest rows of all customers, likewise. Versions of older releases have none."""


def fill_online_store(store: OnlineStore, endpoint: str, path: Path, schema: FeatureSchema) -> Filled:
    """Stores the newest features of every customer.

    Args:
        store: the online store.
        endpoint: the endpoint's name.
        path: a version's newest rows in the offline store; its training rows if an older release made it.
        schema: of that version.

    Raises:
        InputError: the file cannot be read.
        OnlineStoreError: the store cannot be written.
    """
    with closing(store.writer(endpoint)) as writer:
        return writer.fill(stored_rows(path, schema))


def fill_from_offline(settings: Settings, endpoint: str, version: RegisteredVersion, schema: FeatureSchema) -> str:
    """Fills the online store from the newest rows that a version's run has read; returns a notice about the outcome.

    Raises:
        OnlineStoreError: the store cannot be written.
    """
    home = settings.home
    place = version.lineage.get(NEWEST_FEATURES) or version.lineage.get(OFFLINE_FEATURES)
    if place is None:
        return f"version {version.version} does not name its features: the online store of {endpoint} is unchanged"
    try:
        filled = fill_online_store(open_store(settings), endpoint, home / place, schema)
    except InputError as error:
        reason = error.message
        return f"{endpoint}'s online store is unchanged: features of version {version.version} are unreadable: {reason}"
    told = f"{filled.num_changed:,} customers of {home / place} are in the online store"
    return f"{told}; {left_out(filled)}" if filled.num_left_out else told


def left_out(filled: Filled) -> str:
    """Says who was not stored."""
    return f"{filled.num_left_out:,} customers were left out, who were deleted by `divisions features delete`"


def unreached_store(*, is_shared: bool, is_own_gateway: bool, gateways_here: int, gateways_elsewhere: int) -> str:
    """Why filling the store of this home would not reach all gateways; empty if it does.

    Args:
        is_shared: whether all machines share one store.
        is_own_gateway: whether the gateway that was asked is that of this home's cluster.
        gateways_here: whether this run's node is marked for gateways, as a count.
        gateways_elsewhere: how many other nodes are. A cluster of one machine may mark none.
    """
    if is_shared:
        return ""
    remedy = "set DIVISIONS_ONLINE_STORE to a Redis that all nodes reach; requests that send `features` are answered"
    if gateways_elsewhere:
        which = f"{gateways_elsewhere} other node{'s' * (gateways_elsewhere != 1)}"
        return f"gateways of {which} do not see the online store, a file of this home: {remedy}"
    if not is_own_gateway and not gateways_here:
        return f"the gateway belongs to another home, whose online store a run cannot fill from here: {remedy}"
    return ""
