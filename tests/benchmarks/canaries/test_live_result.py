import msgspec
import numpy as np
import pytest

from benchmarks.canaries.live_result import (
    CASES,
    Allowance,
    CaseResult,
    LiveResult,
    Retries,
    broken_promises,
    late_retries,
    live_section,
    render_live,
    sum_up,
)
from benchmarks.canaries.live_rollouts import choose
from benchmarks.harness.machine import Machine
from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples
from benchmarks.reports.live_page import PAGE, RESULT, filled_page
from divisions.commands.rollout import parse_faults
from divisions.errors import InputError, UsageError
from divisions.status import Explanation, HistoryEntry
from tests.builders import rollout_status

STARTED_S, ROSE_S, ZERO_S = 1_000.0, 1_010.0, 1_018.0
SLOW, HANG = CASES[0], CASES[2]


def status(*, phase="ROLLED_BACK", weight_bp=0):
    history = (
        HistoryEntry(STARTED_S, "WARMING", 0, ""),
        HistoryEntry(ROSE_S, "STEP", 2_000, ""),
        HistoryEntry(ZERO_S, "ROLLING_BACK", 0, ""),
        HistoryEntry(ZERO_S + 6, "ROLLED_BACK", 0, ""),
    )
    return rollout_status(
        phase=phase,
        steps_bp=(2_000, 10_000),
        set_weight_bp=0,
        actual_weight_bp=weight_bp,
        rollback_reason="p50 is 1.5 times stable's",
        started_at_s=STARTED_S,
        phase_since_s=ZERO_S + 6,
        history=history,
        explanation=Explanation("latency", "p50 is 1.5 times stable's"),
    )


def samples(*requests):
    """Each is when it arrived (wall-clock), its latency, the version that answered, and its outcome."""
    at_s, latency_s, versions, outcomes = zip(*requests, strict=True)
    names = ("3.1", "3.2", "")
    return Samples(
        start_wall_s=STARTED_S,
        scheduled_s=np.array(at_s) - STARTED_S,
        latency_s=np.array(latency_s),
        outcome=np.array(outcomes, np.uint8),
        version=np.array([names.index(version) for version in versions], np.uint8),
        versions=names,
        lag_s=np.zeros(len(requests)),
    )


QUIET = (
    (STARTED_S + 1, 0.01, "3.1", Outcome.OK),
    (ROSE_S + 0.5, 0.02, "3.2", Outcome.OK),
    (ZERO_S + 0.1, 0.02, "3.2", Outcome.OK),
    (ZERO_S + 3, 0.01, "3.1", Outcome.OK),
)


RETRIES = tuple(Retries(ZERO_S + at_s, "3.2", count) for at_s, count in ((-1, 5), (0.5, 8), (1.0, 9), (2.0, 9)))


def result_of(case, *requests, **changes):
    return sum_up(case, status(**changes), samples(*QUIET, *requests), RETRIES, STARTED_S, STARTED_S + 60)


def test_seconds_count_from_the_rise_of_the_weight_to_its_fall():
    found = result_of(SLOW)
    assert (found.rolled_back, found.guard, found.seconds_from_first_bad_request) == (True, "latency", 8.0)
    assert (found.requests, found.failed_requests, found.canary_answers, found.late_assignments) == (4, 0, 2, 0)
    assert found.silent_after_s == 8.1
    assert broken_promises([found]) == []


def test_what_the_canary_answers_more_than_200_ms_after_the_decision_is_late():
    found = result_of(SLOW, (ZERO_S + 0.3, 0.02, "3.2", Outcome.OK))
    assert found.late_assignments == 1
    assert "1 requests were sent to the canary" in broken_promises([found])[0]


def test_an_attempt_that_fails_a_second_after_the_decision_was_a_late_one_though_stable_answered():
    assert late_retries(RETRIES, "3.2", ZERO_S) == 0
    assert late_retries((*RETRIES, Retries(ZERO_S + 3, "3.2", 11)), "3.2", ZERO_S) == 2
    assert late_retries((*RETRIES, Retries(ZERO_S + 3, "3.1", 11)), "3.2", ZERO_S) == 0


def test_a_longer_deadline_leaves_an_attempt_more_time():
    retries = (*RETRIES, Retries(ZERO_S + 1.5, "3.2", 11), Retries(ZERO_S + 3.5, "3.2", 11))
    assert late_retries(retries, "3.2", ZERO_S) == 2
    patient = Allowance(request_s=4.0)
    with pytest.raises(ValueError, match=r"3\.2 were not looked at"):
        late_retries(retries[:-1], "3.2", ZERO_S, patient)
    assert late_retries((*retries, Retries(ZERO_S + 4, "3.2", 11)), "3.2", ZERO_S, patient) == 0


def test_without_a_look_after_the_decision_nothing_is_claimed():
    with pytest.raises(ValueError, match=r"3\.2 were not looked at"):
        late_retries(RETRIES[:3], "3.2", ZERO_S)


def test_a_failed_request_belongs_to_the_case_in_whose_time_it_arrived():
    failed = (STARTED_S + 30, 0.1, "", Outcome.FAILED)
    assert result_of(SLOW, failed).failed_requests == 1
    assert result_of(SLOW, (STARTED_S + 61, 0.1, "", Outcome.FAILED)).failed_requests == 0
    assert "1 of 5 requests failed" in broken_promises([result_of(SLOW, failed)])[0]


def test_neither_a_rollout_that_holds_nor_one_with_weight_left_was_rolled_back():
    assert not result_of(SLOW, phase="HOLD").rolled_back
    assert not result_of(SLOW, weight_bp=2_000).rolled_back


@pytest.mark.parametrize("seconds", [15.1, float("nan")])
def test_more_than_15_seconds_are_too_many(seconds):
    late = msgspec.structs.replace(result_of(SLOW), seconds_from_first_bad_request=seconds)
    assert "not 15 s" in broken_promises([late])[0]
    assert bool(broken_promises([late], Allowance(weight_zero_s=20))) == (seconds != 15.1)


def test_terminal_and_page_show_every_case_and_what_was_not_kept():
    cases = tuple(
        CaseResult(case.name, case.what, case is not HANG, "why", "errors", 3.0, 2.5, 900, 0, 60, 0) for case in CASES
    )
    result = LiveResult(Machine("a cpu", 2, "Linux 6", "3.11.7", {}, 4.0), 0, 150.0, 5.0, 4_500, 0, {}, False, cases)
    page, text = live_section(result), render_live(result)
    for case in CASES:
        assert f"| {case.name}: {case.what} |" in page
        assert case.name in text
    assert "Not kept: hang: not rolled back." in page
    assert "broken promise: hang: not rolled back" in text
    assert "load average 4.0 before" in page


def test_every_case_asks_for_faults_that_exist():
    for case in CASES:
        assert parse_faults(list(case.faults)) is not None


def test_cases_are_chosen_by_name():
    assert choose("all") == CASES
    assert choose("hang,slow") == (HANG, SLOW)
    with pytest.raises(UsageError, match="no case 'late'"):
        choose("late")


def test_the_page_shows_the_run_that_is_kept():
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled_page(page, RESULT.read_bytes()), "run `python -m benchmarks.live_page`"


def test_a_run_that_is_kept_has_every_case():
    kept = msgspec.json.decode(RESULT.read_bytes(), type=LiveResult)
    assert [case.case for case in kept.cases] == [case.name for case in CASES]


def test_a_file_that_is_no_run_is_refused():
    with pytest.raises(InputError, match=r"benchmarks\.live_rollouts"):
        filled_page("", b'{"cases": 1}')
