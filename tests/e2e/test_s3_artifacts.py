"""Bundles in a bucket of a real S3 server (moto): published by one machine, opened by another, refused when changed."""

import pytest

from divisions.artifacts.cache import Bundles
from divisions.bundle import ONNX, Manifest, bundle_address, file_sha256, write_manifest
from divisions.errors import ArtifactStoreError, BundleError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings, Settings
from tests.e2e import s3_server

pytestmark = pytest.mark.e2e
BUCKET = "bundles-of-two-machines"
"""Of its own: all servers of one process share what they hold."""
SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))


@pytest.fixture(scope="module")
def endpoint():
    with s3_server.running() as url:
        yield url


@pytest.fixture(scope="module")
def client(endpoint):
    made = s3_server.client_of(endpoint)
    made.create_bucket(Bucket=BUCKET)
    return made


def machine(home, endpoint, bucket=BUCKET):
    s3 = S3Settings(endpoint_url=endpoint, access_key="any", secret_key="any")
    return Bundles.of(Settings(home=home, artifacts=f"s3://{bucket}/team/churn", s3=s3))


def make(home):
    draft = home / "bundles" / "churn-predictor" / "draft"
    draft.mkdir(parents=True)
    (draft / ONNX).write_bytes(bytes(range(256)) * 40_000)
    files = {ONNX: file_sha256(draft / ONNX)}
    sha256 = write_manifest(draft, Manifest("churn-predictor", "p", "r", "", SCHEMA, {}, files))
    return draft.rename(home / "bundles" / bundle_address("churn-predictor", sha256)), sha256


MLFLOW = {
    "MLmodel",
    "conda.yaml",
    "input_example.json",
    "python_env.yaml",
    "requirements.txt",
    "serving_input_example.json",
}


def test_a_bundle_reaches_another_machine_through_a_bucket(tmp_path, endpoint, client):
    folder, sha256 = make(tmp_path / "one")
    machine(tmp_path / "one", endpoint).publish(folder, sha256)
    address = bundle_address("churn-predictor", sha256)
    stored = client.list_objects_v2(Bucket=BUCKET)["Contents"]
    names = {one["Key"].removeprefix(f"team/churn/{address}/") for one in stored}
    assert names - MLFLOW == {"manifest.json", ONNX}
    assert names & MLFLOW == MLFLOW
    there, manifest = machine(tmp_path / "two", endpoint).open(address, sha256)
    assert (there / ONNX).read_bytes() == (folder / ONNX).read_bytes()
    assert manifest.sha256 == sha256

    client.put_object(Bucket=BUCKET, Key=f"team/churn/{address}/{ONNX}", Body=b"another model")
    with pytest.raises(BundleError, match="was changed"):
        machine(tmp_path / "three", endpoint).open(address, sha256)
    assert machine(tmp_path / "two", endpoint).open(address, sha256) == (there, manifest)


def test_a_bucket_that_does_not_exist_is_one_clear_error(tmp_path, endpoint, client):
    folder, sha256 = make(tmp_path)
    with pytest.raises(ArtifactStoreError, match="s3://absent/team/churn does not answer, or refuses") as caught:
        machine(tmp_path, endpoint, "absent").publish(folder, sha256)
    assert "check DIVISIONS_ARTIFACTS" in str(caught.value)
    assert "\n" not in str(caught.value)
