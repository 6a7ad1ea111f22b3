"""The canary's replicas beside stable's: never more to do than stable's, never more than all traffic needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.scaling.arms import canary_replicas


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9_999))
def test_a_replica_of_the_canary_has_no_more_to_do_than_one_of_stable_up_to_stables_number(stable, full, weight_bp):
    own = -(-full * weight_bp // 10_000)
    count = canary_replicas(stable, own, full, weight_bp)
    assert count >= own
    assert count >= 1
    if count < max(full, stable):
        assert weight_bp / count <= (10_000 - weight_bp) / stable
    assert count <= max(full, stable, own)


@given(st.integers(1, 60), st.integers(1, 60))
def test_with_all_traffic_it_has_what_all_traffic_needs(stable, full):
    assert canary_replicas(stable, 1, full, 10_000) == full
