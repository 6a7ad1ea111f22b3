"""From a registered version to an image of it, and from the image to predictions in a home that knows nothing."""

from __future__ import annotations

import json
import tarfile

import pytest

from divisions.artifacts.release_folder import RELEASE_FILE
from divisions.bundle import read_bundle
from divisions.oci.reference import parse_reference
from divisions.oci.registry import RegistryClient
from tests.conftest import skipped_where_absent
from tests.divisions.artifacts.test_release_folder import unpacked
from tests.e2e.homes import PIPELINE, ROOT, Home, answer
from tests.e2e.test_image_push import World
from tests.oci_registry import running_registry

pytestmark = pytest.mark.e2e


@pytest.fixture
def registry(tmp_path):
    with skipped_where_absent(), running_registry(tmp_path / "registry") as server:
        yield server


@pytest.fixture
def maker(tmp_path):
    """A home with version 3.1 of the churn predictor."""
    home = Home(tmp_path / "maker")
    home.path.mkdir(mode=0o700)
    with tarfile.open(ROOT / "tests" / "fixtures" / "home-0.tar.xz") as archive:
        archive.extractall(home.path, filter="data")
    return home


@pytest.fixture
def container(tmp_path):
    home = Home(tmp_path / "container")
    yield home
    if home.cluster() is not None:
        home.run("down")


def test_an_image_of_a_version_serves_it_wherever_it_starts(registry, maker, container, tmp_path):
    world = World(registry, registry, tmp_path / "no-login")
    base = world.push_base("divisions", plain=True)
    trusted = maker.run("keys", "create").stdout.strip()
    maker.environment["DIVISIONS_TRUSTED_KEYS"] = container.environment["DIVISIONS_TRUSTED_KEYS"] = trusted
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    place = f"oci+http://{registry.host}:{registry.port}"
    command = ["models", "package", "churn-predictor", "3.1", "--pipeline", str(pipeline), "--output", "json"]
    package = (*command, "--image", f"oci+http://{base}", "--push", f"{place}/churn-predictor")
    refused = maker.run(*package)
    assert "has no provenance that is signed by a trusted key" in refused.stderr
    for signing in (("models", "sign", "churn-predictor", "3.1"), ("images", "sign", f"oci+http://{base}")):
        if signing[0] == "images":
            assert f"image {base} is signed by no trusted key" in maker.run(*package).stderr
        assert maker.run(*signing).returncode == 0
    made = maker.run(*package)
    assert made.returncode == 0, made.stderr
    pushed = json.loads(made.stdout)
    assert (pushed["tag"], pushed["base"], pushed["signed_by"]) == ("3.1", str(base), trusted)
    assert made.stderr.splitlines()[-2:] == ["the base's layers: 2 mounted", f"signed by {trusted}"]
    verified = maker.run("images", "verify", f"{place}/churn-predictor:3.1", "--output", "json")
    assert json.loads(verified.stdout) == {"image": pushed["image"], "signed_by": trusted}
    for wrong, message in (
        (["--image", f"oci+http://{base}"], "belong together"),
        (["--image", "docker.io/x", "--push", f"{place}/y"], "write oci://"),
    ):
        refused = maker.run(*command, *wrong)
        assert refused.returncode in {1, 2}
        assert message in refused.stderr

    layer = tmp_path / "layer.tar.gz"
    with RegistryClient(parse_reference(f"{place}/churn-predictor").repository, lambda: None) as client:
        client.pull_blob(pushed["layer"], pushed["num_bytes"], layer)
    folder = unpacked(layer, tmp_path / "root")

    started = container.run("up", "--release", str(folder))
    assert started.returncode == 0, started.stderr
    assert "Check every byte of churn-predictor/" in started.stdout
    features = read_bundle(folder / "model", pushed["bundle_sha256"]).schema.features
    row = {each.name: each.categories[0] if each.categories else 1.0 for each in features}
    status, data = answer(
        f"{container.url}/api/v2/predict/churn", {"features": row}, [("content-type", "application/json")]
    )
    assert status == 200, data
    assert json.loads(data)["version"] == "3.1"
    assert json.loads(container.run("models", "list", "--output", "json").stdout)["versions"] == []
    (rollout,) = json.loads(container.run("status", "--output", "json").stdout)["rollouts"]
    assert (rollout["phase"], rollout["stable_version"]) == ("PROMOTED", "3.1")

    assert container.run("down").returncode == 0
    (folder / "release" / RELEASE_FILE).chmod(0o600)
    release = json.loads((folder / "release" / RELEASE_FILE).read_text())
    (folder / "release" / RELEASE_FILE).write_text(json.dumps({**release, "bundle_sha256": "0" * 64}))
    refused = container.run("up", "--release", str(folder))
    assert refused.returncode == 1
    assert "in this image, but churn-predictor/" in refused.stderr
    assert container.cluster() is None, "what cannot be served leaves nothing running"
