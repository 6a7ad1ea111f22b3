"""Compiling the gateway when a tool is missing, and when it was compiled already. ``make native`` really compiles."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

import pytest

from deploy import compile_gateway
from deploy.compile_gateway import copy_source
from divisions.errors import ClusterError
from router.gateway import native


@pytest.fixture
def package(tmp_path):
    return copy_source(native.PACKAGE, tmp_path)


def test_without_a_compiler_it_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="no C compiler") as caught:
        compile_gateway.compile_package(package)
    assert "apt-get install gcc" in caught.value.remedy
    assert not (package / "_native").exists()


def test_without_headers_it_says_what_to_install(package, tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "include"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(ClusterError, match="headers are not installed") as caught:
        compile_gateway.compile_package(package)
    assert "python3-dev" in caught.value.remedy


@pytest.mark.parametrize(
    "error",
    [
        ClusterError("the hot path could not be compiled:\nerror: no space left", remedy="see above"),
        OSError(28, "no space left"),
    ],
)
def test_a_failure_prints_a_note(monkeypatch, capsys, error):
    def fail() -> Path:
        raise error

    monkeypatch.setattr(compile_gateway, "compile_package", fail)
    assert compile_gateway.main() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("note: gateways run as Python")
    assert "no space left" in said.err


def test_an_existing_build_is_kept(package, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")  # so that compiling would fail
    there = native.folder(package)
    there.mkdir(parents=True)
    assert compile_gateway.compile_package(package) == there


def test_a_build_is_installed_whole_and_older_ones_are_removed(tmp_path):
    built, target = tmp_path / "out", tmp_path / "_native" / "new"
    older = tmp_path / "_native" / "old"
    older.mkdir(parents=True)
    built.mkdir()
    (built / "module.so").write_bytes(b"code")
    compile_gateway._install(built, target)
    assert (target / "module.so").read_bytes() == b"code"
    assert not older.exists()
    assert [path.name for path in target.parent.iterdir()] == ["new"]


def test_the_slower_of_two_compilers_keeps_the_build_of_the_faster(tmp_path):
    built, target = tmp_path / "out", tmp_path / "_native" / "new"
    stagings = tmp_path / "_native" / ".of-another-process"
    for folder in (built, target, stagings):
        folder.mkdir(parents=True)
    (built / "module.so").write_bytes(b"mine")
    (target / "module.so").write_bytes(b"theirs")
    compile_gateway._install(built, target)
    assert (target / "module.so").read_bytes() == b"theirs"
    assert sorted(path.name for path in target.parent.iterdir()) == [".of-another-process", "new"]
