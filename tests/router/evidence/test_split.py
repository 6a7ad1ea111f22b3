from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.evidence.split import PLACES, place, threshold

keys = st.binary(min_size=1, max_size=40)
weights = st.integers(0, 10_000)


@given(keys, st.binary(max_size=16), weights, weights)
def test_a_customer_never_leaves_the_canary_while_its_weight_rises(key, salt, one, other):
    low, high = sorted((one, other))
    if place(salt, key) < threshold(low):
        assert place(salt, key) < threshold(high)


@given(keys, st.binary(max_size=16))
def test_no_weight_means_nobody_and_full_weight_means_everybody(key, salt):
    assert not place(salt, key) < threshold(0)
    assert place(salt, key) < threshold(10_000)


def test_twenty_percent_of_many_customers_is_twenty_percent():
    chosen = sum(place(b"salt", b"c-%d" % number) < threshold(2_000) for number in range(100_000))
    assert abs(chosen / 100_000 - 0.2) < 0.004


def test_another_salt_chooses_other_customers():
    first = {number for number in range(10_000) if place(b"a", b"%d" % number) < threshold(2_000)}
    second = {number for number in range(10_000) if place(b"b", b"%d" % number) < threshold(2_000)}
    assert 300 < len(first & second) < 500  # 4 % of 10,000 if the choices are independent


def test_places_fill_the_unit_interval():
    places = [place(b"salt", b"%d" % number) / PLACES for number in range(10_000)]
    assert min(places) < 0.01
    assert max(places) > 0.99
