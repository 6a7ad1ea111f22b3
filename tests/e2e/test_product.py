"""The product's main job on a real cluster: kills under load, S3, a model that is not good enough, Ray jobs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.harness.product_cluster import ProductCluster
from benchmarks.load.load_process import LoadProcess
from divisions.registry import Registry
from divisions.schedule.state import Ended, Outcome
from divisions.schedule.state_file import read_schedule
from divisions.status import ControllerStatus
from tests.builders import SHORT_ANALYSIS
from tests.e2e.controllers import controller_pid, wait
from trainers import demo_data

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PAGE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"
MODEL = "churn-predictor"
FIRST_DAY = demo_data.FIRST_DAY.isoformat()


@dataclass
class Product:
    cluster: ProductCluster
    home: Path
    holdout: Path
    raw: Path
    pipeline: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(command), env=self.cluster.environment | environment, cwd=ROOT, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip

    def divisions(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "divisions.cli", *arguments, **environment)

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=self.cluster.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def load(self, folder: Path) -> LoadProcess:
        url = f"{self.cluster.url}/api/v2/predict/churn"
        samples, log = folder / "samples.npz", folder / "load.log"
        return LoadProcess(url, self.holdout, 80.0, 900.0, samples, log, deadline_s=10.0)

    def status(self) -> ControllerStatus:
        with self.cluster.client() as client:
            return client.status()


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    data = demo_data.write_demo_data(folder / "data")
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(PAGE.read_text().rstrip() + SHORT_ANALYSIS)
    cluster = ProductCluster(folder / "home", print, folder / "commands.log", is_quiet=True)
    cluster.environment |= {"DIVISIONS_SCHEDULE": "1", "DIVISIONS_REQUEST_TIMEOUT_MS": "8000"}  # this machine may stall
    it = Product(cluster, folder / "home", data.holdout, folder / "data" / "raw", pipeline)
    cluster.divisions("schedule", "add", str(PAGE))
    cluster.divisions("schedule", "pause", "customer-churn-v3")  # the checkout's own would run at 02:00
    cluster.up()
    try:
        source = f"{it.raw}/partition=${{today}}"
        cluster.divisions("run", str(pipeline), "--input", source, "--today", FIRST_DAY)
        cluster.wait_for("churn", "3.1", {"PROMOTED"}, 240, print)
        yield it
    finally:
        cluster.down()


def test_a_rollout_survives_the_death_of_replicas_and_of_the_controller_without_a_failed_request(product, tmp_path):
    registered = product.divisions("models", "register", MODEL, "--from", "3.1", "--output", "json")
    assert registered.returncode == 0, registered.stderr
    version = json.loads(registered.stdout)["version"]
    load = product.load(tmp_path)
    try:
        load.wait_until_running()
        started = product.divisions(
            "rollout", "start", MODEL, "--version", version, "--pipeline", str(product.pipeline)
        )
        assert started.returncode == 0, started.stderr
        product.cluster.wait_for("churn", version, {"STEP"}, 240, print)
        with product.cluster.client() as client:
            client.rollout("churn").pause()  # however long another replica takes to start
            roles = {replica.role: replica.pid for replica in product.status().replicas}
            os.kill(roles["stable"], signal.SIGKILL)
            wait(
                lambda: (
                    len({replica.pid for replica in product.status().replicas if replica.ready} - {roles["stable"]})
                    == 4
                )
            )
            os.kill(roles["canary"], signal.SIGKILL)
            client.rollout("churn").resume()
        restarts = product.status().restarts
        os.kill(controller_pid(product.home), signal.SIGKILL)
        wait(lambda: _restarts(product) > restarts)
        status = product.cluster.wait_for("churn", version, {"PROMOTED"}, 240, print)
    finally:
        result = load.stop()
    assert result.requests > 1_000
    assert (result.failed, result.timed_out, result.refused) == (0, 0, 0), result.reasons
    weights = [entry.weight_bp for entry in status.history if entry.phase in {"STEP", "BAKE", "PROMOTED"}]
    assert weights == sorted(weights), "a step was repeated or went back"
    assert {2_000, 5_000, 10_000} <= set(weights)
    # The registry's alias follows the journal later: it is a projection, and MLflow is slow to import.
    wait(lambda: Registry(product.home).get_version(MODEL, "production").version == version)


def test_a_deployment_that_is_killed_goes_on_and_a_second_one_changes_nothing(product, tmp_path):
    registered = product.divisions("models", "register", MODEL, "--from", "3.1", "--output", "json")
    version = json.loads(registered.stdout)["version"]
    deploy = [
        sys.executable,
        "-m",
        "divisions.cli",
        "deploy",
        "--pipeline",
        str(product.pipeline),
        "--version",
        version,
    ]
    planned = product.run(*deploy, "--dry-run")
    assert f"Start the rollout of {MODEL} {version} (canary 20 % → 50 % → 100 %)" in planned.stdout, planned.stderr
    with product.start(*deploy) as first:
        told = next(line for line in first.stdout if "STEP" in line)
        assert f"20 % of churn to {version}" in told
        second = product.run(*deploy)
        assert second.returncode == 1
        assert f"another deployment to local is under way (process {first.pid})" in second.stderr
        first.kill()
    # Without requests the rollout stays at its first step. They begin when the third process watches it.
    with product.start(*deploy, "--output", "json") as third:
        lines = []
        any(json.loads(line).get("step") == "watch" for line in third.stdout if not lines.append(line))
        load = product.load(tmp_path)
        try:
            lines += third.stdout
        finally:
            result = load.stop()
    assert (result.failed, result.timed_out, result.refused) == (0, 0, 0), result.reasons
    assert third.returncode == 0, lines
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events][:2] == ["resumed", "began"]
    assert [event["step"] for event in events if event["event"] == "done"] == ["authenticate", "watch"]
    assert events[-1]["ending"] == "promoted"
    again = product.run(*deploy)
    assert (again.returncode, again.stdout.count("\n")) == (0, 3), again.stdout
    assert f"local serves {MODEL} {version} already: nothing was changed" in again.stdout
    shown = json.loads(product.divisions("deployments", "--output", "json").stdout)["deployments"]
    assert [(one["version"], one["ending"]) for one in shown][:2] == [(version, "unchanged"), (version, "promoted")]
    before = product.status().rollouts[0].previous_version
    back = product.run(*deploy[:-2], "--rollback")
    assert back.returncode == 0, back.stderr
    assert f"✓ Give all traffic of churn back to {before}, at once" in back.stdout
    assert back.stdout.endswith(f"✓ {MODEL} {before} serves all traffic of local\n")
    assert product.status().rollouts[0].stable_version == before


def _restarts(product: Product) -> int:
    from divisions.errors import DivisionsError

    try:
        return product.status().restarts
    except DivisionsError:
        return -1  # the controller is away for a moment, as expected


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_the_products_pipeline_file_runs_as_printed_against_an_s3_server(product, s3):
    client = boto3.client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    client.create_bucket(Bucket="raw-events")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    events = (product.raw / f"partition={FIRST_DAY}" / "events.parquet").read_bytes()
    client.put_object(Bucket="raw-events", Key=f"partition={today}/events.parquet", Body=events)
    done = product.divisions("run", str(PAGE), "--no-deploy", AWS_ENDPOINT_URL_S3=s3)
    assert done.returncode == 0, done.stderr
    assert f"s3://raw-events/partition={today}" in done.stdout
    assert "passed" in done.stdout


def test_a_model_that_is_not_good_enough_is_registered_as_failed_and_not_served(product, tmp_path):
    demo_data.write_demo_data(tmp_path, "wa_churn")
    before = product.status().epoch
    source = f"{tmp_path}/raw/partition=${{today}}"
    done = product.divisions("run", str(PAGE), "--input", source, "--today", FIRST_DAY)
    assert done.returncode == 1
    assert re.search(r"error: .*auc > 0\.85: auc is 0\.8", done.stderr), done.stderr
    failed = [
        version for version in Registry(product.home).list_versions(MODEL) if version.validation_status == "failed"
    ]
    assert failed
    assert product.status().epoch == before
    assert all(replica.version != failed[-1].version for replica in product.status().replicas)


def test_a_run_can_be_submitted_as_a_ray_job(product):
    cluster = json.loads((product.home / "cluster.json").read_text())
    ray = str(Path(sys.executable).with_name("ray"))
    done = product.run(
        ray, "job", "submit", "--address", cluster["dashboard_url"], "--working-dir", ".", "--",
        "python", "-m", "trainers", "--pipeline", str(product.pipeline), "--no-deploy",
        "--input", str(product.raw / f"partition={FIRST_DAY}"),
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(product.home / "ray_token"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    refused = product.run(
        ray, "job", "list", "--address", cluster["dashboard_url"], RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN_PATH=""
    )
    assert refused.returncode != 0


NIGHTLY = """
pipeline: nightly
trigger: "schedule: * * * * *"
stages:
  data_prep:
    input: FOLDER/events.csv
  training:
    hyperparams: {epochs: 2}
  validation:
    metric_threshold: "auc > 0.9999"
  deployment:
    endpoint: /api/v2/predict/nightly
