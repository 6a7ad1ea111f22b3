"""The proof in a list: only its key makes it, for one statement about one manifest."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.attestation.keys import new_signing_key
from divisions.attestation.proof import Listed, read_proof, write_proof

KEY, OTHER = new_signing_key(), new_signing_key()
LISTED = Listed("sha256:" + "a" * 64, "provenance.0123456789abcdef", "sha256:" + "b" * 64, 1_234)
TEXT = write_proof(LISTED, KEY)


def test_it_names_the_statement_to_who_has_the_key():
    assert read_proof(TEXT, LISTED.subject, LISTED.name, KEY.public) == LISTED
    assert write_proof(LISTED, KEY) == TEXT
    assert read_proof(TEXT, LISTED.subject, LISTED.name, OTHER.public) is None


@pytest.mark.parametrize("field", ["subject", "name"])
def test_it_cannot_be_carried_to_another_manifest_or_name(field):
    moved = replace(LISTED, **{field: "sha256:" + "c" * 64})
    assert read_proof(TEXT, moved.subject, moved.name, KEY.public) is None


@given(st.integers(0, len(TEXT) - 1), st.characters(max_codepoint=0x2FF))
def test_no_character_of_it_can_be_changed(place, character):
    changed = TEXT[:place] + character + TEXT[place + 1 :]
    assert (read_proof(changed, LISTED.subject, LISTED.name, KEY.public) is not None) == (changed == TEXT)


def test_each_character_counts():
    """Base64 has bits that stand for nothing, and numbers may begin with 0."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for changed in [*(f"{TEXT[:-3]}{letter}==" for letter in letters), TEXT.replace(" 1234 ", " 01234 ")]:
        assert (read_proof(changed, LISTED.subject, LISTED.name, KEY.public) is not None) == (changed == TEXT)


@given(st.text())
def test_any_other_text_is_none(text):
    assert read_proof(text, LISTED.subject, LISTED.name, KEY.public) is None
