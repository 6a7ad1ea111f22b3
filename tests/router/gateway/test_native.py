"""The compiled hot path: what belongs to which source. That it does the same is what ``pytest --compiled`` holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.compile_gateway import copy_source
from router.gateway import native


@pytest.fixture
def package(tmp_path):
    return copy_source(native.PACKAGE, tmp_path)


def run(folder: Path, code: str) -> str:
    environment = {"PYTHONPATH": "."}
    return subprocess.check_output([sys.executable, "-P", "-c", code], cwd=folder, env=environment, text=True).strip()


@pytest.mark.parametrize("module", native.HOT_PATH)
def test_code_compiled_of_an_older_source_is_not_taken(package, module):
    before = native.folder(package)
    with (package / f"{module}.py").open("a") as source:
        source.write("\n")
    assert native.folder(package) != before


def test_other_modules_may_change(package):
    before = native.folder(package)
    with (package / "rollouts" / "canary.py").open("a") as source:
        source.write("\n")
    assert native.folder(package) == before


def test_without_a_build_the_python_runs(package):
    code = (
        "from router.gateway import native; from router.http import connection;"
        "print(native.activate(), native.is_active(), connection.__file__)"
    )
    active, is_active, file = run(package.parent, code).split()
    assert (active, is_active) == ("False", "False")
    assert file.endswith("router/http/connection.py")


def test_a_build_takes_the_place_of_the_python_it_was_made_from(package):
    built = native.folder(package) / "router" / "evidence"
    built.mkdir(parents=True)
    (built / "split.py").write_text("place = 'compiled'\n")
    code = (
        "from router.gateway import native; print(native.activate());"
        "from router.evidence import split; print(split.place)"
    )
    assert run(package.parent, code).split() == ["True", "compiled"]
