"""``divisions outcomes``: labels in, AUC out."""

import json

import numpy as np
import pytest

from divisions import cli
from divisions.prediction_log import LogPolicy, hash_key, pseudonym
from divisions.settings import S3Settings
from router.prediction_log import places
from router.prediction_log.batches import BatchMaker
from tests.router.prediction_log.logged import APP, entry, opened, rows_of

PIPELINE = """pipeline: p
stages:
  data_prep:
    input: d
  validation:
    metric_threshold: "auc > {gate}"
  deployment:
    endpoint: /api/v2/predict/churn
serving:
  log: {{sample: 100%, hash: [{hash}]}}
"""
ROWS = 400


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a log in which customer n has the score n/1000, and a file in which every other one has left."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "channel_token").write_text("token")
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    maker = BatchMaker(opened(LogPolicy(hash=("customer_id",))), hash_key(b"token"))
    batch = maker.batch([rows_of(1_767_225_600.0, *[entry(number, key=f"c-{number}") for number in range(ROWS)])])
    import pyarrow as pa

    places.put(
        pa.Table.from_batches([batch]), str(home / "predictions"), "churn/date=2026-01-01/1.parquet", S3Settings()
    )
    assert APP == "churn-predictor-v3.1"
    left = np.random.default_rng(5).random(ROWS) < np.arange(ROWS) / ROWS
    lines = [f"c-{number},{'yes' if left[number] else 'no'},2026-02-01" for number in range(ROWS)]
    (tmp_path / "left.csv").write_text("\n".join(["customer_id,churn,left_at", *lines, "stranger,yes,2026-02-01"]))
    return home


def run(tmp_path, *words: str, gate: float = 0.6) -> int:
    (tmp_path / "p.yaml").write_text(PIPELINE.format(gate=gate, hash="customer_id"))
    return cli.execute(["outcomes", *words, "--pipeline", str(tmp_path / "p.yaml")])


def test_labels_are_joined_and_the_report_tells_the_auc(home, tmp_path, capsys):
    assert run(tmp_path, "add", str(tmp_path / "left.csv"), "--time", "left_at") == 0
    out = capsys.readouterr().out
    assert "left.csv: 401 rows\nAdded 401 outcomes; 0 were known" in out
    assert "churn: 400 of 401 outcomes belong to a logged prediction" in out
    assert "1 belong to none" in out
    assert "ALERT" not in out
    (row,) = [line for line in out.splitlines() if " all " in line]
    assert row.split()[:3] == ["3.1", "all", "400"]
    assert run(tmp_path, "add", str(tmp_path / "left.csv"), "--time", "left_at") == 0
    assert "Added 0 outcomes; 401 were known" in capsys.readouterr().out
    token = pseudonym(hash_key(b"token"), "c-1").encode()
    stored = (home / "outcomes" / "churn.db").read_bytes()
    assert token in stored
    assert b"c-1" not in stored.replace(token, b""), "no id in clear where the log has none"


def test_a_file_of_which_no_row_can_be_used_is_an_error(home, tmp_path, capsys):
    (tmp_path / "soon.csv").write_text("customer_id,churn,left_at\nc-1,yes,soon\nc-2,no,later\n")
    assert run(tmp_path, "add", str(tmp_path / "soon.csv"), "--time", "left_at") == 1
    assert capsys.readouterr().err == (
        f"error: no row of {tmp_path / 'soon.csv'} can be used: 2 have no time that can be read. "
        "name its columns with --id, --label and --time; "
        "a time is ISO 8601, seconds since 1970, or as data_prep.format.event_time_format says\n"
    )


def test_a_gate_that_is_missed_is_an_alert(home, tmp_path, capsys):
    assert run(tmp_path, "add", str(tmp_path / "left.csv"), "--output", "json", gate=0.95) == 0
    added = json.loads(capsys.readouterr().out)
    assert added["added"] == {"new": 401, "known": 0, "refused": 0, "replaced": 0}
    assert (added["read"]["rows"], "outcomes" in added["read"]) == (401, False)
    (alert,) = added["report"]["alerts"]
    assert (alert["version"], alert["gate"]) == ("3.1", 0.95)
    assert run(tmp_path, "show", "--period", "day", gate=0.95) == 0
    out = capsys.readouterr().out
    assert "ALERT: the AUC of version 3.1 is below the gate of 0.95: at most 0." in out
    assert "2026-01-01" in out


def test_ids_that_the_log_leaves_out_cannot_be_joined(home, tmp_path, capsys):
    text = PIPELINE.format(gate=0.6, hash="plan").replace("hash:", "leave_out: [customer_id], hash:")
    (tmp_path / "p.yaml").write_text(text)
    words = ["outcomes", "add", str(tmp_path / "left.csv"), "--pipeline", str(tmp_path / "p.yaml")]
    assert cli.execute(words) != 0
    assert "serving.log leaves out 'customer_id'" in capsys.readouterr().err
