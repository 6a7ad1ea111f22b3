from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.http.hosts import canonical


@pytest.mark.parametrize(
    ("host", "same"),
    [
        (b"LOCALHOST", b"localhost"),
        (b"localhost:8000", b"localhost"),
        (b"localhost:", b"localhost"),
        (b"10.1.2.3:80", b"10.1.2.3"),
        (b"a_b.example", b"a_b.example"),
        (b"", b""),
        (b"[::1]", b"[::1]"),
        (b"[0:0:0:0:0:0:0:1]:8000", b"[::1]"),
        (b"0:0:0:0:0:0:0:1", b"[::1]"),
        (b"[FD00:0::1]", b"[fd00::1]"),
        (b"fd00::1", b"[fd00::1]"),
        (b"[::ffff:127.0.0.1]", b"[::ffff:7f00:1]"),
    ],
)
def test_two_ways_to_write_a_host_are_one(host, same):
    assert canonical(host) == same


@pytest.mark.parametrize(
    "host",
    [
        b"localhost:80@evil",
        b"[::1]evil",
        b"[::1]:80@evil",
        b"user@localhost",
        b"localhost/..",
        b"local host",
        b"localhost:eighty",
        b"localhost:800000",
        b"[::1",
        b"[]",
        b"[localhost]",
        b"[::1%25eth0]",
        b"::1]:80",
        b"1::2::3",
        b"\xc3\xa9.example",
        b"localhost,evil",
        b"localhost\t",
    ],
)
def test_a_malformed_host_is_none(host):
    assert canonical(host) is None


@given(st.ip_addresses(v=6), st.booleans())
def test_every_way_to_write_an_address_is_the_same_host(address, is_bracketed):
    forms = {address.compressed, address.exploded, address.exploded.upper()}
    texts = {f"[{form}]:8000" if is_bracketed else form for form in forms}
    assert {canonical(text.encode()) for text in texts} == {b"[%s]" % address.compressed.encode()}


@given(st.binary(max_size=40))
def test_what_is_taken_is_its_own_canonical_form(host):
    taken = canonical(host)
    if taken is not None:
        assert canonical(taken) == taken
        if taken.startswith(b"["):
            ipaddress.IPv6Address(taken[1:-1].decode())
