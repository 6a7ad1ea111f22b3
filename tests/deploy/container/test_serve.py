"""`divisions serve` as SageMaker uses it: a process of its own, a read-only folder, real HTTP, SIGTERM."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from benchmarks.harness.bench_bundle import write_workload
from deploy.container.fixed_link import table_of
from deploy.container.serve import MAX_BODY_BYTES, REQUEST_TIMEOUT_MS, container_settings, find_bundle
from deploy.supervision.ports import choose_free
from divisions.artifacts.signing import statements_of
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import Decision, read_bundle
from divisions.errors import BundleError
from divisions.settings import Settings

COMMAND = [sys.executable, "-m", "divisions.cli", "serve"]
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_workload(tmp_path_factory.mktemp("ml") / "model", num_features=4, widths=(8,), takes_any=True)


KEY = new_signing_key()


@pytest.fixture(scope="module")
def environment(bundle):
    """That of a container whose image carries a statement of a key that is trusted here."""
    folder = bundle.bundle.parent / "release" / "attestations"
    folder.mkdir(parents=True)
    sealed = statements_of(BundleFacts(read_bundle(bundle.bundle))).sealed(KEY)
    for name, content in sealed.items():
        (folder / f"{name}.dsse.json").write_bytes(content)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIVISIONS_")}
    names = {"DIVISIONS_SERVE_VERSION": "3.2", "DIVISIONS_SERVE_SHA256": bundle.bundle_sha256}
    names["DIVISIONS_TRUSTED_KEYS"] = str(KEY.public)
    return kept | names | {"DIVISIONS_HOME": str(bundle.bundle / "not-used"), "DIVISIONS_ALLOWED_HOSTS": "*"}


@pytest.fixture(scope="module")
def server(bundle, environment) -> Iterator[int]:
    (port,) = choose_free(1)
    os.chmod(bundle.bundle, 0o500)
    command = [*COMMAND, "--model", str(bundle.bundle)]
    environment = environment | {"SAGEMAKER_BIND_TO_PORT": str(port)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for_ping(process, port)
            yield port
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0, "it ends when it is told to"
            assert "is warm on" in process.stdout.read()
        finally:
            process.kill()


def wait_for_ping(process, port):
    ends_s = time.monotonic() + 240
    while time.monotonic() < ends_s and process.poll() is None:
        try:
            if ask(port, "GET", "/ping")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"it does not get ready; exit status {process.poll()}")


def ended(environment, *arguments):
    command = [*COMMAND, "--model", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def ask(port, method, path, body=None, headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, body, {"Host": "model.aws.local:8080", **(headers or {})})
        reply = connection.getresponse()
        return reply.status, reply.read()


def test_it_answers_as_a_container_must(server, bundle):
    port = server
    row = json.loads(bundle.body)["features"]
    status, predicted = ask(port, "POST", "/api/v2/predict/bench", bundle.body)
    assert status == 200
    answer = json.loads(predicted)
    assert (answer["model"], answer["version"]) == ("bench-model", "3.2")
    line = ",".join(map(str, row.values())).encode()
    status, scores = ask(port, "POST", "/invocations", b"\n".join([line] * 3_000), CSV)
    assert status == 200
    assert [float(score) for score in scores.split()] == pytest.approx([answer["bench_probability"]] * 3_000)
    status, scores = ask(port, "POST", "/invocations", json.dumps({"instances": [list(row.values())]}))
    assert json.loads(scores)["predictions"][0]["score"] == pytest.approx(answer["bench_probability"])


def test_it_has_no_rollouts_and_nothing_but_its_health_is_open(server):
    port = server
    assert ask(port, "GET", "/api/v2/status")[0] == 401
    assert json.loads(ask(port, "GET", "/execution-parameters")[1])["MaxPayloadInMB"] == 25


def test_nothing_is_written_beside_the_model(server, bundle):
    assert {path.name for path in bundle.bundle.iterdir()} == {"manifest.json", "model.onnx"}


def test_another_bundle_a_damaged_one_and_none_end_it_with_one_line(bundle, environment, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle.bundle, damaged)
    os.chmod(damaged, 0o700)
    os.chmod(damaged / "model.onnx", 0o600)
    (damaged / "model.onnx").write_bytes(b"other")
    cases = [
        ([str(bundle.bundle), "--sha256", "0" * 64], "is not the one that was registered"),
        ([str(damaged)], "model.onnx was changed"),
    ]
    for arguments, says in cases:
        done = ended(environment, *arguments)
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_one_that_no_trusted_key_has_signed_ends_it(bundle, environment):
    trusts_another = environment | {"DIVISIONS_TRUSTED_KEYS": str(new_signing_key().public)}
    done = ended(trusts_another, str(bundle.bundle), "--port", str(*choose_free(1)))
    assert done.returncode == 1
    assert "has no provenance that is signed by a trusted key" in done.stderr


def test_a_taken_port_is_named(server, bundle, environment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ended(environment, str(bundle.bundle), "--port", str(port))
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr


def test_a_bundle_may_be_one_folder_down(bundle):
    served = find_bundle(bundle.bundle.parent)
    assert served.folder == bundle.bundle
    assert (served.endpoint, served.version) == ("bench", bundle.bundle_sha256[:8])


def test_what_cannot_be_served_is_named(tmp_path, bundle):
    for folder, says in ((tmp_path, "has 0 bundles"), (tmp_path / "none", "there is no bundle")):
        with pytest.raises(BundleError, match=says):
            find_bundle(folder)
    with pytest.raises(BundleError, match="cannot be an endpoint"):
        find_bundle(bundle.bundle, endpoint="a/b")


def test_limits_are_sagemakers_unless_they_are_set(monkeypatch):
    settings = container_settings(Settings(home=Path("/h"), artifacts="s3://b/p"), Path("/t"), 8_080)
    assert (settings.home, settings.port, settings.artifacts) == (Path("/t"), 8_080, "")
    assert (settings.request_timeout_ms, settings.max_body_bytes) == (REQUEST_TIMEOUT_MS, MAX_BODY_BYTES)
    monkeypatch.setenv("DIVISIONS_REQUEST_TIMEOUT_MS", "500")
    assert (
        container_settings(Settings(home=Path("/h"), request_timeout_ms=500), Path("/t"), 1).request_timeout_ms == 500
    )


def test_all_traffic_goes_to_the_bundle_in_the_gateways_process(bundle):
    served = find_bundle(bundle.bundle)
    table = table_of(served.manifest, "bench", "3.2", 0.0)
    assert table.hosted[0].decision_threshold is None
    decided = msgspec.structs.replace(served.manifest, decision=Decision("max_f1", 0.25))
    assert table_of(decided, "bench", "3.2", 0.0).hosted[0].decision_threshold == 0.25
    (route,) = table.endpoints[0].versions
    assert (route.weight_bp, route.version.bundle_sha256) == (10_000, bundle.bundle_sha256)
    assert table.hosted == (route.version,)
