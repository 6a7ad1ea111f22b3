import re
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.supervision.ray_head import NODE_LOSS, NUM_FREE_PORTS, head_command, head_environment, require_short
from divisions.errors import ClusterError
from divisions.settings import Settings, load_settings

SETTINGS = Settings(
    home=Path("/srv/home"), port=8123, gcs_port=7001, dashboard_port=7002, allow_faults=True, allow_buckets=("a", "b")
)
FREE = list(range(9000, 9000 + NUM_FREE_PORTS))


def options():
    return dict(
        part.removeprefix("--").split("=")
        for part in head_command(SETTINGS, Path("/tmp/divisions-0-abc"), FREE, num_cores=2)
        if "=" in part
    )


def test_the_head_listens_on_the_loopback_interface_only():
    assert options()["node-ip-address"] == "127.0.0.1"
    assert options()["dashboard-host"] == "127.0.0.1"


def test_every_port_is_set_and_no_two_are_the_same():
    environment = head_environment(SETTINGS, {}, FREE)
    chosen = [int(value) for name, value in options().items() if name.endswith("port") and "worker" not in name]
    chosen += [int(environment["AUTOSCALER_METRIC_PORT"]), int(environment["DASHBOARD_METRIC_PORT"])]
    assert len(set(chosen)) == len(chosen) == NUM_FREE_PORTS + 2
    assert {7001, 7002} <= set(chosen)


def test_a_small_machine_declares_enough_cpus_for_two_versions_and_a_training_run():
    assert options()["num-cpus"] == "8"
    assert "--num-cpus=64" in head_command(SETTINGS, Path("/tmp/x"), FREE, num_cores=32)


def test_processes_of_the_cluster_read_the_settings_of_the_command_line():
    environment = head_environment(SETTINGS, {"DIVISIONS_PORT": "1", "PATH": "/bin"}, FREE)
    assert load_settings(environment) == SETTINGS


def test_variables_of_another_cluster_are_not_inherited():
    environment = head_environment(
        SETTINGS,
        {"RAY_ADDRESS": "other:6379", "RAY_AUTH_TOKEN": "secret", "RAY_AUTH_MODE": "disabled", "LANG": "C"},
        FREE,
    )
    assert "RAY_ADDRESS" not in environment
    assert "RAY_AUTH_TOKEN" not in environment
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/srv/home/ray_token"
    assert environment["LANG"] == "C"


def test_a_cluster_of_several_machines_notices_losses_as_its_settings_or_its_user_say():
    routable = replace(SETTINGS, node_host="10.0.0.1")
    environment = head_environment(routable, {"RAY_health_check_period_ms": "500"}, FREE)
    assert environment["RAY_health_check_period_ms"] == "500"
    assert environment["RAY_health_check_timeout_ms"] == "6000"
    assert not set(NODE_LOSS) & set(head_environment(SETTINGS, {}, FREE))


def test_a_cable_that_is_out_for_20_s_costs_no_node():
    """TCP repeats what was lost after 0.2 s, 0.4 s, 0.8 s …: at the latest when the cable was out once more as long."""
    period, timeout, threshold = (
        int(NODE_LOSS[f"RAY_health_check_{name}"]) for name in ("period_ms", "timeout_ms", "failure_threshold")
    )
    assert (period + timeout) * threshold >= 2 * 20_000 + period + timeout


def test_the_page_about_clusters_says_the_same_for_clusters_that_others_start():
    page = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    assert dict(re.findall(r"(RAY_[a-z]\w+)=(\d+)", page)) == NODE_LOSS


def test_a_runtime_folder_must_leave_room_for_rays_sockets():
    longest = "/" + "x" * 38  # with "/ray", the session's name and the socket's: 107 bytes
    require_short(Path(longest))
    with pytest.raises(ClusterError, match=r"1 bytes too long.*TMPDIR"):
        require_short(Path(longest + "x"))
    with pytest.raises(ClusterError, match="1 bytes too long"):
        require_short(Path(longest[:-1] + "é"))
