"""Which versions may go: each reason by an example, and for any registry what must never happen."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.retention import PENDING_S, Retention, plan
from divisions.versions import RegisteredVersion, ValidationStatus

NOW_S = 1_000_000_000.0
DAY_S = 86_400.0
PASSED, FAILED, PENDING = ValidationStatus.PASSED, ValidationStatus.FAILED, ValidationStatus.PENDING
ALL = Retention(keep=1)


def version(number, status=PASSED, *, model="m", aliases=(), age_days=100.0, is_archived=False):
    return RegisteredVersion(
        model, f"3.{number}", number, f"run-{number}", Path(f"{model}/{number:016d}"), f"{number:064d}", status, {},
        aliases=aliases, created_at_s=NOW_S - age_days * DAY_S, is_archived=is_archived,
    )  # fmt: skip


def removed(versions, in_use=(), retention=ALL):
    return [one.version for one in plan(versions, set(in_use), retention, NOW_S).removed]


def test_only_the_newest_stay_of_what_nobody_uses():
    versions = [version(number) for number in range(1, 6)]
    found = plan(versions, set(), Retention(keep=2), NOW_S)
    assert [one.version for one in found.removed] == ["3.1", "3.2", "3.3"]
    assert found.kept == {"reference": 1, "newest": 1}


def test_what_has_an_alias_stays_whoever_has_set_it():
    versions = [version(1, aliases=("kept-for-audit",)), version(2), version(3, aliases=("production",)), version(4)]
    assert removed(versions) == ["3.2"]


def test_what_is_in_use_stays_although_the_registry_does_not_know_it():
    versions = [version(number, FAILED) for number in range(1, 5)]
    assert removed(versions, {("m", "3.2"), ("other", "3.1")}) == ["3.1", "3.3"]


def test_what_could_be_rolled_out_next_stays_and_what_was_refused_goes():
    versions = [version(1), version(2, aliases=("production",)), version(3), version(4, FAILED), version(5)]
    assert removed(versions) == ["3.1", "3.4"]


def test_the_version_that_the_next_run_is_compared_with_stays():
    assert removed([version(1), version(2), version(3, FAILED), version(4, FAILED)]) == ["3.1", "3.3"]


@pytest.mark.parametrize(("age_s", "expected"), [(PENDING_S - 1, []), (PENDING_S + 1, ["3.1"])])
def test_a_registration_under_way_stays_and_one_that_was_killed_goes(age_s, expected):
    assert removed([version(1, PENDING, age_days=age_s / DAY_S), version(2)]) == expected


def test_what_is_younger_than_asked_stays():
    versions = [version(1, age_days=91), version(2, age_days=89), version(3, age_days=0)]
    assert removed(versions, retention=Retention(1, 90 * DAY_S)) == ["3.1"]


def test_models_do_not_share_their_newest():
    assert removed([version(1, model="a"), version(1, model="b"), version(2, model="b")]) == ["3.1"]


versions_of_a_model = st.lists(
    st.tuples(
        st.sampled_from(ValidationStatus),
        st.sampled_from([(), (), (), ("staging",), ("production",), ("x",)]),
        st.floats(0, 400),
        st.booleans(),
    ),
    max_size=12,
).map(lambda rows: [version(i, s, aliases=a, age_days=d, is_archived=z) for i, (s, a, d, z) in enumerate(rows, 1)])


@given(versions_of_a_model, st.sets(st.integers(1, 12)), st.integers(1, 5), st.floats(0, 500))
def test_nothing_that_matters_goes_and_a_second_time_nothing_goes(versions, used, keep, older_days):
    in_use, retention = {("m", f"3.{number}") for number in used}, Retention(keep, older_days * DAY_S)
    found = plan(versions, in_use, retention, NOW_S)
    assert len(found.removed) + sum(found.kept.values()) == len(versions)
    serving = [one for one in versions if "production" in one.aliases or (one.model, one.version) in in_use]
    for one in found.removed:
        assert not one.aliases
        assert (one.model, one.version) not in in_use
        assert NOW_S - one.created_at_s >= older_days * DAY_S
        newer = [other for other in versions if other.registry_version > one.registry_version]
        assert len(newer) >= keep
        assert one.validation_status is not PASSED or any(other.validation_status is PASSED for other in newer)
        if one.validation_status is PASSED and serving:
            assert one.registry_version < max(other.registry_version for other in serving)
    left = [one for one in versions if one not in found.removed]
    assert plan(left, in_use, retention, NOW_S).removed == ()


def test_thousands_of_versions_are_decided_at_once():
    versions = [msgspec.structs.replace(version(i % 50 + 1, model=f"m-{i // 50}")) for i in range(5_000)]
    assert len(plan(versions, set(), Retention(keep=10), NOW_S).removed) == 4_000
