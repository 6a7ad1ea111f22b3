"""Amazon's registry by a stand-in that behaves like it: its login, its repositories, its tags, its bucket."""

from __future__ import annotations

import hashlib
import io

import pytest

from divisions.artifacts.oci_store import OciStore
from divisions.errors import ArtifactStoreError
from divisions.oci.ecr import EcrHost, creator, ecr_host
from divisions.oci.login import find_credentials
from divisions.oci.reference import parse_repository
from divisions.oci.registry import RegistryClient
from tests.aws_stub import AwsStub, clear_aws, json_error
from tests.ecr_registry import BUCKET, HOST, EcrRegistry

ROOT = parse_repository(f"oci://{HOST}/team")
ADDRESS = "churn/0123456789abcdef"


@pytest.fixture
def ecr(monkeypatch, tmp_path):
    clear_aws(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with EcrRegistry() as registry:
        monkeypatch.setenv("AWS_ENDPOINT_URL", registry.url)
        yield registry


def store(ecr, tmp_path):
    return OciStore("ecr", ROOT, lambda: find_credentials(HOST, tmp_path / "no-config"), 1 << 30, ecr.transport)


def bundle(tmp_path, content=b"model" * 1_000):
    folder = tmp_path / hashlib.sha256(content).hexdigest()[:8]
    folder.mkdir(exist_ok=True)
    for name in ("manifest.json", "model.onnx"):
        (folder / name).write_bytes(content + name.encode())
    return sorted(folder.iterdir())


def test_a_bundle_goes_to_a_new_repository_and_comes_back(ecr, tmp_path):
    files = bundle(tmp_path)
    store(ecr, tmp_path).write(ADDRESS, files)
    assert list(ecr.repositories) == ["team/churn"]
    assert ecr.api_calls == ["GetAuthorizationToken", "CreateRepository"]
    reader = store(ecr, tmp_path)
    assert reader.has(ADDRESS, "model.onnx")
    assert reader.read(ADDRESS, "model.onnx") == files[1].read_bytes()
    reader.close()


def test_blobs_are_sent_whole_and_nothing_is_deleted(ecr, tmp_path):
    store(ecr, tmp_path).write(ADDRESS, bundle(tmp_path))
    methods = {method for _, method, _ in ecr.calls}
    assert methods == {"HEAD", "POST", "PUT"}


def test_the_stand_in_loses_chunks_as_amazons_registry_does(ecr, tmp_path):
    """What a client that sends chunks would meet: the reason why ours sends none."""
    ecr.repositories["team/churn"] = {}
    client = RegistryClient(ROOT.below("churn"), lambda: find_credentials(HOST, tmp_path / "no"), ecr.transport)
    digest = f"sha256:{hashlib.sha256(b'onetwo').hexdigest()}"
    with client:
        client.has_blob(digest)
        place = client._begin_upload(None)
        for chunk in (b"one", b"two"):
            with client._sent(
                "PATCH", place, headers={"Content-Length": "3"}, opened=lambda c=chunk: io.BytesIO(c)
            ) as reply:
                assert reply.status_code == 201
        with client._sent("PUT", f"{place}?digest={digest}", headers={"Content-Length": "0"}) as reply:
            assert reply.status_code == 400


def test_no_password_goes_to_the_bucket(ecr, tmp_path):
    store(ecr, tmp_path).write(ADDRESS, bundle(tmp_path))
    reader = store(ecr, tmp_path)
    reader.read(ADDRESS, "manifest.json")
    reader.close()
    assert BUCKET in {host for host, _, _ in ecr.calls}
    assert ecr.leaks == []


def test_a_password_that_ends_in_mid_way_is_renewed_once(ecr, tmp_path):
    ecr.repositories["team/churn"] = {}
    client = RegistryClient(ROOT.below("churn"), lambda: find_credentials(HOST, tmp_path / "no"), ecr.transport)
    content = b"x" * 3_000_000
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with client:
        assert not client.has_blob(digest)
        ecr.passwords = {"p-2"}
        assert client.push_blob(digest, len(content), lambda: io.BytesIO(content))
        assert client.has_blob(digest)
    assert ecr.api_calls == ["GetAuthorizationToken"] * 2


def test_a_right_that_is_lacking_is_told_and_not_asked_for_again_and_again(ecr, tmp_path):
    """403 with a password that AWS still gives is no expiry."""
    ecr.repositories["team/churn"] = {}
    with RegistryClient(ROOT.below("churn"), lambda: find_credentials(HOST, tmp_path / "no"), ecr.transport) as client:
        client.has_blob("sha256:" + "0" * 64)
        ecr.refuses_all = True
        with pytest.raises(ArtifactStoreError, match=r"status 403. ask for the right"):
            client.push_blob("sha256:" + "1" * 64, 1, lambda: io.BytesIO(b"x"))
    assert ecr.api_calls == ["GetAuthorizationToken"] * 2


def test_the_same_bundle_packed_by_another_zlib_is_there_already(ecr, tmp_path, monkeypatch):
    files = bundle(tmp_path)
    store(ecr, tmp_path).write(ADDRESS, files)
    monkeypatch.setattr("divisions.artifacts.tarball._LEVEL", 1)
    store(ecr, tmp_path).write(ADDRESS, files)
    assert len(ecr.repositories["team/churn"]) == 2
    with pytest.raises(ArtifactStoreError, match="TAG_INVALID: The image tag '0123456789abcdef' already exists"):
        store(ecr, tmp_path).write(ADDRESS, bundle(tmp_path, b"another"))


def test_two_machines_may_make_the_repository_at_once(ecr):
    make = creator(ROOT.below("churn"))
    make()
    make()
    assert list(ecr.repositories) == ["team/churn"]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", r"is missing, and cannot be made: .*AccessDenied.*allow ecr:CreateRepository"),
        ("ExpiredTokenException", "is missing, and cannot be made: .*Expired"),
    ],
)
def test_a_repository_that_cannot_be_made(monkeypatch, tmp_path, code, says):
    clear_aws(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with AwsStub() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL", stub.url)
        stub.replies["CreateRepository"] = [json_error(code)]
        with pytest.raises(ArtifactStoreError, match=says):
            creator(ROOT.below("churn"))()


@pytest.mark.parametrize(
    "host",
    [
        f"{HOST}.evil.example",
        f"{HOST}:8443",
        f"evil-{HOST}",
        "123.dkr.ecr.eu-west-1.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
        "public.ecr.aws",
    ],
)
def test_only_amazons_own_hosts_get_a_password_of_aws(host, tmp_path):
    assert ecr_host(host) is None
    assert find_credentials(host, tmp_path / "no-config") is None


def test_the_registries_of_all_partitions():
    assert ecr_host("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn") == EcrHost("123456789012", "cn-north-1")
    assert ecr_host("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com").region == "us-gov-west-1"
    assert ecr_host("123456789012.dkr-ecr.eu-west-1.on.aws").region == "eu-west-1"
    assert creator(parse_repository("oci://registry.example/team")) is None
