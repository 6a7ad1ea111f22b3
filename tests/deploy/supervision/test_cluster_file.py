import os
import stat

import msgspec
import pytest

from deploy.supervision import cluster_file
from deploy.supervision.cluster_file import (
    Cluster,
    change_cluster,
    read_cluster,
    remove_cluster,
    require_down,
    write_cluster,
)
from deploy.supervision.processes import start_ticks
from divisions.errors import AlreadyRunningError, ClusterError

HERE = Cluster(
    pid=os.getpid(),
    start_ticks=start_ticks(os.getpid()),
    phase=cluster_file.UP,
    ray_address="127.0.0.1:6479",
    dashboard_url="http://127.0.0.1:8265",
    gateway_url="http://127.0.0.1:8000",
    gateways=1,
    runtime="/tmp/divisions-0-abc",
    started_at_s=1_736_812_800.0,
)
# Another process has the pid now, as after a reboot.
REUSED_PID = msgspec.structs.replace(HERE, start_ticks=HERE.start_ticks + 1)


def test_a_written_file_reads_back(tmp_path):
    write_cluster(tmp_path, HERE)
    assert read_cluster(tmp_path) == HERE
    assert {path.name for path in tmp_path.iterdir()} == {"cluster.json", "cluster.lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_changes_are_those_of_one_cluster_and_end_when_it_is_to_stop(tmp_path):
    assert change_cluster(tmp_path, HERE.pid, step="any") is None
    write_cluster(tmp_path, HERE)
    changed = change_cluster(tmp_path, HERE.pid, phase=cluster_file.RESTARTING, restarts=1)
    assert changed == read_cluster(tmp_path) == msgspec.structs.replace(HERE, phase="restarting", restarts=1)
    assert change_cluster(tmp_path, HERE.pid + 1, phase=cluster_file.UP) is None
    write_cluster(tmp_path, msgspec.structs.replace(HERE, phase=cluster_file.STOPPING))
    assert change_cluster(tmp_path, HERE.pid, phase=cluster_file.UP) is None
    assert read_cluster(tmp_path).phase == cluster_file.STOPPING


def test_without_a_file_no_cluster_is_up(tmp_path):
    assert read_cluster(tmp_path) is None
    remove_cluster(tmp_path)
    require_down(tmp_path)


def test_the_error_of_a_damaged_file_names_it(tmp_path):
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(ClusterError, match=r"cluster\.json cannot be read"):
        read_cluster(tmp_path)


def test_a_second_cluster_of_a_home_is_refused_with_pid_and_remedy(tmp_path):
    write_cluster(tmp_path, HERE)
    with pytest.raises(AlreadyRunningError, match=f"is up \\(pid {os.getpid()}.*divisions down"):
        require_down(tmp_path)


@pytest.mark.parametrize("phase", [cluster_file.STARTING, cluster_file.STOPPING])
def test_a_cluster_that_starts_or_stops_refuses_a_second_one(tmp_path, phase):
    write_cluster(tmp_path, msgspec.structs.replace(HERE, phase=phase))
    with pytest.raises(AlreadyRunningError, match=phase):
        require_down(tmp_path)


def test_the_file_of_a_dead_cluster_is_ignored(tmp_path):
    write_cluster(tmp_path, REUSED_PID)
    require_down(tmp_path)
