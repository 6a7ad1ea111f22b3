"""Commands know their own gateway by the certificate that it has noted, and by nothing else."""

from __future__ import annotations

import contextlib
import ssl

import pytest

from divisions.certificates.pinned import SERVED, pinned_context, trust_served, with_served
from divisions.certificates.port_pair import examine, read_pair
from tests.port_certificates import write_pair


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


def leaf(paths: tuple[str, str]) -> bytes:
    return read_pair(*paths).leaf


def test_the_file_has_what_is_served_and_the_one_before(tmp_path):
    leaves = [leaf(write_pair(tmp_path, str(number))) for number in range(3)]
    content = b""
    for each in leaves:
        content = with_served(content, each)
        assert with_served(content, each) == content
    assert content == leaves[2] + leaves[1]
    assert with_served(content, leaves[1]) == leaves[1] + leaves[2]


def test_a_noted_certificate_is_trusted_whatever_its_name_and_dates_and_no_other_is(tmp_path):
    served = write_pair(tmp_path, "served", begins=-3, ends=-1, host="elsewhere.example")
    other = write_pair(tmp_path, "other")
    assert pinned_context(tmp_path) is None
    (tmp_path / SERVED).write_bytes(leaf(served))
    context = pinned_context(tmp_path)
    assert context is not None
    handshake(context, examine(read_pair(*served)).context)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, examine(read_pair(*other)).context)
    (tmp_path / SERVED).write_bytes(with_served((tmp_path / SERVED).read_bytes(), leaf(other)))
    assert trust_served(context, tmp_path)
    handshake(context, examine(read_pair(*other)).context)


def test_a_damaged_file_trusts_nothing(tmp_path):
    (tmp_path / SERVED).write_bytes(bytes(64))
    assert pinned_context(tmp_path) is None
