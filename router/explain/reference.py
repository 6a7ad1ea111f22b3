"""The reference: a typical customer of a version's training data, made of the bins in its bundle. Pure.

===========  ==============================================================
kind         the reference's value
===========  ==============================================================
numeric      the median; in bundles of earlier releases, the upper end of its bin
boolean      the more frequent of false and true
categorical  the most frequent category
any          missing, where at least half of the training rows have no value
===========  ==============================================================

No customer's row is kept for it. Drift is measured by the same bins.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from divisions.schema import Feature, FeatureKind, FeatureSchema, encode_value
from router.evidence.drift import FeatureBins, InputBins

Value = float | bool | str | None


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """The reference's values in the schema's order, raw and packed as the model takes them."""

    values: tuple[Value, ...]
    packed: bytes


def reference_row(schema: FeatureSchema, bins: InputBins) -> ReferenceRow:
    """The reference of a version. A feature without bins is missing in it."""
    known = {each.feature: each for each in bins.histograms}
    values = tuple(_typical(feature, known.get(feature)) for feature in schema.features)
    encoded = [encode_value(feature, value) for feature, value in zip(schema.features, values, strict=True)]
    return ReferenceRow(values, struct.pack(f"<{schema.num_columns}f", *encoded))


def differing(row: bytes, reference: bytes) -> tuple[int, ...]:
    """The columns in which two packed rows differ.

    >>> differing(struct.pack("<3f", 1.0, 2.0, float("nan")), struct.pack("<3f", 1.0, 5.0, float("nan")))
    (1,)
    """
    row_I, reference_I = memoryview(row).cast("I"), memoryview(reference).cast("I")
    return tuple(column for column in range(len(row_I)) if row_I[column] != reference_I[column])


def occluded(row: bytes, reference: bytes, columns: Sequence[int], start: int, stop: int) -> bytes:
    """Packs the rows from ``start`` to before ``stop`` of those that `contributions.attribute` needs, in its order.

    Args:
        row: the customer's, packed.
        reference: likewise.
        columns: in which the two differ.
    """
    size, first_last = len(row), 2 + len(columns)
    found = bytearray()
    for number in range(start, stop):
        is_customer = number == 0 or number >= first_last
        base, other = (row, reference) if is_customer else (reference, row)
        if number < 2:
            found += base
            continue
        at = 4 * columns[number - first_last if is_customer else number - 2]
        found += base[:at]
        found += other[at : at + 4]
        found += base[at + 4 : size]
    return bytes(found)


def _typical(feature: Feature, bins: FeatureBins | None) -> Value:
    if bins is None or 2 * bins.counts[-1] >= sum(bins.counts):
        return None
    present = bins.counts[:-1]
    if feature.kind is FeatureKind.NUMERIC:
        return bins.median if bins.median is not None else _middle(bins.edges, present)
    if feature.kind is FeatureKind.BOOLEAN:
        return present[1] > present[0]
    named = present[: len(feature.categories)]
    if not any(named):
        return None
    return feature.categories[named.index(max(named))]


def _middle(edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """The upper end of the bin that holds the middle row. The last bin has no upper end, so its lower end stands in."""
    if not edges:
        return None
    seen, half = 0, sum(counts) / 2
    for edge, count in zip(edges, counts, strict=False):
        seen += count
        if seen >= half:
            return edge
    return edges[-1]
