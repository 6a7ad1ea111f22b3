"""Names of repositories and digests."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import SettingsError
from divisions.oci.reference import Repository, digest_of, is_digest, is_loopback, parse_reference, parse_repository


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oci://registry.example", Repository("https", "registry.example", "")),
        ("oci://registry.example:5000/a/b-c/d__e/", Repository("https", "registry.example:5000", "a/b-c/d__e")),
        ("oci+http://127.0.0.1:5000/a", Repository("http", "127.0.0.1:5000", "a")),
        ("oci://[::1]:5000/a", Repository("https", "[::1]:5000", "a")),
    ],
)
def test_a_setting_names_a_repository(text, found):
    assert parse_repository(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "oci:",
            "oci://",
            "oci:///a",
            "oci://host/A",
            "oci://host/a//b",
            "oci://host/a:tag",
            "oci://host/a@sha256:0",
        ),
        *(
            "oci://user:secret@host/a",
            "oci://host:port/a",
            "oci://host/a?x",
            "oci://host/-a",
            "https://host/a",
            "OCI://h/a",
        ),
    ],
)
def test_anything_else_is_refused_with_the_remedy(text):
    with pytest.raises(SettingsError, match="write oci://host:port/path"):
        parse_repository(text)


@given(st.text())
def test_any_text_is_a_repository_or_refused(text):
    for candidate in (text, f"oci://{text}"):
        try:
            found = parse_repository(candidate)
        except SettingsError:
            continue
        assert found.origin + "/" + found.path == candidate.replace("oci+http", "http").replace(
            "oci", "https", 1
        ).rstrip("/") + ("" if found.path else "/")


def test_models_are_repositories_below_it():
    root = parse_repository("oci://host/team")
    assert str(root.below("churn-predictor")) == "host/team/churn-predictor"
    assert parse_repository("oci://host").below("m").path == "m"
    for name in ("a..b", "a-", "A", "a/../b", ""):
        with pytest.raises(SettingsError, match="takes no repository named"):
            root.below(name)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9:1", True), ("localhost:5", True), ("[::1]:5", True), ("10.0.0.1", False),
     ("localhost.example", False), ("127.0.0.1.example", False), ("[::2]", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_is_loopback(host, expected):
    assert is_loopback(host) is expected


def test_a_digest_is_the_sha_256_in_hexadecimal():
    assert digest_of(b"x") == "sha256:" + hashlib.sha256(b"x").hexdigest()
    assert is_digest(digest_of(b"x"))
    for text in ("sha256:", "sha256:" + "A" * 64, "sha512:" + "0" * 64, digest_of(b"") + "0", digest_of(b"") + "\n"):
        assert not is_digest(text)


PINNED = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("oci://registry.example/a/b:3.2", "registry.example", "a/b", "3.2", ""),
        ("oci://registry.example:5000/a", "registry.example:5000", "a", "", ""),
        (f"oci+http://[::1]:5000/a:t@{PINNED}", "[::1]:5000", "a", "t", PINNED),
        (f"oci://registry.example/a@{PINNED}", "registry.example", "a", "", PINNED),
    ],
)
def test_a_reference_is_a_repository_with_a_tag_a_digest_or_neither(text, host, path, tag, digest):
    found = parse_reference(text)
    assert (found.repository.host, found.repository.path, found.tag, found.digest) == (host, path, tag, digest)
    assert str(found) == text.partition("://")[2]


@pytest.mark.parametrize(
    "text",
    ["", "oci://registry.example", "oci://registry.example:5000", "registry.example/a:1", "oci://h/a:", "oci://h/A:1",
     "oci://h/a@", "oci://h/a@sha256:12", "oci://h/a:b:c", "oci://user:secret@h/a", f"oci://h/a:-@{PINNED}"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_how_to_write_one(text):
    with pytest.raises(SettingsError, match="write oci://"):
        parse_reference(text)
