"""The decision log."""

from __future__ import annotations

import json

import pytest

from divisions.clock import ManualClock
from divisions.policy.decision_log import MAX_BYTES, DecisionLog, LoggedEngine
from divisions.policy.engine import Decision, Kind, Query, Reason
from divisions.policy.opening import open_engine, policy_folder
from divisions.settings import load_settings
from tests.divisions.policy.questions import GOOD, MATRIX

NO = Decision(False, (Reason("drift", "it is 0.4", "retrain"),), "ab")


class Refuses:
    digest = "ab"

    def decide(self, query):
        return NO

    def close(self):
        pass


@pytest.fixture
def lines(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]


def test_a_decision_is_a_line_with_digests_reasons_and_time(tmp_path, lines):
    LoggedEngine(Refuses(), DecisionLog(tmp_path / "d.jsonl"), ManualClock(5.0)).decide(MATRIX[0])
    assert lines() == [
        {
            "at_s": 5.0, "kind": "rbac", "who": "ann", "subject": "public", "allow": False,
            "reasons": [{"rule": "drift", "message": "it is 0.4", "remedy": "retrain"}],
            "input_digest": MATRIX[0].digest(), "policy_digest": "ab", "ms": 0.0, "repeats": 0,
        }
    ]  # fmt: skip


def test_a_rollout_that_waits_is_logged_once_a_minute_with_how_often_it_asked(tmp_path, lines):
    clock = ManualClock()
    engine = LoggedEngine(Refuses(), DecisionLog(tmp_path / "d.jsonl"), clock)
    for _ in range(61):
        engine.decide(Query(Kind.PROMOTION, GOOD))
        clock.advance(1.0)
    assert [line["repeats"] for line in lines()] == [0, 59]


def test_a_full_file_is_renamed_and_a_disk_that_fails_stops_no_decision(tmp_path, lines):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"x" * MAX_BYTES)
    engine = LoggedEngine(Refuses(), DecisionLog(path), ManualClock())
    engine.decide(MATRIX[0])
    assert len(lines()) == 1
    assert (tmp_path / "d.jsonl.1").stat().st_size == MAX_BYTES
    broken = LoggedEngine(Refuses(), DecisionLog(tmp_path / "none" / "d.jsonl"), ManualClock())
    assert broken.decide(MATRIX[0]) == NO


def test_without_a_policy_there_is_no_engine_and_a_folder_beside_the_home_is_one(tmp_path):
    settings = load_settings({"DIVISIONS_HOME": str(tmp_path / "state")})
    assert open_engine(settings, ManualClock()) is None
    (tmp_path / "policy").mkdir()
    assert policy_folder(settings) == tmp_path / "policy"
