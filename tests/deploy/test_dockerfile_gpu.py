"""Checks of the image's Dockerfile without building it: these tests also run where Docker is absent."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile.gpu").read_text()
FINAL = LINES[LINES.rindex("FROM ") :]


def test_it_has_two_stages_on_one_pinned_base():
    assert re.findall(r"^FROM (\S+)", LINES, re.MULTILINE) == ["${CUDA_IMAGE}"] * 2
    (image,) = re.findall(r"^ARG CUDA_IMAGE=(\S+)", LINES, re.MULTILINE)
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-cudnn-runtime-ubuntu\d\d\.04", image)


def test_the_image_copies_every_package_of_the_wheel():
    wheel = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert wheel
    for package in re.findall(r'"(\w+)"', wheel[1]):
        assert f"COPY {package} {package}\n" in LINES


def test_versions_are_pinned_and_new_enough():
    pins = dict(re.findall(r"^ARG (TENSORRT|ONNXRUNTIME_GPU)=(\S+)", LINES, re.MULTILINE))
    assert tuple(map(int, pins["TENSORRT"].split(".")[:2])) >= (10, 13)
    assert tuple(map(int, pins["ONNXRUNTIME_GPU"].split(".")[:2])) >= (1, 31)


def test_it_runs_as_an_unprivileged_user_and_has_a_health_check():
    assert re.search(r"^USER 10001:10001$", FINAL, re.MULTILINE)
    assert FINAL.index("USER 10001") > FINAL.index("useradd")
    assert "/healthz" in re.search(r"HEALTHCHECK[\s\S]*?CMD (.*)", FINAL)[1]
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in FINAL


def test_only_settings_that_exist_are_set():
    from divisions.settings import load_settings

    given = dict(re.findall(r"(DIVISIONS_\w+)=(\S+)", FINAL))
    assert load_settings(given).host == "0.0.0.0"
