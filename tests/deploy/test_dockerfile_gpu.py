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


def environment():
    (lines,) = re.findall(r"^ENV (PATH=/opt[\s\S]*?)\n(?=[A-Z])", FINAL, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in lines.replace("\\\n", " ").split())


def test_it_sets_what_a_container_needs_and_nothing_unknown():
    from divisions.settings import load_settings

    settings = load_settings(environment())
    assert settings.host == "0.0.0.0"
    assert settings.allowed_hosts == ("*",), "a pod is called by its IP, by the name of its service, by an ingress"
    assert str(settings.home).startswith("/var/lib/divisions/")
    assert "VOLUME /var/lib/divisions\n" in FINAL
    assert not settings.allow_faults


def test_gateways_of_the_image_answer_whatever_the_host():
    from divisions.settings import load_settings
    from router.gateway.gateway import allowed_hosts

    assert allowed_hosts(load_settings(environment())) == frozenset()
    assert allowed_hosts(load_settings({})) != frozenset()


def test_the_state_is_writable_for_an_unknown_user_of_group_0():
    assert "chown 10001:0 /var/lib/divisions && chmod 0770 /var/lib/divisions" in FINAL


def test_the_health_check_asks_the_port_that_was_set(monkeypatch):
    import json
    import urllib.request

    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url))
    code = json.loads(re.search(r"HEALTHCHECK[\s\S]*?CMD (.*)", FINAL)[1])[-1]
    for port, variables in (("8000", {}), ("9001", {"DIVISIONS_PORT": "9001"})):
        monkeypatch.delenv("DIVISIONS_PORT", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        exec(code, {})
        assert asked.pop() == f"http://127.0.0.1:{port}/healthz"
