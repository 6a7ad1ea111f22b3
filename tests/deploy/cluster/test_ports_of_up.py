"""The ports that `divisions up` needs are free, and differ, before it starts anything."""

import dataclasses
import socket

import pytest

from deploy.cluster.ray_cluster import _require_free_ports
from deploy.supervision.ports import choose_free
from divisions.errors import PortInUseError, SettingsError
from divisions.settings import Settings


@pytest.fixture
def settings(tmp_path):
    gateway, dashboard, head = choose_free(3)
    return Settings(tmp_path, port=gateway, dashboard_port=dashboard, gcs_port=head)


def test_a_port_of_metrics_that_is_taken_is_named(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _require_free_ports(settings)
        with pytest.raises(PortInUseError, match=f":{port} for the metrics of gateway 0.*DIVISIONS_METRICS_PORT"):
            _require_free_ports(dataclasses.replace(settings, metrics_port=port))


def test_no_gateway_has_its_metrics_on_the_port_of_all(settings):
    two = dataclasses.replace(settings, gateways=2, metrics_port=settings.port - 1)
    with pytest.raises(SettingsError, match="the gateway and the metrics of gateway 1 cannot both have port"):
        _require_free_ports(two)
