import pytest

from divisions.errors import InputError
from trainers.outcomes.labels import Outcome
from trainers.outcomes.store import Added, OutcomeStore

ONE, TWO = Outcome("1", True, 5.0), Outcome("2", False, None)


def test_adding_a_file_again_changes_nothing(tmp_path):
    store = OutcomeStore(tmp_path, "churn")
    assert store.read() == []
    assert store.add("entity", [ONE, TWO]) == Added(2, 0, 0, 0)
    before = store.read()
    assert store.add("entity", [ONE, TWO]) == Added(0, 2, 0, 0)
    assert store.read() == before == [("entity", "1", True, 5.0), ("entity", "2", False, None)]


def test_the_opposite_of_a_known_outcome_is_refused_unless_it_replaces(tmp_path):
    store = OutcomeStore(tmp_path, "churn")
    store.add("entity", [ONE])
    opposite = Outcome("1", False, 9.0)
    assert store.add("entity", [opposite, TWO]) == Added(1, 0, 1, 0)
    assert store.read()[0] == ("entity", "1", True, 5.0)
    assert store.add("entity", [opposite], is_replacing=True) == Added(0, 0, 0, 1)
    assert store.read()[0] == ("entity", "1", False, 9.0)


def test_ids_of_requests_and_of_customers_are_apart_and_so_are_endpoints(tmp_path):
    store = OutcomeStore(tmp_path, "churn")
    store.add("entity", [ONE])
    assert store.add("request", [ONE]) == Added(1, 0, 0, 0)
    assert OutcomeStore(tmp_path, "fraud").read() == []


def test_only_the_owner_can_read_them(tmp_path):
    OutcomeStore(tmp_path, "churn").add("entity", [ONE])
    assert (tmp_path / "outcomes").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "outcomes" / "churn.db").stat().st_mode & 0o777 == 0o600


def test_all_of_a_file_or_none_of_it(tmp_path):
    store = OutcomeStore(tmp_path, "churn")
    with pytest.raises(InputError, match="cannot be used"):
        store.add("entity", [ONE, Outcome("2", None, None)])
    assert store.read() == []


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "outcomes").mkdir()
    (tmp_path / "outcomes" / "churn.db").write_text("no database " * 100)
    with pytest.raises(InputError, match=r"churn\.db cannot be used"):
        OutcomeStore(tmp_path, "churn").read()
