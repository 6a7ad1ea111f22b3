"""What a fuzz's report says about answers of 500 and more, and whom its store knows."""

from __future__ import annotations

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, write_workload
from benchmarks.harness.machine import describe_machine
from benchmarks.stress.fuzz import FuzzResult, ServerErrors, fill_store, render, unexcused
from benchmarks.stress.fuzz_client import OWN_DEADLINE
from divisions.online_store import OnlineStoreReader


def found(statuses: dict[str, int], *errors: ServerErrors) -> FuzzResult:
    return FuzzResult(describe_machine(), 1, 100, 2, statuses, 0, 0, [], [1.0, 1.0], server_errors=list(errors))


def test_other_http_and_own_deadlines_are_the_requests_own_doing():
    late = ServerErrors(504, "POST /x", "DeadlineExceededError" + OWN_DEADLINE, 3)
    good = found({"200": 90, "501": 1, "504": 3, "505": 6}, late)
    assert unexcused(good) == 0
    assert "7 to versions and encodings of HTTP that it does not speak (501, 505)" in render(good)
    assert "3 at a deadline that the request names (504), no others" in render(good)


def test_every_other_server_error_is_counted():
    late = ServerErrors(504, "POST /x", "DeadlineExceededError", 2)
    store = ServerErrors(503, "POST /x", "OnlineStoreError" + OWN_DEADLINE, 1)
    bad = found({"503": 1, "504": 2, "505": 6, "500": 4}, late, store)
    assert unexcused(bad) == 7
    assert "0 at a deadline that the request names (504), 7 others" in render(bad)


def test_the_store_knows_the_customer_of_the_workload(tmp_path):
    workload = write_workload(tmp_path / "bundle", num_features=2, widths=(4,))
    fill_store(tmp_path / "features" / "online.db", workload)
    row = OnlineStoreReader(tmp_path / "features" / "online.db", ENDPOINT).get("c-1")
    assert row is not None
    assert set(msgspec.json.decode(row)) == set(workload.schema.names)
