"""The split: which arm, stable or canary, answers a customer. Pure.

A customer's place in [0, 1) is a hash of the rollout's salt and the customer's id. The canary answers if that place is
below its weight. So the choice is *sticky* (the same customer, the same arm) and *monotone* (raising the weight moves
customers to the canary, never back). A fresh salt per rollout puts other customers first.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

from divisions.control import FULL_BP

SPARE_BITS: Final = 11
PLACES: Final = 1 << 53
"""Places are integers in [0, 2^53), so that place / PLACES is an exact float."""


def place(salt: bytes, key: bytes) -> int:
    """The customer's place: the upper 53 bits of ``xxh3_64(salt + key)``."""
    return digest(salt, key) >> SPARE_BITS


def digest(salt: bytes, key: bytes) -> int:
    """The 64 bits whose upper 53 are the customer's place; the lower `SPARE_BITS` are independent of it."""
    return xxh3_64_intdigest(salt + key)


def threshold(weight_bp: int) -> int:
    """Places below this belong to the canary."""
    return weight_bp * PLACES // FULL_BP
