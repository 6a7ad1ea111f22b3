import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.control import EndpointRoute, RoutingTable, VersionRoute, VersionSpec
from divisions.prediction_log import LogPolicy, old_dates
from divisions.settings import S3Settings
from router.prediction_log.frames import KeepRule
from router.prediction_log.retention import Keeper, remove_old, rules_of
from tests.router.prediction_log.logged import SCHEMA

DAY_S = 86_400.0
NOON_S = 1_767_268_800.0  # 2026-01-01 12:00 UTC


def table(*policies: LogPolicy | None) -> RoutingTable:
    versions = tuple(
        VersionRoute(VersionSpec("predictor", f"3.{number}", "", "sha", SCHEMA, log=policy), 0, number > 0)
        for number, policy in enumerate(policies)
    )
    return RoutingTable(1, (EndpointRoute("churn", "salt", versions),))


@pytest.mark.parametrize(
    ("policies", "rules"),
    [
        ((None,), ()),
        ((LogPolicy(),), ()),
        ((LogPolicy(keep_s=DAY_S),), (KeepRule("churn", "", DAY_S),)),
        ((LogPolicy(keep_s=30 * DAY_S), LogPolicy(keep_s=DAY_S)), (KeepRule("churn", "", 30 * DAY_S),)),
        ((LogPolicy(), LogPolicy(keep_s=DAY_S)), ()),
        (
            (LogPolicy(), LogPolicy(to="/other", keep_s=DAY_S)),
            (KeepRule("churn", "/other", DAY_S),),
        ),
    ],
)
def test_the_version_that_keeps_longest_decides(policies, rules):
    assert rules_of(table(*policies)) == rules


@given(st.dates(dt.date(1980, 1, 1), dt.date(9990, 1, 1)), st.integers(1, 400))
def test_a_date_goes_when_all_of_it_is_older_and_not_before(date, days):
    end_s = dt.datetime.combine(date, dt.time(), dt.UTC).timestamp() + DAY_S
    name = f"date={date.isoformat()}"
    assert old_dates([name], days * DAY_S, end_s + days * DAY_S) == [name]
    assert old_dates([name], days * DAY_S, end_s + days * DAY_S - 1) == []


def test_only_the_logs_own_files_of_old_dates_go(tmp_path):
    kept = [
        "churn/date=2026-01-01/120000-gw-1.parquet",
        "churn/date=2025-12-30/notes.txt",
        "churn/date=2025-12-30/model.parquet",
        "churn/date=old/120000-gw-1.parquet",
        "churn/120000-gw-1.parquet",
        "fraud/date=2025-12-30/120000-gw-1.parquet",
    ]
    gone = ["churn/date=2025-12-30/120000-gw-1.parquet", "churn/date=2025-12-29/235959-a-b-2.parquet"]
    for path in (*kept, *gone):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    assert remove_old(str(tmp_path), "churn", DAY_S, NOON_S, S3Settings()) == 2
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
    assert not (tmp_path / "churn/date=2025-12-29").exists()
    assert remove_old(str(tmp_path), "churn", DAY_S, NOON_S, S3Settings()) == 0


def test_a_place_that_is_not_there_has_nothing_to_remove(tmp_path):
    assert remove_old(str(tmp_path / "none"), "churn", DAY_S, NOON_S, S3Settings()) == 0


def test_a_place_that_is_away_does_not_keep_others_from_being_looked_at(tmp_path):
    asked = []

    def remove(place, endpoint, keep_s, wall_s):
        asked.append((place, endpoint, keep_s, wall_s))
        if place == "/away":
            raise OSError("away")
        return 1

    keeper = Keeper(tmp_path, remove, lambda: NOON_S)
    keeper.follow([KeepRule("churn", "/away", DAY_S), KeepRule("churn", "", DAY_S)])
    keeper.turn()
    assert asked == [
        ("/away", "churn", DAY_S, NOON_S),
        (str(tmp_path / "predictions"), "churn", DAY_S, NOON_S),
    ]
