"""What `divisions up --foreground` tells of restarts, however rarely it looks."""

from __future__ import annotations

import msgspec
import pytest

from deploy.cluster.embedded import _report_restart
from deploy.supervision.cluster_file import RESTARTING, UP, Cluster, write_cluster

CRASHED = "the cluster crashed: raylet ended; restart 1"
SERVES = "the cluster serves again"
BEFORE = Cluster(7, 1, UP, "", "", "http://127.0.0.1:1", 1, "", 0.0)


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ([], []),
        ([RESTARTING], [CRASHED]),
        ([RESTARTING, RESTARTING, UP, UP], [CRASHED, SERVES]),
        ([UP, UP], [CRASHED, SERVES]),
    ],
    ids=["none", "under way", "seen", "between two looks"],
)
def test_a_restart_and_its_end_are_told_once(tmp_path, phases, told):
    progress, last = Told(), BEFORE
    for phase in phases:
        now = msgspec.structs.replace(BEFORE, phase=phase, restarts=1, message="raylet ended")
        write_cluster(tmp_path, now)
        last = _report_restart(tmp_path, last, progress)
    assert progress.lines == told


def test_another_cluster_of_the_home_is_not_ours(tmp_path):
    progress = Told()
    write_cluster(tmp_path, msgspec.structs.replace(BEFORE, pid=8, restarts=1))
    assert _report_restart(tmp_path, BEFORE, progress) == BEFORE
    assert progress.lines == []
