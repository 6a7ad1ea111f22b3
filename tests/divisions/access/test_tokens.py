"""Tokens: what one looks like, what is kept of it, and how the list changes."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.access import tokens
from divisions.access.roles import Role
from divisions.access.tokens import AccessList
from divisions.errors import ConflictError, InvalidCommandError, UnknownPrincipalError

DAY_S = 86_400.0


def some(seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(tokens.random_bytes_needed())


NOBODY = AccessList()


def created(known=NOBODY, name="ci", role=Role.DEPLOYER, endpoints=(), days=90.0, now_s=1_000.0, seed=0):
    return tokens.create(known, name, role, endpoints, days, by="admin", now_s=now_s, randomness=some(seed))


def proven(known: AccessList, token: str) -> list[str]:
    """The names that a token proves."""
    parts = tokens.split(token.encode())
    assert parts is not None
    return [each.name for each in known.tokens if each.token_id == parts[0] and tokens.holds(each, parts[1])]


def test_a_token_proves_its_name_and_nothing_of_it_is_kept():
    known, token = created(endpoints=("churn",))
    (record,) = known.tokens
    assert proven(known, token) == ["ci"]
    assert (record.role, record.endpoints, record.created_by) == (Role.DEPLOYER, ("churn",), "admin")
    assert record.expires_s - record.created_s == 90 * DAY_S
    assert record.principal.token_id == record.token_id
    secret = token.rpartition("_")[2] if token.count("_") == 2 else token[13:]
    kept = msgspec.json.encode(known)
    assert secret.encode() not in kept
    assert token.encode() not in kept


@given(st.integers(0, 42), st.sampled_from("ABab09-_"))
def test_no_other_secret_is_taken(position, character):
    known, token = created()
    start = len(token) - 43
    changed = token[: start + position] + character + token[start + position + 1 :]
    # The last character carries two bits of padding; the hash is of the text, so it must be the very same text.
    assert (proven(known, changed) == ["ci"]) is (changed == token)


def test_two_tokens_of_equal_secrets_have_different_hashes():
    assert tokens.digest_of(b"x" * 43, b"a" * 16) != tokens.digest_of(b"x" * 43, b"b" * 16)


def test_no_record_is_proven_by_anything():
    assert not tokens.holds(None, b"x" * 43)
    assert not tokens.holds(None, b"")


@pytest.mark.parametrize("text", [b"", b"dvn_", b"secret", b"dvn_aaaaaaaa_" + b"x" * 42, b"dvn_AAAAAAAA_" + b"x" * 43,
                                  b"dvn_aaaaaaaa_" + b"x" * 43 + b"\n", b"\xff" * 56])  # fmt: skip
def test_what_is_no_token_is_told_by_its_form(text):
    assert tokens.split(text) is None


def test_a_name_has_one_token_until_it_expires():
    known, _ = created()
    with pytest.raises(ConflictError, match="ci has a token"):
        created(known, seed=1)
    later, token = created(known, now_s=1_000.0 + 90 * DAY_S, seed=1)
    assert proven(later, token) == ["ci"]
    assert len(later.tokens) == 1


@pytest.mark.parametrize("change", [{"name": "admin"}, {"name": "Ann"}, {"name": "../x"}, {"name": ""},
                                    {"endpoints": ("..",)}, {"endpoints": ("churn", "A")}, {"days": 0.0},
                                    {"days": -1.0}, {"days": 3_651.0}, {"days": float("nan")}])  # fmt: skip
def test_what_makes_no_sense_is_refused(change):
    with pytest.raises(InvalidCommandError):
        created(**change)


def test_there_are_at_most_so_many():
    known, _ = created()
    full = msgspec.structs.replace(known, tokens=known.tokens * tokens.MAX_TOKENS)
    with pytest.raises(ConflictError, match="revoke"):
        created(full, name="other", seed=1)


def test_a_rotated_token_ends_and_its_successor_has_the_same_rights():
    known, old = created(endpoints=("churn",), days=30.0)
    known, new = tokens.rotate(known, "ci", by="ann", now_s=5_000.0, randomness=some(1))
    assert proven(known, new) == ["ci"]
    assert proven(known, old) == []
    (record,) = known.tokens
    assert (record.role, record.endpoints, record.created_by) == (Role.DEPLOYER, ("churn",), "ann")
    assert record.expires_s == 5_000.0 + 30 * DAY_S


def test_a_revoked_token_is_gone_and_others_stay():
    known, old = created()
    known, other = created(known, name="app", role=Role.PREDICTOR, seed=1)
    known = tokens.revoke(known, "ci")
    assert proven(known, old) == []
    assert proven(known, other) == ["app"]
    with pytest.raises(UnknownPrincipalError):
        tokens.revoke(known, "ci")
    with pytest.raises(UnknownPrincipalError):
        tokens.rotate(known, "ci", by="ann", now_s=0.0, randomness=some())


def test_each_change_of_rights_is_a_newer_list():
    first, _ = created()
    second = tokens.revoke(first, "ci")
    assert second.is_newer_than(first)
    assert not first.is_newer_than(second)
    assert not first.is_newer_than(first)
    assert msgspec.structs.replace(first, lineage="other").is_newer_than(second)
    assert len({first.stamp, second.stamp, AccessList().stamp}) == 3
