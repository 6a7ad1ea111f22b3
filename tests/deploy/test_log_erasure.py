"""A customer leaves the files of the prediction log; what could not be changed is named."""

import pyarrow.parquet as pq
import pytest

from deploy.log_erasure import Erased, erase, known_places
from divisions.prediction_log import LogPolicy
from divisions.settings import Settings
from tests.router.prediction_log.logged import TOKEN, entry, log, logged
from trainers.outcomes.labels import Outcome
from trainers.outcomes.store import OutcomeStore


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "channel_token").write_bytes(TOKEN)
    return Settings(home=tmp_path)


def test_a_customer_leaves_every_file_and_others_stay(settings, tmp_path):
    other = tmp_path / "elsewhere"
    policy = LogPolicy(10_000)
    log(tmp_path, policy, entry(1, key="c-1"), entry(2, rows=2, key="c-2"), entry(3))
    log(tmp_path, policy, entry(4, key="c-1"))
    log(tmp_path, LogPolicy(10_000, str(other)), entry(5, key="c-1"), entry(6, key="c-2"))
    assert known_places(tmp_path, "churn") == (str(tmp_path / "predictions"), str(other))
    assert erase(settings, "churn", "c-1") == Erased(rows=3, files=3, nameless=1)
    assert logged(tmp_path / "predictions") == [("r-2", "c-2"), ("r-2", "c-2"), ("r-3", None)]
    assert logged(other) == [("r-6", "c-2")]
    assert [path.name for path in tmp_path.rglob("*.part")] == []
    assert erase(settings, "churn", "c-1") == Erased(nameless=1)


def test_a_file_keeps_its_columns_and_values(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"), entry(2, key="c-2"))
    (path,) = (tmp_path / "predictions" / "churn").rglob("*.parquet")
    before = pq.ParquetFile(path).read()
    erase(settings, "churn", "c-1")
    assert pq.ParquetFile(path).read() == before.slice(1)


def test_a_hashed_customer_is_found(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000, hash=("customer_id",)), entry(1, key="c-1"), entry(2, key="c-2"))
    assert erase(settings, "churn", "c-1").rows == 1
    assert [request for request, _ in logged(tmp_path / "predictions")] == ["r-2"]


def test_a_customer_that_was_left_out_cannot_be_found_which_is_told(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000, leave_out=("customer_id",)), entry(1, key="c-1"))
    assert erase(settings, "churn", "c-1") == Erased(nameless=1)


def test_rows_on_their_way_are_told(settings, tmp_path):
    writer = log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"), entry(2, key="c-2"), is_shipped=False)
    assert erase(settings, "churn", "c-1") == Erased(waiting=1)
    assert erase(settings, "fraud", "c-1") == Erased()
    del writer


def test_outcomes_go_by_customer_and_by_the_requests_that_were_removed(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"), entry(2, key="c-2"))
    store = OutcomeStore(tmp_path, "churn")
    store.add("entity", [Outcome("c-1", True, None), Outcome("c-2", True, None)])
    store.add("request", [Outcome("r-1", True, None), Outcome("r-2", False, None)])
    assert erase(settings, "churn", "c-1").outcomes == 2
    assert [(by, key) for by, key, _, _ in store.read()] == [("entity", "c-2"), ("request", "r-2")]


def test_a_damaged_file_is_named_and_the_others_are_changed(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"))
    (path,) = (tmp_path / "predictions" / "churn").rglob("*.parquet")
    broken = path.with_name("000001-gw-9.parquet")
    broken.write_bytes(b"PAR1 no")
    erased = erase(settings, "churn", "c-1")
    assert erased.rows == 1
    assert len(erased.failed) == 1
    assert str(broken) in erased.failed[0]
    assert broken.read_bytes() == b"PAR1 no"


def test_files_that_are_not_the_logs_are_not_touched(settings, tmp_path):
    log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"))
    (path,) = (tmp_path / "predictions" / "churn").rglob("*.parquet")
    foreign = path.with_name("mine.parquet")
    foreign.write_bytes(path.read_bytes())
    erase(settings, "churn", "c-1")
    assert logged(tmp_path / "predictions") == [("r-1", "c-1")]
    assert not path.exists()


@pytest.mark.parametrize("endpoint", ["../churn", "", "a/b", "."])
def test_a_name_that_cannot_be_an_endpoint_has_no_log(settings, tmp_path, endpoint):
    log(tmp_path, LogPolicy(10_000), entry(1, key="c-1"))
    assert known_places(tmp_path, endpoint) == ()
