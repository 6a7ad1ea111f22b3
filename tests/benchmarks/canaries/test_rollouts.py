"""The study of rollouts: its traffic, the rollouts it simulates, the methods beside them, its rows and its page."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import rollouts
from benchmarks.canaries.baselines import METHODS, Recording, is_high, judge_all, record
from benchmarks.canaries.scenarios import SCENARIOS, Scenario, Service, choose_scenarios
from benchmarks.canaries.simulation import STEPS_BP, Outcome, SplitTable, simulate
from benchmarks.canaries.study import OURS, Row, Study, clopper_pearson, merge, quantile, summarise, winner
from benchmarks.canaries.traffic import PENDING_S, Traffic, erlang_c, queued
from benchmarks.harness.machine import Machine
from benchmarks.reports.rollout_page import put_promises, render_page, render_table
from divisions.analysis_spec import AnalysisSpec
from divisions.errors import UsageError
from router.evidence import histogram

QUICK = AnalysisSpec(min_dwell_s=5.0, min_samples=(500, 500), bake_s=10.0, max_dwell_s=60.0)
CALM = Service(stalls_per_min=0.0, customer_sigma=0.0, load_swing=0.0, error_share=0.0, tail_share=0.0)


def drawn(scenario, rps=500, seconds=20, seed=0, before_s=0):
    traffic = Traffic(scenario, rps, np.random.default_rng(seed), seconds, before_s)
    return list(traffic.seconds())


# ---- traffic ----------------------------------------------------------------------------------------------------


def test_both_arms_of_equal_versions_are_alike_and_come_at_the_mean_rate():
    seconds = drawn(Scenario("calm", "", False, CALM), rps=1_000, seconds=60)
    assert [tick for tick, _ in seconds] == list(range(60))
    requests = sum(len(second.at_s) for _, second in seconds)
    assert requests == pytest.approx(60_000, rel=0.05)
    assert not any(second.is_harmed.any() for _, second in seconds)
    assert all(((second.at_s >= tick) & (second.at_s < tick + 1)).all() for tick, second in seconds)
    latencies_s = np.concatenate([second.latency_stable_s for _, second in seconds])
    assert np.median(latencies_s) == pytest.approx(CALM.median_s, rel=0.02)


def test_what_is_wrong_begins_at_the_onset_and_concerns_the_canary_only():
    scenario = Scenario("late", "", service=CALM, factor=2.0, onset_s=5.5)
    for _, second in drawn(scenario, seconds=10):
        bad = second.at_s >= 5.5
        assert np.allclose(second.latency_canary_s, np.where(bad, 2.0, 1.0) * second.latency_stable_s)
        assert (second.is_harmed == bad).all()


def test_failures_hangs_and_nan_are_told_apart():
    errors, hang, nan = (
        drawn(Scenario("x", "", service=CALM, **{what: 0.5}), seconds=5)
        for what in ("error_share", "hang_share", "nan_share")
    )
    for _, second in errors:
        assert (np.isinf(second.latency_canary_s) == second.fails_openly).all()
        assert 0.3 < second.fails_openly.mean() < 0.7
    assert all((second.latency_canary_s[second.fails_openly] == PENDING_S).all() for _, second in hang)
    assert all(np.isinf(second.latency_canary_s).any() and not second.fails_openly.any() for _, second in nan)


def test_stalls_only_ever_delay():
    stalling = dataclasses.replace(CALM, stalls_per_min=30.0)
    calm = np.sort(np.concatenate([s.latency_stable_s for _, s in drawn(Scenario("a", "", False, CALM))]))
    slow = np.sort(np.concatenate([s.latency_stable_s for _, s in drawn(Scenario("a", "", False, stalling))]))
    assert np.quantile(slow, 0.99) > 5 * np.quantile(calm, 0.99)
    assert slow.min() > 0


def test_erlangs_formula():
    assert erlang_c(1, 0.3) == pytest.approx(0.3)  # one server: the probability that it is busy
    assert erlang_c(4, 2.0) == pytest.approx(0.1739, abs=1e-4)


@given(st.floats(0.05, 0.97), st.floats(0.05, 0.97))
def test_more_load_never_makes_queues_shorter(one, other):
    waits = np.random.default_rng(0).random(2_000)
    low, high = (queued(np.zeros(2_000), waits, CALM, load).sum() for load in sorted((one, other)))
    assert low <= high + 1e-12


# ---- rollouts ---------------------------------------------------------------------------------------------------


def test_nobody_leaves_the_canary_when_its_weight_rises():
    table = SplitTable("salt", 5_000)
    customers = np.arange(5_000)
    arms = [table.are_canary(customers, weight_bp) for weight_bp in STEPS_BP]
    assert all((after >= before).all() for before, after in itertools.pairwise(arms))
    assert arms[0].mean() == pytest.approx(0.2, abs=0.02)


def test_equal_versions_are_promoted():
    assert simulate(Scenario("calm", "", False, CALM), 500, 1, QUICK).ending == "promoted"


def test_the_same_seed_gives_the_same_rollout():
    assert simulate(SCENARIOS["x1.5"], 500, 3, QUICK) == simulate(SCENARIOS["x1.5"], 500, 3, QUICK)


@pytest.mark.parametrize(
    ("name", "guard", "within_s"), [("x1.5", "latency", 15), ("nan", "breaker", 1), ("hang", "latency", 20)]
)
def test_a_bad_canary_is_rolled_back_by_the_guard_whose_business_it_is(name, guard, within_s):
    outcome = simulate(SCENARIOS[name], 1_000, 5)
    assert (outcome.ending, outcome.guard) == ("rolled back", guard)
    assert 0 < outcome.delay_s <= within_s
    assert 0 < outcome.harmed_requests <= outcome.canary_requests
    assert outcome.canary_requests == pytest.approx(200 * outcome.delay_s, rel=0.6)


def test_slowness_while_warming_up_is_forgiven():
    scenario = dataclasses.replace(SCENARIOS["warm_up"], service=CALM)
    assert simulate(scenario, 1_000, 2, QUICK).ending == "promoted"


def test_a_canary_that_has_lost_a_replica_is_never_promoted():
    scenario = dataclasses.replace(SCENARIOS["lost_replica"], service=CALM, onset_s=2.0)
    assert simulate(scenario, 100, 2, QUICK).ending in {"held", "unfinished"}


# ---- other systems ----------------------------------------------------------------------------------------------


def recording(stable_s, canary_s, seconds=120, failing=0):
    """Every second the same hundred requests of stable and twenty of the canary."""
    ones = np.ones(seconds, dtype=np.int64)
    stable, canary = (
        np.tile(histogram.count(np.full(number, each)), (seconds, 1))
        for number, each in ((100, stable_s), (20, canary_s))
    )
    before = histogram.count(np.full(1_000, stable_s))
    return Recording(SCENARIOS["x1.5"], before, stable, canary, 0 * ones, failing * ones, 20 * ones, 20 * ones)


def delays(found):
    return {method: outcome.delay_s for method, outcome in judge_all(found).items()}


def test_others_do_not_roll_back_what_is_alike():
    assert set(delays(recording(0.002, 0.002, 600)).values()) == {math.inf}


def test_others_find_what_is_plainly_slower_when_they_look():
    found = delays(recording(0.002, 0.004, 600))
    assert found["p99_ratio"] == found["mann_whitney_1s"] == found["mann_whitney_10s"] == 60
    assert found["static_p99"] == found["mann_whitney_60s"] == 300


def test_others_look_at_the_share_of_failures_too():
    assert delays(recording(0.002, 0.002, 600, failing=1))["p99_ratio"] == 60


def test_requests_until_the_decision_are_counted():
    outcome = judge_all(recording(0.002, 0.004, 600))["p99_ratio"]
    assert (outcome.canary_requests, outcome.harmed_requests) == (1_200, 1_200)


def test_mann_whitney_needs_a_shift_that_noise_does_not_explain():
    generator = np.random.default_rng(0)
    stable = generator.normal(10, 1, 60)
    assert is_high(generator.normal(12, 1, 60), stable)
    assert not is_high(generator.normal(10, 1, 60), stable)
    assert not is_high(np.full(4, 99.0), stable)  # too few points for an interval
    assert is_high(np.array([np.nan, *[99.0] * 5]), stable)


def test_nan_is_an_answer_to_others():
    found = record(SCENARIOS["nan"], 50, 0)
    assert found.canary_errors.sum() <= 0.01 * found.affected.sum()
    assert found.harmed.sum() > 0.9 * found.affected.sum()


# ---- rows -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 2_000, 0.0, 0.0018427),
        (3, 2_000, 0.0003094, 0.0043773),
        (10, 2_000, 0.0024002, 0.0091759),
        (5, 5, 0.478176, 1.0),
    ],
)
def test_the_interval_of_clopper_and_pearson(hits, trials, low, high):
    """Reference values: scipy.stats.beta.ppf."""
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-6)


def test_quantiles_count_what_was_never_found_as_infinite():
    assert quantile([1.0, 2.0, math.inf], 0.5) == 2.0
    assert quantile([1.0, math.inf, math.inf], 0.5) is None
    assert quantile([], 0.5) is None


def back(delay_s):
    return Outcome("rolled back", "latency", delay_s, 100, 10)


def test_what_is_rolled_back_before_it_went_bad_is_false():
    row = summarise(SCENARIOS["x1.5_late"], OURS, 1_000, [back(-3.0), back(7.0), back(9.0)])
    assert (row.rolled_back, row.false_rollback_rate, row.delay_s_p50) == (3, 0.33333, 7.0)


def test_every_rollback_of_a_good_canary_is_false():
    row = summarise(SCENARIOS["aa"], OURS, 1_000, [back(7.0), Outcome("promoted", "", 426.0, 900, 0)])
    assert (row.false_rollback_rate, row.delay_s_p50) == (0.5, None)


def row(scenario, method, false=0.0, delay_s=None, rps=1_000.0):
    return Row(scenario, method, rps, 100, 100, false, false, 1.0, delay_s, delay_s, 10.0, 5.0)


def test_a_method_that_rolls_back_everything_wins_nothing():
    rows = [row("aa", OURS), row("aa", "p99_ratio", false=0.9), row("aa", "mann_whitney_1s")]
    rows += [row("x1.5", OURS, delay_s=8.0), row("x1.5", "p99_ratio", delay_s=1.0)]
    assert winner(rows, "x1.5", 1_000.0) == OURS


def test_a_baseline_that_wins_is_said_to_win():
    rows = [row("aa", OURS, false=0.01), row("aa", "mann_whitney_1s")]
    rows += [row("x1.5", OURS, delay_s=80.0), row("x1.5", "mann_whitney_1s", delay_s=60.0)]
    assert winner(rows, "x1.5", 1_000.0) == "mann_whitney_1s"
    assert winner(rows, "aa", 1_000.0) == "mann_whitney_1s"
    page = render_page(Study(MACHINE, tuple(rows)))
    assert "| not in x1.5 | **no** |" in page
    assert "**60.0 (60.0)**" in page


def test_new_rows_take_the_place_of_old_ones():
    merged = merge([row("x1.5", OURS, delay_s=9.0), row("aa", OURS)], [row("x1.5", OURS, delay_s=8.0)])
    assert [(each.scenario, each.delay_s_p50) for each in merged] == [("aa", None), ("x1.5", 8.0)]


# ---- page and command ---------------------------------------------------------------------------------------------

MACHINE = Machine("cpu", 2, "Linux", "3.11", {"numpy": "2"}, 0.0)
STUDY = rollouts.ROOT / "docs" / "benchmarks" / "rollouts.json"


def test_the_page_is_what_its_rows_say():
    assert rollouts.PAGE.read_text(encoding="utf-8") == render_page(rollouts.read_study(STUDY))


def test_the_guides_promises_are_those_of_the_study():
    guide = rollouts.GUIDE.read_text(encoding="utf-8")
    assert put_promises(guide, rollouts.read_study(STUDY).rows) == guide


def test_the_study_covers_every_scenario_and_method():
    rows = rollouts.read_study(STUDY).rows
    assert {each.scenario for each in rows if each.rps == 1_000} == set(SCENARIOS)
    assert {each.method for each in rows} == {OURS, *METHODS}
    assert {each.rps for each in rows} == {50.0, 1_000.0, 20_000.0}


def test_rows_come_as_json(capsys):
    arguments = ["--rollouts", "2", "--seed", "7", "--rps", "200", "--scenario", "nan", "--output", "json"]
    assert rollouts.main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [each["method"] for each in rows] == [OURS, *METHODS]
    assert rows[0]["rolled_back"] == rows[0]["rollouts"] == 2
    assert rows[0]["seed"] == 7


def test_rows_are_shown_as_a_table():
    text = render_table([row("x1.5", OURS, delay_s=8.0)])
    assert "x1.5" in text
    assert "8.0" in text


def test_an_unknown_scenario_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"'x9'.*x1\.5"):
        choose_scenarios("aa,x9")


@pytest.mark.parametrize("arguments", [["--rollouts", "0"], ["--rps", "0"], ["--scenario", "nothing"]])
def test_wrong_use_ends_with_status_2(arguments, capsys):
    assert rollouts.main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
