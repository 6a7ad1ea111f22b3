"""Checks of the image's Dockerfile without building it; `tests/image` builds it, which takes minutes."""

import re
import subprocess
import sys
from pathlib import Path

from divisions.oci.image import FORMAT, SERVES

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile.gpu").read_text()
FINAL = LINES[LINES.rindex("FROM ") :]


def test_all_stages_have_one_pinned_base():
    """Python in the virtual environment is a link to that of the base."""
    assert re.findall(r"^FROM (\S+)", LINES, re.MULTILINE) == ["${BASE_IMAGE}", "dependencies", "${BASE_IMAGE}"]
    (image,) = re.findall(r"^ARG BASE_IMAGE=(\S+)", LINES, re.MULTILINE)
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-cudnn-runtime-ubuntu\d\d\.04", image)


def test_the_image_copies_every_package_of_the_wheel():
    wheel = re.search(r"packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert wheel
    for package in re.findall(r'"(\w+)"', wheel[1]):
        assert f"COPY {package} {package}\n" in LINES


def test_gigabytes_of_dependencies_are_a_layer_that_our_code_does_not_change():
    before_code = LINES[: LINES.index(" AS code")]
    assert re.findall(r"^COPY (.*) \./$", before_code, re.MULTILINE) == ["constraints.txt", "pyproject.toml"]
    assert re.findall(r"^COPY --from=(\w+) (\S+) \2$", FINAL, re.MULTILINE) == [
        ("dependencies", "/opt/divisions"),
        ("code", "/opt/divisions/code"),
    ]
    assert "--target /opt/divisions/code" in LINES
    assert "echo /opt/divisions/code > python/site-packages/divisions.pth" in before_code


def test_no_layer_keeps_what_only_the_build_needs():
    """A cache of pip is mounted, not a part of a layer; lists of packages go in the step that fetched them."""
    for step in re.findall(r"^RUN ((?:.*\\\n)*.*)", LINES, re.MULTILINE):
        assert "pip install" not in step or step.startswith("--mount=type=cache,target=/root/.cache/pip"), step
        assert "apt-get update" not in step or "rm -rf /var/lib/apt/lists/*" in step, step
    for tool in ("gcc", "mypy", "python3-dev"):
        assert tool not in FINAL


def test_without_a_gpu_nothing_of_nvidia_is_installed():
    for step in re.findall(r"^RUN ((?:.*\\\n)*.*)", LINES, re.MULTILINE):
        for package in ("tensorrt-cu13", "cuda-bindings", "onnxruntime-gpu"):
            if package in step:
                assert re.search(rf'if \[ "\$GPU" = 1 \]; then[^;]*{package}', step.replace("\\\n", " ")), step


def test_no_path_names_a_version_of_python():
    assert not re.search(r"python3\.\d", LINES)


def test_a_version_can_be_put_onto_it():
    assert f'{SERVES}="{FORMAT}"' in FINAL


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
    from router.gateway.ports import allowed_hosts

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


def test_what_pods_of_a_cluster_import_is_installed():
    """Redis, PostgreSQL, and the client of Kubernetes: the nightly run's pod starts its RayJob by it."""
    (program,) = re.findall(r'RUN python -c "(.*?)" > requirements', LINES, re.DOTALL)
    program = program.replace("\\\n", "")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {re.split(r"[\[<>=~]", line)[0] for line in done.stdout.splitlines()}
    assert {"ray", "redis", "psycopg", "lightkube"} <= names
