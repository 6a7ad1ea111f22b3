"""The table of replicas and rollouts on a terminal."""

import pytest

from divisions.commands.status import render_status
from divisions.sdk.client import ServiceStatus
from tests.builders import rollout_status


def line_of(stable: str | None, canary: str | None, weight_bp: int) -> list[str]:
    rollout = rollout_status(
        steps_bp=(10_000,),
        set_weight_bp=weight_bp,
        actual_weight_bp=weight_bp,
        stable_version=stable,
        canary_version=canary,
    )
    status = ServiceStatus(epoch=1, replicas=(), rollouts=(rollout,))
    return render_status(status).splitlines()[-1].split()[3:]


def test_a_journal_that_cannot_be_written_is_told():
    fault = "the journal cannot be written: database or disk is full (since 2026-01-01 00:00:00 UTC)"
    lines = render_status(ServiceStatus(epoch=1, journal_fault=fault)).splitlines()
    assert lines[-2:] == [f"Journal: {fault}", "No weight can rise until it can be written again."]
    assert "Journal" not in render_status(ServiceStatus(epoch=1))


@pytest.mark.parametrize(
    ("stable", "canary", "weight_bp", "shown"),
    [
        ("3.1", "3.2", 2_000, ["3.1", "3.2", "20%"]),
        (None, "3.1", 0, ["<none>", "3.1", "0%"]),
        ("3.2", "3.2", 10_000, ["3.2", "<none>", "-"]),
        ("3.2", None, 0, ["3.2", "<none>", "-"]),
    ],
)
def test_a_promoted_version_is_no_longer_a_canary(stable, canary, weight_bp, shown):
    assert line_of(stable, canary, weight_bp) == shown
