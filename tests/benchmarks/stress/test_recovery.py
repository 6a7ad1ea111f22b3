import numpy as np
import pytest

from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples
from benchmarks.stress.chaos_result import added_p99_ms, client_errors, touched_by
from benchmarks.stress.recovery import SLACK, WINDOW_S, recovery_s, spell_of

START_S = 1_000.0


def steady(seconds, rate=100, latency_s=0.01, change=None):
    """One request every 1/rate; ``change`` takes planned offsets and latencies and outcomes and edits them."""
    planned_s = np.arange(int(seconds * rate)) / rate
    latencies_s = np.full(len(planned_s), latency_s)
    outcomes = np.full(len(planned_s), Outcome.OK, np.uint8)
    if change is not None:
        change(planned_s, latencies_s, outcomes)
    zeros = np.zeros(len(planned_s), np.uint8)
    return Samples(START_S, planned_s, latencies_s, outcomes, zeros, ("1.1",), np.zeros(0))


def disturbed(from_s, to_s, latency_s=1.0, outcome=Outcome.OK):
    def change(planned_s, latencies_s, outcomes):
        own = (planned_s >= from_s) & (planned_s < to_s)
        latencies_s[own], outcomes[own] = latency_s, outcome

    return change


def test_a_spell_counts_all_generators_and_no_other_time():
    runs = [steady(10, change=disturbed(4, 6, 0.002, Outcome.REFUSED)), steady(10)]
    spell = spell_of(runs, START_S + 4, START_S + 6)
    assert (spell.planned_rps, spell.goodput_rps, spell.refused, spell.failed) == (200.0, 100.0, 200, 0)
    assert (spell.p99_ms, spell.refused_p99_ms) == (10.0, 2.0)


def test_an_empty_spell_is_all_zero():
    spell = spell_of([steady(1)], START_S + 50, START_S + 51)
    assert (spell.goodput_rps, spell.p99_ms) == (0.0, 0.0)


@pytest.mark.parametrize(("slow_until_s", "expected_s"), [(5.0, 0.0), (5.2, 0.5), (6.9, 2.0)])
def test_recovery_is_the_end_of_the_last_bad_window(slow_until_s, expected_s):
    run = steady(12, change=disturbed(3, slow_until_s))
    assert recovery_s(run, (START_S, START_S + 3), START_S + 5) == expected_s


def test_a_relapse_counts():
    def change(planned_s, latencies_s, outcomes):
        disturbed(3, 5)(planned_s, latencies_s, outcomes)
        disturbed(8, 8.1)(planned_s, latencies_s, outcomes)

    assert recovery_s(steady(12, change=change), (START_S, START_S + 3), START_S + 5) == 3.5


def test_a_window_with_refusals_is_not_recovered_however_fast():
    run = steady(12, change=disturbed(5, 7, 0.001, Outcome.REFUSED))
    assert recovery_s(run, (START_S, START_S + 3), START_S + 5) == 2.0


def test_what_never_comes_back_is_none():
    run = steady(12, change=disturbed(3, 20))
    assert recovery_s(run, (START_S, START_S + 3), START_S + 5) is None


def test_a_little_slower_is_as_before():
    run = steady(12, change=disturbed(3, 20, 0.01 * SLACK * 0.99))
    assert recovery_s(run, (START_S, START_S + 3), START_S + 5) == 0.0
    assert WINDOW_S == 0.5


def test_the_p99_after_kills_looks_at_their_seconds_only():
    run = steady(30, change=disturbed(10, 10.5, 0.2))
    assert added_p99_ms(run, [START_S + 10], 10.0) == 190.0
    assert added_p99_ms(run, [START_S + 20], 10.0) == 0.0


def test_a_freeze_ends_with_the_last_request_it_touched():
    run = steady(30, change=disturbed(9.9, 10.8, 0.5))  # the first ten were under way when it froze
    assert touched_by(run, START_S + 10, 15, 10.0) == (90, pytest.approx(0.79))
    assert touched_by(steady(30), START_S + 10, 15, 10.0) == (0, 0.0)


def test_client_errors_are_all_that_is_not_an_answer():
    run = steady(10, change=disturbed(4, 5, 0.0, Outcome.FAILED))
    assert client_errors(spell_of([run], START_S, START_S + 10)) == 100
