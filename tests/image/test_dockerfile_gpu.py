"""The very file that users build, without its GPU part: built, pushed, given a version, run, asked. And it trains."""

from __future__ import annotations

import base64
import json
import os
import resource
import tarfile
import uuid
from pathlib import Path

import msgspec
import pytest

from deploy.supervision.processes import wait_until
from deploy.training_job.contract import RUN_FILE, TrainedRun
from divisions.bundle import read_bundle
from divisions.oci.reference import parse_reference
from tests.conftest import skipped_where_absent
from tests.deploy.training_job.opt_ml import FIRST, pipeline_text, prepare, write_events
from tests.e2e.homes import PIPELINE, Home
from tests.image.engine import BASE, IMAGE, ROOT, Engine, why_absent
from tests.oci_registry import USER, running_registry
from tests.servers import PASSWORD

pytestmark = pytest.mark.image

MAX_CODE_BYTES = 30_000_000
MAX_BYTES = 3_500_000_000
READY_S = 240.0
RESTRICTED = ("--read-only", "--tmpfs", "/tmp:rw,nosuid,nodev,noexec", "--shm-size", "1g", "--network", "none",
              "--cap-drop", "all", "--security-opt", "no-new-privileges")  # fmt: skip
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# podman raises limits, and lets systemd ask for the health: a machine may allow neither.
RUN = ("podman", "--runtime", "runc", "run", "--no-healthcheck",
       "--ulimit", f"nofile={FILES}:{FILES}", "--ulimit", "nproc=4096:4096")  # fmt: skip
ASK = """
import json, sys, urllib.request
url, body = sys.argv[1:]
headers = {"Content-Type": "application/json", "Host": "churn.example"}
request = urllib.request.Request(url, body.encode() or None, headers)
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


@pytest.fixture(scope="module")
def engine(request) -> Engine:
    if not request.config.getoption("--image"):
        pytest.skip("takes minutes and gigabytes: see `make image-test`")
    if why := why_absent():
        pytest.skip(why)
    return Engine(Path(os.environ.get("IMAGE_CACHE", Path.home() / ".cache" / "divisions-image")))


@pytest.fixture(scope="module")
def built(engine) -> Engine:
    engine.make_base()
    engine.build(ROOT / "Dockerfile.gpu")
    return engine


@pytest.fixture(scope="module")
def version_image(built, tmp_path_factory):
    """An image of version 3.1, by its digest: on the product's image in a registry with TLS and a password."""
    folder = tmp_path_factory.mktemp("version")
    with skipped_where_absent(), running_registry(folder / "registry", is_secure=True) as registry:
        host = f"{registry.host}:{registry.port}"
        certificates = folder / "certificates"
        certificates.mkdir()
        (certificates / "registry.crt").write_bytes(registry.authority.read_bytes())
        access = ("--cert-dir", str(certificates), "--creds", f"{USER}:{PASSWORD}")
        product = f"{host}/divisions"
        built.run("buildah", "push", *access, "--digestfile", str(folder / "digest"), IMAGE, f"docker://{product}:test")
        home = Home(folder / "home")
        home.path.mkdir(mode=0o700)
        with tarfile.open(ROOT / "tests" / "fixtures" / "home-0.tar.xz") as archive:
            archive.extractall(home.path, filter="data")
        entry = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": entry}}}))
        (folder / "pipeline.yaml").write_text(PIPELINE)
        base = f"oci://{product}@{(folder / 'digest').read_text().strip()}"
        made = home.run(
            *("models", "package", "churn-predictor", "3.1", "--pipeline", str(folder / "pipeline.yaml")),
            *("--image", base, "--push", f"oci://{host}/churn-predictor", "--output", "json"),
            DOCKER_CONFIG=str(folder),
            SSL_CERT_FILE=str(registry.authority),
        )
        assert made.returncode == 0, made.stderr
        image = json.loads(made.stdout)["image"]
        assert parse_reference(f"oci://{image}").digest
        built.run("podman", "pull", *access, image)
        yield image
        built.run("podman", "rmi", image, may_fail=True)


