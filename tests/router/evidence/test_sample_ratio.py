"""Distinct customers in bounded memory, and the test of the weights they arrive by."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.evidence import split
from router.evidence.sample_ratio import CONTROLLER_CUSTOMERS, GATEWAY_CUSTOMERS, MAX_LEVEL, DistinctCustomers, ln_e
from router.rollouts.verdict import SAMPLE_RATIO_LN_E

digests = st.lists(st.integers(0, 2**64 - 1), max_size=60)


@given(st.lists(st.tuples(digests, st.booleans()), max_size=8))
def test_every_customer_counts_once_on_the_arm_it_was_first_seen_on(batches):
    customers = DistinctCustomers(10_000)
    arms = {}
    for batch, is_canary in batches:
        new = customers.add(batch, is_canary=is_canary)
        assert set(new) == set(batch) - arms.keys()
        for digest in batch:
            arms.setdefault(digest, is_canary)
    assert customers.counts == (len(arms) - sum(arms.values()), sum(arms.values()))


@given(st.lists(digests, max_size=12))
def test_memory_is_bounded_and_what_is_left_is_the_same_part_everywhere(batches):
    small, large = DistinctCustomers(16), DistinctCustomers(10_000)
    for batch in batches:
        small.add(batch, is_canary=False)
        large.add(batch, is_canary=False)
        assert sum(small.counts) <= 16
    large.raise_level(small.level)
    assert large.counts == small.counts


@given(st.lists(digests, min_size=1, max_size=12), st.integers(1, 5))
def test_only_new_customers_of_the_counted_part_are_reported(batches, level):
    """Also in the batch that makes the part smaller. Otherwise gateways would send customers that nobody counts."""
    customers = DistinctCustomers(16)
    customers.raise_level(level)
    for batch in batches:
        before = sum(customers.counts)
        new = customers.add(batch, is_canary=True)
        assert all(digest % 2**customers.level == 0 for digest in new)
        assert len(set(new)) == len(new) <= 16
        assert sum(customers.counts) <= before + len(new)


def test_a_part_of_a_million_customers_still_tells_the_weight():
    generator = np.random.default_rng(3)
    customers = DistinctCustomers(GATEWAY_CUSTOMERS)
    edge = split.threshold(2_000)
    for _ in range(20):
        seen = [int(digest) for digest in generator.integers(0, 2**64, 50_000, dtype=np.uint64)]
        customers.add([d for d in seen if d >> split.SPARE_BITS < edge], is_canary=True)
        customers.add([d for d in seen if d >> split.SPARE_BITS >= edge], is_canary=False)
    stable, canary = customers.counts
    assert GATEWAY_CUSTOMERS / 4 < stable + canary <= GATEWAY_CUSTOMERS
    assert abs(canary / (stable + canary) - 0.2) < 0.04
    assert ln_e(stable, canary, 2_000) < SAMPLE_RATIO_LN_E


def test_gateways_that_share_customers_count_them_once():
    generator = np.random.default_rng(4)
    everyone = [int(digest) for digest in generator.integers(0, 2**64, 3_000, dtype=np.uint64)]
    controller = DistinctCustomers(CONTROLLER_CUSTOMERS)
    for gateway in range(4):
        mine = DistinctCustomers(GATEWAY_CUSTOMERS)
        controller.add(mine.add(everyone[gateway * 100 :], is_canary=False), is_canary=False)
        controller.raise_level(mine.level)
    assert sum(controller.counts) == 3_000


@given(st.integers(1, 60), st.sampled_from([500, 2_000, 5_000, 9_700]))
@settings(max_examples=40)
def test_under_the_null_the_evidence_is_one_in_expectation(n, weight_bp):
    share = weight_bp / 10_000
    expected = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k) * math.exp(ln_e(n - k, k, weight_bp)) for k in range(n + 1)
    )
    assert expected == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_right_split_never_holds_although_it_looks_at_every_customer(seed):
    generator = np.random.default_rng(seed)
    counts = [0, 0]
    for is_canary in generator.random(5_000) < 0.2:
        counts[int(is_canary)] += 1
        assert ln_e(*counts, 2_000) < SAMPLE_RATIO_LN_E


@pytest.mark.parametrize(("actual", "at_most"), [(0.0, 100), (0.1, 400), (0.25, 3_500), (0.5, 120)])
def test_a_wrong_split_is_found(actual, at_most):
    generator = np.random.default_rng(7)
    counts = [0, 0]
    while ln_e(*counts, 2_000) < SAMPLE_RATIO_LN_E:
        counts[int(generator.random() < actual)] += 1
        assert sum(counts) <= at_most


def test_where_one_arm_has_no_weight_nothing_is_said():
    assert ln_e(100, 0, 0) == 0.0
    assert ln_e(0, 100, 10_000) == 0.0


@given(st.sets(st.integers(0, 2**64 - 1), min_size=40, max_size=80))
def test_after_the_part_was_halved_only_customers_of_that_part_are_taken(digests):
    customers = DistinctCustomers(1_000)
    customers.raise_level(2)
    new = customers.add(digests, is_canary=True)
    assert sorted(new) == sorted(digest for digest in digests if digest % 4 == 0)
    assert customers.counts == (0, len(new))
    customers.raise_level(1)
    assert customers.level == 2, "a part does not grow again"


def test_beyond_the_last_level_new_customers_are_no_longer_taken():
    customers = DistinctCustomers(4)
    assert len(customers.add([number << 11 for number in range(4)], is_canary=False)) == 4
    assert customers.add([number << 11 for number in range(4, 9)], is_canary=False) == []
    assert (customers.level, customers.counts) == (MAX_LEVEL, (4, 0))
