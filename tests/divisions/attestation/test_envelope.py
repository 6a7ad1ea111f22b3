"""Envelopes: what they hold comes out only under a trusted key, and never with a byte changed."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.attestation.envelope import MAX_BYTES, open_envelope, seal
from divisions.attestation.keys import SigningKey, new_signing_key
from divisions.errors import BundleError

KEY = new_signing_key()
OTHER = new_signing_key()
PAYLOAD = b'{"a": "content of the statement"}'


@given(st.binary(max_size=200))
def test_what_was_sealed_comes_out_and_sealing_it_again_gives_the_same_bytes(payload):
    sealed = seal(payload, KEY)
    assert open_envelope(sealed, (OTHER.public, KEY.public), "it") == payload
    assert seal(payload, KEY) == sealed


def test_it_is_as_the_standard_writes_it():
    found = json.loads(seal(PAYLOAD, KEY))
    assert base64.b64decode(found["payload"]) == PAYLOAD
    assert found["payloadType"] == "application/vnd.in-toto+json"
    (signature,) = found["signatures"]
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(PAYLOAD), PAYLOAD)
    assert KEY.public.verifies(base64.b64decode(signature["sig"]), signed)
    assert signature["keyid"] == KEY.public.id


def test_no_byte_can_be_changed():
    sealed = seal(PAYLOAD, KEY)
    for place in range(len(sealed)):
        for bit in (1, 32):
            changed = sealed[:place] + bytes([sealed[place] ^ bit]) + sealed[place + 1 :]
            try:
                assert open_envelope(changed, (KEY.public,), "it") == PAYLOAD
            except BundleError:
                continue
            # Some bytes carry nothing: the unused bits at the end of base64.
            assert base64.b64decode(json.loads(changed)["payload"]) == PAYLOAD


def test_a_signature_of_a_key_that_is_not_trusted_counts_for_nothing():
    with pytest.raises(BundleError, match=r"it is signed by no trusted key.*DIVISIONS_TRUSTED_KEYS"):
        open_envelope(seal(PAYLOAD, OTHER), (KEY.public,), "it")


def test_a_key_cannot_be_named_by_another():
    """A signature of another key, under the id of a trusted one."""
    found = json.loads(seal(PAYLOAD, OTHER))
    found["signatures"][0]["keyid"] = KEY.public.id
    with pytest.raises(BundleError, match="it was changed after it was signed"):
        open_envelope(json.dumps(found).encode(), (KEY.public,), "it")


def test_one_signature_that_fits_is_enough():
    found = json.loads(seal(PAYLOAD, KEY))
    found["signatures"] = [*json.loads(seal(PAYLOAD, OTHER))["signatures"], *found["signatures"]]
    assert open_envelope(json.dumps(found).encode(), (KEY.public,), "it") == PAYLOAD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"payload": "!", "payloadType": "application/vnd.in-toto+json", "signatures": []}',
        b'{"payload": "", "payloadType": "application/vnd.in-toto+json"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_one_clear_line(content):
    with pytest.raises(BundleError, match="it is no signed envelope") as caught:
        open_envelope(content, (KEY.public,), "it")
    assert "\n" not in str(caught.value)


def test_an_envelope_without_signatures_or_of_another_type_or_too_large_is_refused():
    found = json.loads(seal(PAYLOAD, KEY))
    for change, message in (
        ({"signatures": []}, "signed by no trusted key"),
        ({"payloadType": "text/plain"}, "holds 'text/plain', no statement"),
        ({"payload": "A" * MAX_BYTES}, "is over 4,194,304 bytes"),
    ):
        with pytest.raises(BundleError, match=message):
            open_envelope(json.dumps(found | change).encode(), (KEY.public,), "it")


def test_a_private_key_signs_the_type_too():
    """A signature of the bare payload fits nowhere."""
    found = json.loads(seal(PAYLOAD, KEY))
    found["signatures"][0]["sig"] = base64.b64encode(SigningKey.sign(KEY, PAYLOAD)).decode()
    with pytest.raises(BundleError, match="does not fit"):
        open_envelope(json.dumps(found).encode(), (KEY.public,), "it")