"""


def test_a_pipeline_runs_by_its_trigger_within_the_minute(product, tmp_path):
    """Its gate refuses every model, so nothing is rolled out beside the other tests."""
    rows = [f"c-{i},2025-01-{1 + i % 28},{i % 17},{('yes', 'no')[i % 3 > 0]}" for i in range(600)]
    (tmp_path / "events.csv").write_text("\n".join(["customer_id,event_time,minutes,nightly", *rows]))
    (tmp_path / "nightly.yaml").write_text(NIGHTLY.replace("FOLDER", str(tmp_path)))
    added = subprocess.run(
        [sys.executable, "-m", "divisions.cli", "schedule", "add", "nightly.yaml"],
        env=product.cluster.environment | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path, check=True, timeout=240,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "nightly    * * * * *" in added.stdout

    def last_run() -> Ended | None:
        return read_schedule(product.home).find("nightly").last

    try:
        wait(lambda: last_run() is not None, 300)
        last = last_run()
        assert last.fire_s % 60 == 0
        assert re.fullmatch(r"nightly-\d{8}T\d{4}Z-1", last.job_id)
        assert last.outcome is Outcome.FAILED
        assert "auc > 0.9999: auc is" in last.message
        assert "nightly" in product.divisions("status").stdout
        assert Registry(product.home).list_versions("nightly-predictor")[0].validation_status == "failed"
    finally:
        product.divisions("schedule", "remove", "nightly")


def test_bad_input_ends_in_one_message_and_registers_nothing(product, tmp_path):
    count = len(Registry(product.home).list_versions(MODEL))
    (tmp_path / "partition=2025-01-13").mkdir()
    unlabelled = tmp_path / "unlabelled.csv"
    unlabelled.write_text("customer_id,event_time,minutes\nc-1,2025-01-13,3\n")
    misspelt = tmp_path / "misspelt.yaml"
    misspelt.write_text(PAGE.read_text().replace("data_prep:", "data_perp:"))
    cases = [
        (("run", str(misspelt)), r"misspelt\.yaml:6:3: .*data_perp.*did you mean .data_prep"),
        (("run", str(PAGE), "--input", f"{tmp_path}/partition=2025-01-13"), "holds no files"),
        (("run", str(PAGE), "--input", str(unlabelled)), "churn"),
        (("run", str(PAGE), "--input", "s3://raw-events/x"), "does not answer"),
        (("run", str(tmp_path / "absent.yaml")), "absent.yaml"),
    ]
    for arguments, text in cases:
        done = product.divisions(*arguments, AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
        assert done.returncode == 1, done.stdout + done.stderr
        assert re.search(text, done.stderr), done.stderr
        assert "Traceback" not in done.stderr + done.stdout
    assert product.divisions("up").returncode == 1
    assert product.divisions("no-such-command").returncode == 2
    assert len(Registry(product.home).list_versions(MODEL)) == count
