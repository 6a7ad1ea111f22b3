"""Prometheus beside a cluster: its files, and that it runs with them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.prometheus import server
from deploy.supervision.launch import ray_launch
from divisions.errors import ClusterError
from divisions.settings import Settings
from tests.port_certificates import write_pair

ROOT = Path(__file__).parents[3]
PIPELINE = """pipeline: {name}
stages:
  data_prep: {{input: events}}
  deployment: {{endpoint: /api/v2/predict/{name}}}
{slo}
"""


@pytest.fixture
def installed(monkeypatch):
    """A machine that has it, whether this one does or not."""
    monkeypatch.setattr(server.shutil, "which", lambda name: f"/usr/bin/{name}")


def test_its_files_are_in_the_home_with_the_promises_of_the_folder(tmp_path, installed):
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / "a.yaml").write_text(PIPELINE.format(name="a", slo="slo: {availability: 99%}"))
    (pipelines / "b.yaml").write_text(PIPELINE.format(name="b", slo=""))
    (pipelines / "c.yaml").write_text("broken: [")
    server.prepare(Settings(tmp_path), pipelines)
    folder = tmp_path / "prometheus"
    groups = yaml.safe_load((folder / "rules.yml").read_text())["groups"]
    assert [group["name"] for group in groups] == ["divisions-records", "divisions", "divisions-slo-a"]
    (job,) = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    assert job["file_sd_configs"] == [{"files": [f"{tmp_path}/metrics/*.json"]}]
    assert folder.stat().st_mode & 0o077 == 0
    server.prepare(Settings(tmp_path), tmp_path / "absent")  # the next `up`, elsewhere
    assert "slo-a" not in (folder / "rules.yml").read_text()


def test_gateways_with_tls_are_known_by_the_certificate_that_they_note(tmp_path, installed):
    certificate, key = write_pair(tmp_path, host="*.example")
    settings = Settings(tmp_path, tls_cert=certificate, tls_key=key)
    server.prepare(settings, tmp_path / "absent")
    (job,) = yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["scheme"] == "https"
    assert job["tls_config"] == {"ca_file": str(tmp_path / "gateway.pem"), "server_name": "gateway.example"}
    assert (tmp_path / "gateway.pem").read_bytes() == Path(certificate).read_bytes()
    if shutil.which("promtool"):
        found = subprocess.run(
            ["promtool", "check", "config", str(tmp_path / "prometheus" / "prometheus.yml")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert found.returncode == 0, found.stdout


def test_a_machine_without_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(server.shutil, "which", lambda name: None)
    with pytest.raises(ClusterError, match=r"Prometheus is not installed.*apt-get install prometheus"):
        server.prepare(Settings(tmp_path), Path("absent"))
    assert not (tmp_path / "prometheus").exists()


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed; see `make servers`")
def test_a_real_one_runs_with_them_and_loads_the_rules(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(tmp_path, prometheus_port=port)
    server.prepare(settings, Path("absent"))
    launch = ray_launch(settings)
    assert launch.prometheus is not None
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(launch.prometheus.arguments, stdout=log, stderr=log)
    try:
        end_s = time.monotonic() + 60
        groups: list = []
        while not groups:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end_s, (tmp_path / "log").read_text()
            with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
                groups = httpx.get(f"http://127.0.0.1:{port}/api/v1/rules", timeout=30).json()["data"]["groups"]
            time.sleep(0.1)
        assert {group["name"] for group in groups} == {"divisions-records", "divisions"}
        assert (tmp_path / "prometheus" / "data").is_dir()
    finally:
        process.terminate()
        process.wait(60)


def test_none_runs_unless_it_was_asked_for(tmp_path):
    assert ray_launch(Settings(tmp_path)).prometheus is None


def test_a_supervisor_loads_no_numpy_for_it():
    code = (
        "import sys, deploy.supervision.supervisor; print('numpy' in sys.modules, 'prometheus_client' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout.split() == ["False", "False"]
