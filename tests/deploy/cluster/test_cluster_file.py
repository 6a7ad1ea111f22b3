import os

import msgspec
import pytest

from deploy.cluster import cluster_file
from deploy.cluster.cluster_file import Cluster, read_cluster, remove_cluster, require_down, require_up, write_cluster
from deploy.cluster.processes import read_stat
from divisions.errors import AlreadyRunningError, ClusterError, NotRunningError

HERE = Cluster(
    pid=os.getpid(),
    start_ticks=read_stat(os.getpid()).start_ticks,
    phase=cluster_file.UP,
    ray_address="127.0.0.1:6479",
    dashboard_url="http://127.0.0.1:8265",
    gateway_url="http://127.0.0.1:8000",
    gateways=1,
    runtime="/tmp/divisions-0-abc",
    started_at_s=1_736_812_800.0,
)
# The pid is taken, but by a process that started at another time: what a reboot leaves behind.
REUSED_PID = msgspec.structs.replace(HERE, start_ticks=HERE.start_ticks + 1)


def test_what_is_written_is_read(tmp_path):
    write_cluster(tmp_path, HERE)
    assert read_cluster(tmp_path) == HERE
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_no_file_is_no_cluster(tmp_path):
    assert read_cluster(tmp_path) is None
    remove_cluster(tmp_path)
    require_down(tmp_path)
    with pytest.raises(NotRunningError, match="divisions up"):
        require_up(tmp_path)


def test_a_damaged_file_is_told_with_its_place(tmp_path):
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(ClusterError, match=r"cluster\.json cannot be read"):
        read_cluster(tmp_path)


def test_a_second_cluster_of_a_home_is_refused_with_pid_and_remedy(tmp_path):
    write_cluster(tmp_path, HERE)
    with pytest.raises(AlreadyRunningError, match=f"is up \\(pid {os.getpid()}.*divisions down"):
        require_down(tmp_path)
    assert require_up(tmp_path) == HERE


@pytest.mark.parametrize("phase", [cluster_file.STARTING, cluster_file.STOPPING])
def test_a_cluster_between_up_and_down_is_neither(tmp_path, phase):
    write_cluster(tmp_path, msgspec.structs.replace(HERE, phase=phase))
    with pytest.raises(AlreadyRunningError, match=phase):
        require_down(tmp_path)
    with pytest.raises(NotRunningError, match=phase):
        require_up(tmp_path)


def test_a_file_left_by_a_cluster_that_died_counts_for_nothing(tmp_path):
    write_cluster(tmp_path, REUSED_PID)
    require_down(tmp_path)
    with pytest.raises(NotRunningError):
        require_up(tmp_path)
