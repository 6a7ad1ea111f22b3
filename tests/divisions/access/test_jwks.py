"""Sets of keys. Defence: a set takes bounded work, and no key of it is more than a public key that checks."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.access.jwks import MAX_BYTES, MAX_KEYS, MalformedKeysError, public_keys
from tests.oidc_issuer import jwk


def set_of(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_each_kind_of_key_checks_its_own_algorithms():
    found = public_keys(set_of(jwk("rsa-1", alg=None), jwk("ec-1", alg=None), jwk("ed-1"), jwk("rsa-2", alg="PS256")))
    assert {key.kid: key.algorithms for key in found} == {
        "rsa-1": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        "ec-1": ("ES256",),
        "ed-1": ("EdDSA",),
        "rsa-2": ("PS256",),
    }


@pytest.mark.parametrize(
    ("kid", "changes"),
    [
        ("rsa-1", {"use": "enc"}),
        ("rsa-1", {"key_ops": ["sign"]}),
        ("rsa-1", {"alg": "ES256"}),
        ("rsa-1", {"alg": "HS256"}),
        ("rsa-1", {"kid": 5}),
        ("rsa-1", {"n": "AQAB"}),
        ("rsa-1", {"n": "x" * 1_367}),
        ("rsa-1", {"e": "A" * 340}),
        ("rsa-1", {"n": ["x"]}),
        ("rsa-1", {"kty": "oct", "k": "c2VjcmV0"}),
        ("rsa-1", {"kty": ["RSA"]}),
        ("ec-1", {"crv": "secp256k1", "alg": None}),
        ("ed-1", {"crv": "X25519", "alg": None}),
    ],
)
def test_a_key_that_cannot_check_is_skipped(kid, changes):
    assert [each.kid for each in public_keys(set_of(jwk(kid, **changes), {}, jwk("ec-2")))] == ["ec-2"]


def test_of_a_private_key_only_the_public_part_is_taken():
    (key,) = public_keys(set_of(jwk("ec-1", d="c2VjcmV0", x5u="https://evil.example", x5c=["x"])))
    assert {name for name, _ in key.members} == {"kty", "crv", "x", "y"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": ["x"]}',
        b"\xff",
        b"[" * 100_000,
        set_of(),
        set_of({"kty": "oct", "k": "eA"}),
        set_of(*[{}] * (MAX_KEYS + 1)),
    ],
    ids=range(10),
)
def test_what_is_no_set_is_refused(data):
    with pytest.raises(MalformedKeysError):
        public_keys(data)


def test_a_set_is_taken_up_to_its_largest_size():
    whole = set_of(jwk("ec-1"))
    assert public_keys(whole.ljust(MAX_BYTES))
    with pytest.raises(MalformedKeysError, match="bytes"):
        public_keys(whole.ljust(MAX_BYTES + 1))


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["keys", "kty", "n", "e", "alg", "kid", "use", "crv"]), inner, max_size=5),
).map(lambda value: json.dumps({"keys": [value]}).encode()))  # fmt: skip
def test_nothing_else_comes_of_any_text(data):
    try:
        found = public_keys(data)
    except MalformedKeysError:
        return
    assert all(key.algorithms for key in found)
