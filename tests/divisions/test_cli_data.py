"""``divisions data describe``: the table, the JSON, and names that would drive a terminal."""

import json

import pytest

from divisions import cli
from divisions.pipeline.file import parse_pipeline

HEAD = "pipeline: p\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "day=1"
    folder.mkdir()
    lines = ["customer_id;event_time;plan;min\x1b[2Jutes;churn"]
    lines += [f"c-{i};2025-01-14;{('gold', 'pro')[i % 2]};{i % 9}.5;{('yes', 'no')[i % 4 > 0]}" for i in range(99)]
    (folder / "events.csv").write_text("\n".join([*lines, "broken"]))
    return folder


def test_the_table_shows_each_column_and_ends_with_the_yaml(data, home, capsys):
    assert cli.execute(["data", "describe", str(data)]) == 0
    out = capsys.readouterr().out
    assert f"{data}: 100 rows, 1 of them unreadable" in out
    assert "Entity: customer_id, about " in out
    assert "Event time: event_time, from 2025-01-14T00:00:00Z to 2025-01-14T00:00:00Z" in out
    assert "Label: churn, 25.3 % positive" in out
    assert "note: " in out
    (row,) = [line for line in out.splitlines() if line.startswith("plan ")]
    assert row.split()[:4] == ["plan", "categorical", "0", "2"]
    assert "\x1b" not in out
    assert "min\\x1b[2Jutes" in out
    features = parse_pipeline(HEAD + out[out.index("features:") :]).features
    assert (features.entity, features.categorical) == ("customer_id", ("plan",))
    assert not home.exists()


def test_json_holds_the_same_and_a_pipeline_file_names_input_and_roles(data, tmp_path, capsys):
    file = tmp_path / "churn.yaml"
    file.write_text(
        HEAD.replace("input: d", f"input: {tmp_path}/day=${{today}}") + "features:\n  categorical: [plan]\n"
    )
    data.rename(tmp_path / "day=2025-01-14")
    assert cli.execute(["data", "describe", "--pipeline", str(file), "--today", "2025-01-14", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["bad_rows"], found["positive_rate"]) == (100, 1, 25 / 99)
    plan = next(column for column in found["columns"] if column["name"] == "plan")
    assert (plan["kind"], plan["why"]) == ("categorical", "declared in features.categorical")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [([], 2, "nothing to describe"), (["/nowhere/at/all"], 1, "does not exist"), (["gs://b"], 1, "not allowed")],
)
def test_what_cannot_be_described_is_one_line(arguments, status, message, capsys):
    assert cli.execute(["data", "describe", *arguments]) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert message in line