class Container:
    """One that runs, and how it is asked from inside: it has no network."""

    def __init__(self, engine: Engine, image: str, *options: str, command: tuple[str, ...] = ()) -> None:
        self.engine, self.name = engine, f"divisions-{uuid.uuid4().hex[:8]}"
        engine.run(*RUN, "-d", "--name", self.name, *options, image, *command)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.run("podman", "--runtime", "runc", "stop", "-t", "60", self.name, may_fail=True)
        self.engine.run("podman", "--runtime", "runc", "rm", "-f", "-v", self.name, may_fail=True)

    def execute(self, *command: str, may_fail: bool = False) -> str:
        return self.engine.run("podman", "--runtime", "runc", "exec", self.name, *command, may_fail=may_fail)

    def ask(self, path: str, body: object = None, port: int = 8000) -> str:
        text = "" if body is None else json.dumps(body)
        return self.execute("python3", "-c", ASK, f"http://127.0.0.1:{port}{path}", text, may_fail=True)

    def predict(self, port: int = 8000) -> dict:
        features = json.loads(self.execute("cat", "/opt/ml/model/manifest.json"))["schema"]["features"]
        row = {each["name"]: each["categories"][0] if each.get("categories") else 1.0 for each in features}
        return json.loads(self.ask("/api/v2/predict/churn", {"features": row}, port))

    def log(self) -> str:
        return self.engine.run("podman", "logs", self.name, may_fail=True)


def config_of(engine: Engine, image: str) -> dict:
    (found,) = json.loads(engine.run("podman", "image", "inspect", image))
    return found


def health_check(engine: Engine) -> list[str]:
    found = config_of(engine, IMAGE)
    kind, *command = (found.get("HealthCheck") or found["Healthcheck"])["Test"]
    assert kind == "CMD"
    return command


def test_the_image_has_no_root_a_health_check_and_its_code_in_a_small_layer(built):
    found = config_of(built, IMAGE)
    assert found["Config"]["User"] == "10001:10001"
    assert "/healthz" in health_check(built)[-1]
    assert found["Config"]["Entrypoint"] == ["tini", "--"]
    print(f"{IMAGE}: {found['Size']:,} bytes; the base {config_of(built, BASE)['Size']:,}")
    assert found["Size"] < MAX_BYTES


@pytest.mark.parametrize("user", ["", "54321:0"])
def test_it_serves_its_version_without_root_network_or_a_disk_to_write_to(built, version_image, user):
    options = [*RESTRICTED, *(["--user", user] if user else [])]
    with Container(built, version_image, *options) as container:
        ready = wait_until(lambda: container.ask("/v2/models/churn/ready") != "", READY_S)
        assert ready, container.log()[-4_000:]
        answer = container.predict()
        assert (answer["version"], 0.0 < answer["churn_probability"] < 1.0) == ("3.1", True)
        assert container.execute("id", "-u") == (user.partition(":")[0] or "10001")
        assert "Read-only file system" in container.engine.run(
            "podman", "--runtime", "runc", "exec", container.name, "sh", "-c", "touch /opt/x 2>&1", may_fail=True
        )
        container.execute(*health_check(built))
        assert json.loads(container.execute("divisions", "models", "list", "--output", "json"))["versions"] == []


def test_the_same_image_serves_its_version_without_ray_as_sagemaker_starts_it(built, version_image):
    with Container(built, version_image, *RESTRICTED, command=("serve",)) as container:
        ready = wait_until(lambda: "is warm on" in container.log(), READY_S)
        assert ready, container.log()[-4_000:]
        assert container.predict(8080)["version"] == "3.1"
        container.execute("python", "-c", "import redis, psycopg, deploy.kubernetes.adapted_lightkube")


def test_the_image_trains_as_sagemaker_starts_it(built, tmp_path):
    """SageMaker gives ``/opt/ml`` to root, so training images have ``USER 0``."""
    root = prepare(tmp_path, FIRST, pipeline_text())
    write_events(root / "input" / "data" / "events")
    built.run(*RUN, "--rm", *RESTRICTED, "--user", "0", "-v", f"{root}:/opt/ml", IMAGE, "train")
    assert not (root / "output" / "failure").exists()
    trained = msgspec.json.decode((root / "output" / "data" / RUN_FILE).read_bytes(), type=TrainedRun)
    assert trained.validation_status == "passed"
    assert read_bundle(root / "model", trained.bundle_sha256).model == trained.model
