"""Settings against docs/settings.md: the default of each, its range, and what a wrong value is answered with."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from divisions.errors import SettingsError
from divisions.settings import environment_of, load_settings, runtime_dir

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
ROWS = dict(re.findall(r"^\| `DIVISIONS_(\w+)` \| ([^|]+?) \|", DOCS.read_text(), re.MULTILINE))
PORTS = (1, 65_535)
RANGES = {
    "PORT": PORTS,
    "DASHBOARD_PORT": PORTS,
    "GCS_PORT": PORTS,
    "METRICS_PORT": (0, 65_000),
    "GATEWAYS": (0, 64),
    "MAX_BODY_BYTES": (1, 1_073_741_824),
    "REQUEST_TIMEOUT_MS": (1, 600_000),
    "IDLE_TIMEOUT_S": (1, 86_400),
}


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"HOME"}))
def test_a_default_is_that_of_the_documentation(name):
    documented = ROWS[name].strip("`")
    value = environment_of(load_settings({}))[f"DIVISIONS_{name}"]
    assert value == ("" if documented == "empty" else documented)


def test_every_setting_is_in_the_table_and_the_home_has_the_documented_default():
    assert {f"DIVISIONS_{name}" for name in ROWS} == set(environment_of(load_settings({})))
    assert load_settings({}).home == Path.cwd() / ROWS["HOME"].strip("`")


@pytest.mark.parametrize("name", sorted(RANGES))
def test_both_ends_of_a_range_are_taken_and_nothing_beyond(name):
    variable = f"DIVISIONS_{name}"
    for value in RANGES[name]:
        assert getattr(load_settings({variable: str(value)}), name.lower()) == value
    least, greatest = RANGES[name]
    for value in (least - 1, greatest + 1, "x" * 50):
        with pytest.raises(SettingsError) as caught:
            load_settings({variable: str(value)})
        assert f"{variable} must be a whole number from {least} to {greatest}, got {str(value)[:40]!r}" in str(
            caught.value
        )


def test_the_numbers_of_the_table_are_ends_of_ranges():
    for name, (least, greatest) in RANGES.items():
        (row,) = re.findall(rf"^\| `DIVISIONS_{name}` .*$", DOCS.read_text(), re.MULTILINE)
        for low, high in re.findall(r"(\d+) to (\d+)", row):
            assert (int(low), int(high)) == (least, greatest), name


def test_settings_survive_the_way_to_another_process():
    given = load_settings(
        {
            "DIVISIONS_HOME": "/srv/home",
            "DIVISIONS_ALLOW_FAULTS": "1",
            "DIVISIONS_COMPILED": "0",
            "DIVISIONS_ALLOWED_HOSTS": "a, b",
            "DIVISIONS_PORT": "9000",
        }
    )
    variables = environment_of(given)
    assert (variables["DIVISIONS_ALLOW_FAULTS"], variables["DIVISIONS_COMPILED"]) == ("1", "0")
    assert variables["DIVISIONS_ALLOWED_HOSTS"] == "a,b"
    assert load_settings(variables) == given


def test_sockets_are_below_the_folder_of_temporary_files_in_one_folder_for_each_user_and_home(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = runtime_dir(Path("/srv/home"))
    assert folder.parent == tmp_path
    assert re.fullmatch(rf"divisions-{os.getuid()}-[0-9a-f]{{10}}", folder.name)


@pytest.mark.parametrize("text", ["2", "yes", "on", "01"])
def test_a_switch_is_0_or_1(text):
    with pytest.raises(SettingsError, match="DIVISIONS_COMPILED must be 0 or 1"):
        load_settings({"DIVISIONS_COMPILED": text})
