"""Customers who are to be forgotten: noted once, by endpoint, and taken back."""

from __future__ import annotations

import pytest

from divisions.deletions import Deletions, deletions_path
from divisions.errors import OnlineStoreError


@pytest.fixture
def deletions(tmp_path):
    return Deletions(deletions_path(tmp_path / "features" / "online.db"))


def test_the_list_is_beside_the_store(tmp_path):
    assert deletions_path(tmp_path / "online.db") == tmp_path / "deleted.db"


def test_a_list_that_is_not_there_is_empty_and_is_not_made_by_reading(deletions, tmp_path):
    assert deletions.of("churn") == {}
    assert not deletions.remove("churn", "c")
    assert not (tmp_path / "features").exists()


def test_a_customer_is_noted_once_for_its_endpoint(deletions):
    deletions.add("churn", "c", 5.0)
    deletions.add("churn", "c", 9.0)
    deletions.add("churn", "d", 6.0)
    deletions.add("other", "e", 7.0)
    assert deletions.of("churn") == {"c": 5.0, "d": 6.0}
    assert deletions.of("other") == {"e": 7.0}
    assert deletions.of("third") == {}


def test_a_deletion_is_taken_back_once(deletions):
    for endpoint in ("churn", "other"):
        deletions.add(endpoint, "c", 5.0)
    assert deletions.remove("churn", "c")
    assert not deletions.remove("churn", "c")
    assert not deletions.remove("other", "d")
    assert (deletions.of("churn"), deletions.of("other")) == ({}, {"c": 5.0})


def test_a_damaged_list_is_an_error_that_names_it(deletions, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "deleted.db").write_bytes(b"no database, but bytes enough to look like one" * 99)
    for call in (
        lambda: deletions.of("churn"),
        lambda: deletions.add("churn", "c", 1.0),
        lambda: deletions.remove("churn", "c"),
    ):
        with pytest.raises(OnlineStoreError, match=r"deleted\.db, cannot be used"):
            call()
