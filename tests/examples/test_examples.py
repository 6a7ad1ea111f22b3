"""Every file of examples/ does what it says, against a gateway with real sockets and without Ray."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import uvloop
import yaml

from divisions.control import FULL_BP
from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from divisions.pipeline.file import load_pipeline
from router.gateway.slot import FOLDER
from tests.router.gateway_world import World, minutes_score, world
from tests.trainers.churn import raw_frame
from trainers.demo_data import FIRST_DAY, write_demo_data

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MINUTES = {"c-1": 100, "c-3": 200}


def by_minutes(rows_NF: np.ndarray) -> np.ndarray:
    return minutes_score(np.nan_to_num(rows_NF, nan=750.0))


@pytest.fixture(scope="module")
def url():
    """A gateway in a thread, with one version and two customers in the online store."""
    started: Future[World] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with world() as it:
            await it.route([await it.replica("3.1", by_minutes)])
            rows = [OnlineRow(name, 1.0, {"minutes": minutes, "plan": "gold"}) for name, minutes in MINUTES.items()]
            OnlineStoreWriter(it.folder / "online.db", "churn").upsert(rows)
            await it.know_training_data()
            started.set_result(it)
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=runner.run, args=[serve()], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{started.result(20).port}"
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)


def output(name: str, url: str) -> str:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / name), url], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_its_customers_are_of_the_demo_that_make_run_trains_on(tmp_path):
    demo = write_demo_data(tmp_path)
    known = set(pd.read_parquet(demo.partitions[FIRST_DAY])["customer_id"])
    assert set(MINUTES) <= known


def test_predict(url):
    told = output("predict.py", url)
    assert "c-1: 0.100 by version 3.1" in told
    assert "c-3: 0.200" in told
    assert "error: " in told


def test_predict_async(url):
    assert output("predict_async.py", url) == "20 answers; versions by customer: {'c-1': '3.1', 'c-3': '3.1'}\n"


def test_explain(url):
    assert output("explain.py", url).splitlines() == [
        "c-1: 0.100 by version 3.1",
        "in log-odds -2.20, of a typical customer -6.21",
        "  minutes = 100.0 (typically 2.0): +4.02",
        "  plan = gold (typically basic): +0.00",
        "  abroad = None (typically False): +0.00",
        "  all others: +0.00",
        "c-1: most by minutes",
        "c-3: most by minutes",
    ]


PIPELINE = """\
pipeline: churn
stages:
  data_prep:
    input: {folder}/raw
  training:
    hyperparams:
      epochs: 2
  validation:
    metric_threshold: "auc > 0.5"
  deployment:
    endpoint: /api/v2/predict/churn
"""


def test_train(tmp_path):
    (tmp_path / "raw").mkdir()
    raw_frame(600).to_parquet(tmp_path / "raw" / "events.parquet")
    file = tmp_path / "churn.yaml"
    file.write_text(PIPELINE.format(folder=tmp_path))
    environment = {**os.environ, "DIVISIONS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-P", str(EXAMPLES / "train.py"), str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, second, third = ran.stdout.splitlines()
    assert re.fullmatch(r"run [0-9a-f]{32}: AUC 0\.[0-9]{3}", first)
    assert second == "churn-predictor 1.1: passed"
    assert third.endswith(": FINISHED with 2 epochs")
    assert "Register" in ran.stderr  # the progress


def test_infer_tritonclient(url):
    told = output("infer_tritonclient.py", url)
    assert "ready: True" in told
    assert "version 3.1: [0.75 0.75 0.75 0.75]" in told


def test_infer_json(url):
    told = output("infer_json.py", url)
    assert "churn_probability of version 3.1: [0.75]" in told
    assert re.search(r"^400: \S", told, re.MULTILINE)


def test_pipeline():
    pipeline = load_pipeline(EXAMPLES / "pipeline.yaml")
    assert pipeline.deployment.endpoint == "churn"
    assert pipeline.deployment.steps_bp == (500, 2_000, 5_000, FULL_BP)
    assert pipeline.deployment.analysis.holdback_bp == 300
    assert pipeline.deployment.analysis.guards == ("latency", "errors", "predictions")
    assert [gate.metric for gate in pipeline.validation.gates] == [
        "auc_lower_bound",
        "auc",
        "calibration_error",
        "drift_score",
    ]


def test_the_scrape_configuration_reaches_metrics(url):
    (job,) = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())["scrape_configs"]
    (discovery,) = job["file_sd_configs"]
    assert discovery["files"] == [f"../.divisions/state/{FOLDER}/*.json"]  # the default of the settings
    scraped = httpx.get(url + job["metrics_path"], timeout=60)
    assert scraped.status_code == 200
    assert "divisions_ready_replicas" in scraped.text


def test_every_example_is_in_the_list():
    listed = set(re.findall(r"`([\w.]+\.(?:py|ya?ml))`", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".yaml", ".yml"}}
