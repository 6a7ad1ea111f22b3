"""The layout that CONTRIBUTING.md describes: few files beside the wings, small files, types for callers."""

import statistics
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
MAX_LINES = 400
MAX_MEDIAN_LINES = 150
MAX_FILES_BESIDE_WINGS = 6


def lines_by_file() -> dict[str, int]:
    return {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "_native" not in path.parts
    }


def test_no_file_is_too_long_to_hold_in_the_head():
    too_long = {name: count for name, count in lines_by_file().items() if count > MAX_LINES}
    assert not too_long, f"split them: {too_long}"


def test_half_of_the_files_are_short():
    assert statistics.median(lines_by_file().values()) <= MAX_MEDIAN_LINES


@pytest.mark.parametrize("package", ["router", "benchmarks", "trainers"])
def test_files_live_in_wings(package):
    beside = sorted(path.name for path in (ROOT / package).glob("*.py"))
    assert len(beside) <= MAX_FILES_BESIDE_WINGS, f"move some of {beside} into a wing"


def test_every_package_and_wing_says_what_it_is():
    for package in PACKAGES:
        for init in [ROOT / package / "__init__.py", *(ROOT / package).glob("*/__init__.py")]:
            assert init.read_text().startswith('"""'), f"{init.relative_to(ROOT)} needs a docstring"


def test_the_wheel_carries_types_and_the_page(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "router/page/index.html" in names
