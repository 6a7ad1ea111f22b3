"""Addresses of shared stores: what is read from them, what is refused, and that no password is shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import SettingsError
from divisions.settings import Settings, environment_for_child, load_settings
from divisions.store_url import RedisAddress, parse_store_url

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(TEXTS, TEXTS, st.integers(1, 65_535), st.integers(0, 99_999), st.sampled_from(["redis", "rediss", "valkey"]))
def test_what_is_written_is_read(user, password, port, database, scheme):
    url = f"{scheme}://{quote(user, '')}:{quote(password, '')}@features.example:{port}/{database}"
    address = parse_store_url(url)
    assert (address.user, address.password, address.port, address.database) == (user, password, port, database)
    assert address.has_tls == (scheme == "rediss")
    assert str(address) == f"{'rediss' if address.has_tls else 'redis'}://features.example:{port}/{database}"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", RedisAddress("h")),
        ("redis://h/", RedisAddress("h")),
        ("redis://:p@[::1]:7/2", RedisAddress("::1", 7, 2, password="p")),
        (
            "rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k",
            RedisAddress("h", has_tls=True, ca_file="/ca", certificate_file="/c", key_file="/k"),
        ),
    ],
)
def test_parts_may_be_left_out(url, address):
    assert parse_store_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "s3cret", "http://s3cret@h", "redis://", "redis://:s3cret@", "redis://u:s3/cret@h:6379/0", "redis://u:s3#cret@h",
        "redis://u:s3?cret@h", "redis://u:s3cret@h:port", "redis://u:s3cret@h:70000", "redis://u:s3cret@h:0",
        "redis://u:s3cret@h/x", "redis://u:s3cret@h/-1", "redis://u:s3cret@h/100000", "redis://u:s3cret@h/0?db=1",
        "rediss://u:s3cret@h/0?db=1", "redis://u:s3cret@[h/0",
        "redis://u:s3cret@h?ssl_ca_certs=/ca", "rediss://u:s3cret@h?ssl_certfile=/ca", "rediss://u:s3cret@h?s3cret",
        "rediss://u:s3cret@h?ssl_ca_certs=/ca&s3cret",
        "redis://u:s3cret@h/0#x", "unix:///s3cret", "redis://u:s3cret@h/²",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_text(url):
    with pytest.raises(SettingsError, match="DIVISIONS_ONLINE_STORE cannot be used: it") as caught:
        load_settings({"DIVISIONS_ONLINE_STORE": url})
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_password_is_in_no_text_of_the_settings_but_reaches_child_processes(tmp_path):
    url = "redis://app:s3cret@h/1"
    settings = Settings(home=tmp_path, online_store=url)
    assert "s3cret" not in repr(settings)
    assert repr(parse_store_url(url)).count("app") == repr(parse_store_url(url)).count("s3cret") == 0
    assert load_settings(environment_for_child(settings)).online_store == url
