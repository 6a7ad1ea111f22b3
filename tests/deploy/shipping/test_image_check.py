"""An image is refused unless a trusted key has signed it; `tests/e2e/test_image_signatures.py` has a registry."""

import pytest

from deploy.shipping import image_check
from deploy.shipping.image_check import require_signed_image
from divisions.attestation.keys import new_signing_key
from divisions.errors import BundleError, SettingsError
from divisions.settings import Settings

KEY = new_signing_key()
IMAGE = "registry.example/divisions@sha256:" + "0" * 64


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, trusted_keys=(str(KEY.public),))


def test_the_key_that_has_signed_is_told(settings, monkeypatch):
    def verify(client, digest, trusted):
        assert (str(client.repository), digest) == tuple(IMAGE.split("@"))
        assert trusted == (KEY.public,)
        return KEY.public

    monkeypatch.setattr(image_check, "verify_image", verify)
    assert require_signed_image(IMAGE, settings) == str(KEY.public)


def test_without_a_trusted_key_nobody_can_have_signed_it(tmp_path):
    with pytest.raises(SettingsError, match="no key is trusted here") as caught:
        require_signed_image(IMAGE, Settings(home=tmp_path))
    assert "DIVISIONS_TRUSTED_KEYS" in caught.value.remedy


def test_an_image_without_a_digest_is_refused(settings):
    with pytest.raises(BundleError, match="has no digest"):
        require_signed_image("registry.example/divisions:gpu", settings)
    with pytest.raises(SettingsError, match="names no image of a registry"):
        require_signed_image("divisions:gpu", settings)


def test_a_registry_that_does_not_answer_is_a_refusal(settings):
    with pytest.raises(BundleError, match=r"the signature of image .* cannot be read"):
        require_signed_image("127.0.0.1:1/divisions@sha256:" + "0" * 64, settings)
