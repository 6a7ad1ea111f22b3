"""`divisions manifests`: a folder with a base and an overlay for each cluster."""

import json

import pytest
import yaml

from divisions.commands.manifests import manifests
from divisions.commands.output import Format
from divisions.errors import UsageError

PIPELINE = """
pipeline: churn-v3
trigger: {schedule: "30 2 * * *", zone: Europe/Berlin}
stages:
  data_prep: {input: d}
  deployment: {endpoint: /api/v2/predict/churn}
"""
TARGETS = f"""
targets:
  eu: {{kind: kubernetes, values: {{namespace: eu, image: "r.example/d@sha256:{"1" * 64}"}}}}
  us: {{kind: kubernetes, values: {{namespace: us, image: "r.example/d@sha256:{"2" * 64}", schedule: "0 5 * * *"}}}}
"""


@pytest.fixture
def write(tmp_path):
    def run(targets=TARGETS, output=Format.TEXT):
        (tmp_path / "p.yaml").write_text(PIPELINE)
        (tmp_path / "t.yaml").write_text(targets)
        manifests(tmp_path / "p.yaml", tmp_path / "t.yaml", tmp_path / "out", output)
        return tmp_path / "out"

    return run


def test_the_nightly_run_is_at_the_trigger_and_what_a_target_says_otherwise_is_told(write, capsys):
    out = write()
    spec = yaml.safe_load((out / "base" / "cronjob-divisions-nightly.yaml").read_text())["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("30 2 * * *", "Europe/Berlin")
    assert "schedule" not in "".join(path.read_text() for path in (out / "overlays" / "eu").glob("patch-cronjob*"))
    patch = (out / "overlays" / "us" / "patch-cronjob-divisions-nightly.yaml").read_text()
    assert "0 5 * * *" in patch
    assert "Etc/UTC" in patch
    told = capsys.readouterr().out
    assert "note: us: the nightly run is at 0 5 * * * Etc/UTC, as the target says" in told
    assert "note: eu" not in told
    assert f"-k {out}/overlays/eu" in told


def test_programs_get_it_as_json(write, capsys):
    out = write(output=Format.JSON)
    told = json.loads(capsys.readouterr().out)
    assert told["overlays"] == [f"{out}/overlays/eu", f"{out}/overlays/us"]
    assert told["files"] == len([path for path in out.rglob("*") if path.is_file()])
    assert len(told["notes"]) == 1


def test_without_a_cluster_there_is_nothing_to_write(write):
    with pytest.raises(UsageError, match="has no target of kind kubernetes"):
        write("targets: {here: {kind: local}}")
