"""Statements: of the right type, about the right bundle, or refused."""

import json

import msgspec
import pytest

from divisions.attestation.statement import Statement, Subject, read_statement, statement_of
from divisions.errors import BundleError

SHA256 = "a" * 64
PAYLOAD = statement_of("m/aaaa", SHA256, "https://example/type", {"b": 1, "a": [2]})


def test_it_is_as_the_standard_writes_it():
    assert json.loads(PAYLOAD) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m/aaaa/manifest.json", "digest": {"sha256": SHA256}}],
        "predicateType": "https://example/type",
        "predicate": {"a": [2], "b": 1},
    }


def test_it_is_read_back():
    found = read_statement(PAYLOAD, SHA256, "https://example/type", "it")
    assert found.predicate == {"b": 1, "a": [2]}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "holds no in-toto statement"),
        (b"\xff", "holds no in-toto statement"),
        (b'{"_type": "https://in-toto.io/Statement/v1"}', "holds no in-toto statement"),
        (statement_of("m/a", SHA256, "https://example/other", {}), "a statement of type 'https://example/other'"),
        (statement_of("m/a", "b" * 64, "https://example/type", {}), "is about another bundle"),
        (msgspec.json.encode(Statement((), "https://example/type", {})), "is about another bundle"),
        (
            msgspec.json.encode(Statement((Subject("m", {"sha512": SHA256}),), "https://example/type", {})),
            "is about another bundle",
        ),
        (PAYLOAD.replace(b"Statement/v1", b"Statement/v2"), "a statement of type"),
    ],
)
def test_any_other_is_refused(payload, message):
    with pytest.raises(BundleError, match=f"it .*{message}"):
        read_statement(payload, SHA256, "https://example/type", "it")
