from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.aws_stub import clear_aws
from tests.deploy.shipping.sagemaker.world import World, extend_moto
from tests.e2e import s3_server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with s3_server.running() as url:
        yield url


@pytest.fixture
def world(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    clear_aws(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    httpx.post(f"{moto_url}/moto-api/reset").raise_for_status()
    extend_moto(monkeypatch)
    monkeypatch.setattr("deploy.aws.session.MAX_ATTEMPTS", 1)  # botocore would sleep
    home = tmp_path / "home"
    home.mkdir()
    return World(home)
