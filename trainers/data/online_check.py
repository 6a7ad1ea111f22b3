"""Compares the online store with the offline rows that it was filled from, value by value. Pure but for the reading.

A value is compared as the version reads it (`divisions.stored_values`): ``7`` and ``7.0`` are the same number.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import xxhash

from divisions.online_store import StoredRow
from divisions.schema import Feature, FeatureSchema
from divisions.stored_values import read_as

MAX_SHOWN = 1_000
"""Differences that are kept; the others are counted."""
KEYS_PER_QUERY = 500

ReadMany = Callable[[Sequence[str]], Mapping[str, StoredRow]]
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Difference(msgspec.Struct, frozen=True):
    """One customer's value that is not the same offline and online. ``what`` is a feature, or a word in brackets."""

    entity_id: str
    what: str
    offline: object
    online: object


@dataclass(slots=True)
class Comparison:
    """The result. ``sample`` has customers whose rows were compared, with their offline features."""

    num_compared: int = 0
    num_newer: int = 0
    num_deleted: int = 0
    num_differences: int = 0
    differences: list[Difference] = field(default_factory=list)
    sample: dict[str, dict[str, object]] = field(default_factory=dict)

    def add(self, difference: Difference) -> None:
        self.num_differences += 1
        if len(self.differences) < MAX_SHOWN:
            self.differences.append(difference)


def compare(
    offline: Iterable[Sequence[StoredRow]],
    read_online: ReadMany,
    schema: FeatureSchema,
    deleted: Collection[str],
    num_sampled: int,
) -> Comparison:
    """Compares every offline row with the online row of the same customer.

    A row with a newer event time online is of another run, and one of a deleted customer must not be there: these are
    counted, not compared.

    Args:
        offline: the rows of an offline file.
        read_online: reads rows of the online store; absent customers are left out.
        schema: of the version that serves.
        deleted: the customers that were deleted from the store.
        num_sampled: the size of the sample, which depends on the customers only, not on their order.
    """
    found = Comparison()
    sampled: list[tuple[int, str, bytes]] = []
    for batch in offline:
        for rows in _cut(batch):
            online = read_online([row[0] for row in rows])
            for row in rows:
                if not _compare_row(found, row, online.get(row[0]), schema, deleted):
                    continue
                found.num_compared += 1
                item = (-xxhash.xxh3_64_intdigest(row[0].encode()), row[0], row[1])
                if len(sampled) < num_sampled:
                    heapq.heappush(sampled, item)
                elif num_sampled and item > sampled[0]:
                    heapq.heapreplace(sampled, item)
    found.sample = {name: _as_read(schema, features) for _, name, features in sorted(sampled, reverse=True)}
    return found


def _compare_row(
    found: Comparison, offline: StoredRow, online: StoredRow | None, schema: FeatureSchema, deleted: Collection[str]
) -> bool:
    """Compares one row; returns whether its values were compared."""
    entity_id = offline[0]
    if entity_id in deleted:
        if online is None:
            found.num_deleted += 1
        else:
            found.add(Difference(entity_id, "(deleted customer)", None, "stored"))
        return False
    if online is None:
        found.add(Difference(entity_id, "(customer)", "present", None))
        return False
    if online[2] > offline[2]:
        found.num_newer += 1
        return False
    if online[2] < offline[2]:
        found.add(Difference(entity_id, f"({schema.event_time})", offline[2], online[2]))
        return False
    if online[1] != offline[1]:
        stored, expected = _decode(online[1]), _decode(offline[1])
        for feature in schema.features:
            ours, theirs = _read(feature, expected), _read(feature, stored)
            if ours != theirs:
                raw = expected.get(feature.name), stored.get(feature.name)
                found.add(Difference(entity_id, feature.name, *raw))
    return True


def _read(feature: Feature, row: Mapping[str, Any]) -> tuple[bool, object]:
    """A value as the version reads it, and whether it can."""
    value = row.get(feature.name)
    try:
        return True, read_as(feature.kind, value)
    except ValueError:
        return False, value


def _as_read(schema: FeatureSchema, features_json: bytes) -> dict[str, object]:
    row = _decode(features_json)
    return {feature.name: value for feature in schema.features for is_read, value in [_read(feature, row)] if is_read}


def _cut(rows: Sequence[StoredRow]) -> Iterator[Sequence[StoredRow]]:
    return (rows[start : start + KEYS_PER_QUERY] for start in range(0, len(rows), KEYS_PER_QUERY))
