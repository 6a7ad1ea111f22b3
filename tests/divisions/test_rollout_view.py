"""A rollout on a terminal: the layout of Argo Rollouts, with the reason of a rollback."""

import msgspec
import pytest

from divisions.commands.rollout_view import render_rollout
from divisions.status import Evidence, Explanation, HistoryEntry
from tests.builders import rollout_status

STATUS = rollout_status(
    generation=7,
    epoch=12,
    message="1,200 of 3,000 requests",
    evidence=Evidence(
        latency_log_e=2.3,
        error_log_e=0.0,
        threshold=4.6,
        error_threshold=5.3,
        ticks=40,
        stable_requests=40_000,
        canary_requests=10_000,
        min_detectable=1.15,
        split_log_e=-2.0,
        split_threshold=6.9,
        input_drift=0.02,
        input_drift_feature="age",
    ),
    canary_requests=1_200,
    phase_since_s=60.0,
    history=(HistoryEntry(0.0, "STEP", 2_000, "step 1/3: 20 % to 3.2"),),
    stable_replicas=2,
    canary_replicas=1,
    wanted_stable_replicas=2,
    wanted_canary_replicas=2,
)


def test_a_rollout_and_its_versions_are_a_tree_as_argo_rollouts_has_it():
    text = render_rollout(STATUS, 100.0)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:2] == ["Name: churn (churn-predictor)", "Status: ◐ STEP, for 40s"]
    assert "SetWeight: 20%" in lines
    at = lines.index("NAME KIND STATUS INFO")
    assert lines[at + 1 : at + 4] == [
        "⟳ churn Rollout ◐ STEP generation 7, epoch 12",
        "├──⧉ churn-predictor-v3.1 Version ✔ 2/2 ready stable, 80%",
        "└──⧉ churn-predictor-v3.2 Version ◌ 1/2 ready canary, 20%",
    ]


def test_a_held_rollout_says_that_it_waits_for_an_operator_and_how_it_goes_on():
    held = msgspec.structs.replace(STATUS, phase="HOLD", message="undecided after an hour")
    (waits,) = [line for line in render_rollout(held, 100.0).splitlines() if line.startswith("Waits for:")]
    assert "`divisions rollout resume churn` goes on" in waits
    assert "Waits for:" not in render_rollout(STATUS, 100.0)


def test_every_guard_shows_how_near_it_is():
    lines = [" ".join(line.split()) for line in render_rollout(STATUS, 100.0).splitlines()]
    (latency,) = [line for line in lines if line.startswith("Latency:")]
    assert latency.endswith("ln E 2.30 of 4.60")
    assert latency.count("█") == 12
    (split,) = [line for line in lines if line.startswith("Split:")]
    assert "█" not in split
    assert "Drift: inputs 0.02 (age)" in lines
    assert "Detects: a median slower by 15 % or more, at this traffic" in lines


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (
            Explanation("latency", "slow", 4.7, 4.6, 0.99, 2.5, 4.0, 4_000, 1_000, 40, 90, 3.9, 9.1, 30.0),
            [
                "Guard: latency, ln E 4.70 of 4.60, over 30 s",
                "Stable: 40 of 4,000 slower than 4.0 ms",
                "Canary: 90 of 1,000 slower than 4.0 ms",
                "p99: stable 3.9 ms, canary 9.1 ms",
            ],
        ),
        (
            Explanation("breaker", "broken", 15.0, 13.8, stable_requests=80, canary_requests=20, canary_exceeded=19),
            ["Guard: breaker, ln E 15.00 of 13.80", "Stable: 0 of 80 failed", "Canary: 19 of 20 failed"],
        ),
        (
            Explanation("split", "split", 8.0, 6.9, stable_requests=900, canary_requests=100),
            ["Guard: split, ln E 8.00 of 6.90", "Counts: 900 customers on stable, 100 on the canary"],
        ),
        (Explanation("predictions", "other", 0.3, 0.25), ["Guard: predictions, drift 0.30 of 0.25"]),
        (Explanation("deploy", "deploy: no"), ["Guard: deploy"]),
    ],
)
def test_the_reason_shows_the_counts_of_the_guard_that_fired(why, expected):
    status = msgspec.structs.replace(STATUS, phase="ROLLED_BACK", actual_weight_bp=0, explanation=why)
    lines = [" ".join(line.split()) for line in render_rollout(status, 100.0).splitlines()]
    at = lines.index(f"Why: {why.text}")
    assert lines[at + 1 : at + 1 + len(expected)] == expected
    assert not [line for line in lines if "canary, " in line and "Version" in line], "it gets no traffic"


def test_weaker_evidence_is_marked():
    frozen = msgspec.structs.replace(STATUS, evidence=msgspec.structs.replace(STATUS.evidence, is_frozen=True))
    assert "stable has no traffic left" in render_rollout(frozen, 0.0)
    assert "stable has no traffic left" not in render_rollout(STATUS, 0.0)


def test_a_state_that_is_not_on_disk_yet_is_told_with_its_reason():
    text = render_rollout(msgspec.structs.replace(STATUS, unwritten="the disk is full"), 100.0)
    assert "Not on disk:    the disk is full" in text
    assert "Not on disk" not in render_rollout(STATUS, 100.0)


def test_a_version_that_was_not_compared_has_no_steps():
    text = render_rollout(msgspec.structs.replace(STATUS, is_compared=False), 100.0)
    assert "Strategy:       All traffic at once, not compared" in text
    assert "Step:" not in text
    assert "Canary 20% → 50% → 100%" in render_rollout(STATUS, 100.0)
