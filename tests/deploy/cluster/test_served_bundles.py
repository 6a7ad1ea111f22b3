"""`up`: each endpoint whose bundle is missing has a reason."""

from types import SimpleNamespace

import pytest

from deploy.cluster import served_bundles
from divisions.errors import RegistryError
from divisions.settings import Settings


def rollout(model, version="1.1"):
    return SimpleNamespace(endpoint=f"{model}-endpoint", model=model, stable_version=version)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks rollouts of the models ``here``, ``gone`` and ``unregistered``."""
    (tmp_path / "bundles" / "here" / "0123").mkdir(parents=True)
    (tmp_path / "bundles" / "here" / "0123" / "manifest.json").write_text("{}")

    class MemoryRegistry:
        def __init__(self, home): ...

        def get_version(self, model, version):
            if model == "unregistered":
                raise RegistryError("no such version")
            return SimpleNamespace(model=model, version=version, bundle_path=f"{model}/0123")

    monkeypatch.setattr(served_bundles, "Registry", MemoryRegistry)
    return lambda *rollouts, **more: served_bundles.missing_bundles(Settings(home=tmp_path, **more), rollouts)


def test_a_missing_bundle_is_the_reason_of_its_endpoint(check, tmp_path):
    found = check(rollout("gone"), rollout("here"), rollout("unregistered"))
    assert list(found) == ["gone-endpoint"]
    assert f"the bundle of gone 1.1 is not at {tmp_path / 'bundles' / 'gone' / '0123'}" in str(found["gone-endpoint"])


def test_what_is_not_served_or_not_registered_here_is_not_checked(check):
    assert check(rollout("gone", None), rollout("unregistered")) == {}
    assert check(rollout("gone"), tracking_uri="http://127.0.0.1:1") == {}
    assert check(rollout("gone"), artifacts="/shared") == {}
