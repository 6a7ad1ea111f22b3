"""Secrets are planted in every place that may hold one, and looked for in all that commands print, log and write.

Whatever the secrets belong to is away, because an error is where a URL is most easily quoted. Commands run in this
process, so that their logs, down to the last level, are seen too.
"""

from __future__ import annotations

import logging
import warnings

import pytest

from divisions import cli
from divisions.settings import load_settings

AWAY = "127.0.0.1:1"
"""Nothing listens there."""
ENVIRONMENT = {
    "DIVISIONS_TOKEN": "planted-control-token",
    "DIVISIONS_DATABASE": f"postgresql+psycopg://divisions:planted-database-password@{AWAY}/divisions",
    "DIVISIONS_TRACKING_URI": f"postgresql+psycopg://divisions:planted-tracking-password@{AWAY}/mlflow",
    "DIVISIONS_ONLINE_STORE": f"redis://divisions:planted-store-password@{AWAY}/1",
    "DIVISIONS_ARTIFACTS": "s3://models/bundles",
    "DIVISIONS_GATEWAY": f"https://someone:planted-gateway-password@{AWAY}",
    "RAY_AUTH_TOKEN": "planted-ray-token",
    "AWS_ENDPOINT_URL_S3": f"http://someone:planted-endpoint-password@{AWAY}",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "AWS_SESSION_TOKEN": "planted-aws-session",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-password",
}
FILES = {
    "token": "planted-home-token",
    "channel_token": "planted-channel-token",
    "ray_token": "planted-ray-file-token",
    "signing_key.pem": "-----BEGIN PRIVATE KEY-----\nplanted-signing-key\n-----END PRIVATE KEY-----\n",
    "channel_ca.pem": "-----BEGIN PRIVATE KEY-----\nplanted-authority-key\n-----END PRIVATE KEY-----\n",
}
PIPELINE = """pipeline: churn-v3
stages:
  data_prep:
    input: s3://AKIA:planted-input-password@raw-events/partition=${today}
  deployment:
    endpoint: /api/v2/predict/churn
"""
TARGETS = """targets:
  away:
    kind: local
    gateway: http://someone:planted-target-password@127.0.0.1:1
"""
COMMANDS = (
    ("status",),
    ("status", "-o", "json"),
    ("rollout", "status", "churn"),
    ("predict", "churn", "--json", '{"customer_id": "c-1"}'),
    ("tokens", "list"),
    ("audit", "list"),
    ("audit", "verify"),
    ("models", "list"),
    ("journal", "verify"),
    ("features", "get", "churn", "c-1"),
    ("keys", "show"),
    ("schedule", "list"),
    ("prometheus", "config"),
    ("notify", "test"),
    ("deploy", "--pipeline", "{folder}/pipeline.yaml", "--target", "away", "--targets", "{folder}/targets.yaml"),
    ("run", "{folder}/pipeline.yaml", "--no-ray"),
    ("run", "{folder}/absent.yaml"),
    ("up", "--port", "0"),
    ("down",),
    ("status", "--target", "away", "--targets", "{folder}/targets.yaml"),
)


def planted() -> list[str]:
    """What must be nowhere."""
    texts = [*ENVIRONMENT.values(), *FILES.values(), PIPELINE, TARGETS, "planted-webhook-path"]
    return sorted({word for text in texts for word in _words(text)})


def _words(text: str) -> list[str]:
    return [word for word in text.replace("@", " ").replace(":", " ").split() if word.startswith("planted-")]


@pytest.fixture
def place(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    for name, text in FILES.items():
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    (tmp_path / "webhook").write_text(f"http://{AWAY}/services/planted-webhook-path\n")
    (tmp_path / "webhook").chmod(0o600)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "targets.yaml").write_text(TARGETS)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    monkeypatch.setenv("DIVISIONS_WEBHOOK_FILE", str(tmp_path / "webhook"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found_in(text: str) -> list[str]:
    return [word for word in planted() if word in text]


def test_enough_is_planted():
    assert len(planted()) >= 16


def test_the_settings_show_no_secret_when_they_are_printed(place):
    settings = load_settings()
    assert settings.s3.secret_key == "planted-aws-secret"
    assert found_in(f"{settings} {settings!r} {settings.s3!r}") == []


@pytest.mark.parametrize("command", COMMANDS[:5], ids=" ".join)
def test_no_command_shows_a_secret_of_a_gateway_that_is_away(place, command, capfd, caplog, monkeypatch):
    monkeypatch.setenv("DIVISIONS_GATEWAY", f"https://{AWAY}")
    caplog.set_level(logging.DEBUG)
    assert cli.execute(command) == 1
    told = capfd.readouterr()
    assert f"nothing answers at https://{AWAY}" in told.err
    assert found_in(told.out + told.err + caplog.text) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_logs_or_writes_a_secret(place, command, capfd, caplog, monkeypatch):
    if command[0] in {"models", "run"}:  # MLflow would ask a database that is away for a minute and a half
        monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    caplog.set_level(logging.DEBUG)
    before = {path for path in place.rglob("*") if path.is_file()}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        status = cli.execute([part.replace("{folder}", str(place)) for part in command])
    told = capfd.readouterr()
    texts = {
        "output": told.out,
        "errors": told.err,
        "log": caplog.text,
        "warnings": " ".join(str(each.message) for each in warned),
    }
    for path in set(place.rglob("*")) - before:
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")
    assert {name: found_in(text) for name, text in texts.items() if found_in(text)} == {}
    assert "Traceback" not in told.err
    assert status in {0, 1, 2}
