from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.aws.session import AwsSession
from tests.aws_stub import clear_aws
from tests.deploy.shipping.sagemaker.world import REGION, World, extend_moto
from tests.e2e import s3_server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with s3_server.running() as url:
        yield url


@pytest.fixture(scope="session")
def aws(moto_url: str, tmp_path_factory: pytest.TempPathFactory) -> AwsSession:
    """One for all tests: botocore takes most of a second to read what these services are like."""
    with pytest.MonkeyPatch.context() as patched:
        clear_aws(patched.setenv, patched.delenv, str(tmp_path_factory.mktemp("aws")))
        patched.setenv("AWS_ENDPOINT_URL", moto_url)
        patched.setenv("AWS_ACCESS_KEY_ID", "AK")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "s")
        patched.setattr("deploy.aws.session.MAX_ATTEMPTS", 1)  # botocore would sleep
        session = AwsSession(REGION)
        for service in ("sts", "s3", "sagemaker", "cloudwatch", "logs"):
            session.client(service)
    return session


@pytest.fixture
def world(moto_url: str, aws: AwsSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    httpx.post(f"{moto_url}/moto-api/reset", timeout=60).raise_for_status()
    extend_moto(monkeypatch)
    monkeypatch.setattr("deploy.shipping.sagemaker.rollout.TICK_S", 15.0)  # a third of the calls of moto, which is slow
    home = tmp_path / "home"
    home.mkdir()
    return World(home, aws)
