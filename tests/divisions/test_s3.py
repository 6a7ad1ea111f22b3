"""Who the client of S3 says that it is, and where it looks."""

import pyarrow.fs
import pytest

from divisions.errors import UnreachableInputError
from divisions.s3 import s3_filesystem
from divisions.settings import S3Settings

KEYS = {"access_key": "a", "secret_key": "s"}
SERVER = {"endpoint_url": "http://127.0.0.1:9000"}


@pytest.fixture
def asked(monkeypatch):
    """What Arrow's client is made with."""
    found: dict[str, object] = {}
    monkeypatch.setattr(pyarrow.fs, "S3FileSystem", lambda **kinds: found.update(kinds))
    return found


@pytest.mark.parametrize(
    ("settings", "access_key", "is_anonymous"),
    [
        ({}, None, False),
        (KEYS, "a", False),
        ({"access_key": "a"}, None, False),
        ({"secret_key": "s"}, None, False),
        (SERVER, None, True),
        (SERVER | KEYS, "a", False),
        (SERVER | {"access_key": "a"}, None, True),
    ],
)
def test_only_whole_credentials_are_used_and_only_a_server_of_ones_own_is_asked_without(
    asked, settings, access_key, is_anonymous
):
    s3_filesystem(S3Settings(**settings))
    assert (asked["access_key"], asked["anonymous"]) == (access_key, is_anonymous)
    assert asked["secret_key"] == ("s" if access_key else None)


def test_the_region_and_the_endpoint_are_those_of_the_settings(asked):
    s3_filesystem(S3Settings())
    assert (asked["region"], asked["endpoint_override"], asked["scheme"]) == ("us-east-1", None, None)
    s3_filesystem(S3Settings(region="eu-west-1", session_token="t", **SERVER, **KEYS))
    assert (asked["region"], asked["endpoint_override"], asked["scheme"]) == ("eu-west-1", "127.0.0.1:9000", "http")
    assert asked["session_token"] == "t"


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://host", "http://", "x"])
def test_an_endpoint_that_is_no_url_is_told(url):
    with pytest.raises(UnreachableInputError, match="is not a URL"):
        s3_filesystem(S3Settings(endpoint_url=url))
