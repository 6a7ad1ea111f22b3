"""A connection to a server that is played: what it sends first, and what happens when answers fail to come."""

from __future__ import annotations

import socket
import ssl

import pytest

from divisions.errors import OnlineStoreError
from divisions.redis_store.connection import Connection
from divisions.redis_store.handshake import tls_context
from divisions.redis_store.layout import pack_row
from divisions.redis_store.reader import RedisReader, filled_endpoints
from divisions.redis_store.resp import ReplyReader, encode
from divisions.store_url import RedisAddress

ADDRESS = RedisAddress("features.example", 7000)
PONG = b"+PONG\r\n"


class PlayedSocket:
    """Answers with chunks in turn, an exception among them is raised; at the end it closes."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = list(chunks)
        self.sent = b""
        self.options: list[tuple[int, int, int]] = []
        self.timeout_s = 0.0
        self.asked: tuple[tuple[str, int], float] | None = None
        self.is_closed = False

    def sendall(self, data: bytes) -> None:
        if self.is_closed:
            raise OSError("Bad file descriptor")
        self.sent += data

    def recv(self, _: int) -> bytes:
        if self.is_closed:
            raise OSError("Bad file descriptor")
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)

    def settimeout(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def close(self) -> None:
        self.is_closed = True

    @property
    def commands(self) -> list[object]:
        return ReplyReader().feed(self.sent)


@pytest.fixture
def network(monkeypatch):
    """The sockets that are given out in turn; each notes how it was asked for."""
    sockets, given = [], []

    def connect(address, timeout_s):
        played = sockets[len(given)]
        given.append(played)
        played.asked = (address, timeout_s)
        return played

    monkeypatch.setattr(socket, "create_connection", connect)
    return sockets


@pytest.mark.parametrize(
    ("address", "commands"),
    [
        (ADDRESS, [[b"PING"]]),
        (RedisAddress("h", database=2), [[b"SELECT", b"2"], [b"PING"]]),
        (RedisAddress("h", password="p"), [[b"AUTH", b"p"], [b"PING"]]),
        (RedisAddress("h", user="u", password="p"), [[b"AUTH", b"u", b"p"], [b"PING"]]),
    ],
)
def test_a_connection_begins_with_user_and_database(network, address, commands):
    network.append(PlayedSocket(b"+OK\r\n" * (len(commands) - 1) + PONG, b":1\r\n"))
    assert Connection(address, "read").call(b"DBSIZE") == 1
    assert network[0].commands == [*commands, [b"DBSIZE"]]


def test_a_server_has_five_seconds_to_be_reached_and_thirty_to_answer(network):
    network.append(PlayedSocket(PONG, b":1\r\n"))
    Connection(ADDRESS, "read").call(b"DBSIZE")
    assert network[0].asked == (("features.example", 7000), 5.0)
    assert network[0].timeout_s == 30.0
    assert network[0].options == [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ((b"-LOADING data\r\n",), "cannot be opened: LOADING data.*answers soon"),
        ((b"",), "cannot be read: the server closed the connection"),
        ((TimeoutError("timed out"),), "cannot be read: no answer in time"),
        ((b"HTTP/1.1 400 Bad Request\r\n",), "cannot be read: the server does not speak Redis' protocol"),
        ((PONG, b""), "cannot be read: the server closed the connection"),
        ((PONG, OSError()), "cannot be read: OSError.*check that Redis or Valkey runs"),
        ((PONG, b"garbage\r\n"), "cannot be read: the server does not speak Redis' protocol"),
    ],
)
def test_a_connection_that_failed_is_closed_and_the_next_command_opens_another(network, chunks, why):
    network += [PlayedSocket(*chunks), PlayedSocket(PONG, b":7\r\n")]
    connection = Connection(ADDRESS, "read")
    with pytest.raises(OnlineStoreError, match=rf"redis://features\.example:7000/0 {why}"):
        connection.call(b"DBSIZE")
    assert network[0].is_closed
    assert connection.call(b"DBSIZE") == 7


def test_replies_of_a_lost_connection_are_not_taken_for_those_of_the_next(network):
    network += [PlayedSocket(PONG, b":1\r\n:2\r\n", b""), PlayedSocket(PONG, b":7\r\n")]
    connection = Connection(ADDRESS, "read")
    with pytest.raises(OnlineStoreError):
        connection.pipeline([encode([b"A"])], 3)
    assert connection.call(b"DBSIZE") == 7


def test_a_refused_command_is_an_error_and_the_connection_stays(network):
    network.append(PlayedSocket(PONG, b"-ERR a\x1bb\r\n", b":1\r\n"))
    connection = Connection(ADDRESS, "written")
    with pytest.raises(OnlineStoreError, match=r"cannot be written: ERR a b\. correct"):
        connection.call(b"X")
    assert connection.call(b"DBSIZE") == 1


def test_of_a_long_refusal_two_hundred_characters_are_told(network):
    network.append(PlayedSocket(PONG, b"-ERR " + b"x" * 999 + b"\r\n"))
    with pytest.raises(OnlineStoreError, match=r"ERR x{196}[^x]"):
        Connection(ADDRESS, "written").call(b"X")


def test_to_settle_is_to_wait_for_what_is_due_and_no_more(network):
    network.append(PlayedSocket(PONG, b":1\r\n", b":2\r\n:3\r\n", b":4\r\n"))
    connection = Connection(ADDRESS, "written")
    connection.send([encode([b"A"])], 3)
    assert connection.receive(1) == [1]
    connection.settle()
    assert connection.call(b"B") == 4
    network[0].chunks = [b""]
    connection.send([encode([b"A"])], 1)
    connection.settle()
    assert network[0].is_closed, "a server that is gone has nothing left to do"


@pytest.mark.parametrize("reply", [b":1\r\n", b"*2\r\n$1\r\na\r\n:1\r\n"])
def test_endpoints_of_another_kind_are_told(network, reply):
    network.append(PlayedSocket(PONG, reply))
    with pytest.raises(OnlineStoreError, match="not of Divisions"):
        filled_endpoints(ADDRESS)
    assert network[0].is_closed


def test_endpoints_are_sorted(network):
    network.append(PlayedSocket(PONG, b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"))
    assert filled_endpoints(ADDRESS) == ("a", "b")


ONE, TWO = b"0" * 16, b"1" * 16


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def test_a_reader_asks_again_as_long_as_the_layers_change_but_not_for_ever(network):
    network.append(PlayedSocket(PONG, bulk(ONE), *[b"*1\r\n$-1\r\n:1\r\n" + bulk(each) for each in [TWO, ONE] * 9]))
    reader = RedisReader(ADDRESS, "churn")
    with pytest.raises(OnlineStoreError, match=r"redis://features\.example:7000/0 changes all the time.*try again"):
        reader.get("c-1")
    assert len(network[0].chunks) == 9, "ten times"
    reader.close()
    assert network[0].is_closed


def test_a_refused_look_up_names_the_server(network):
    network.append(PlayedSocket(PONG, b"-NOPERM no\r\n"))
    with pytest.raises(OnlineStoreError, match=r"redis://features\.example:7000/0 cannot be read: NOPERM"):
        RedisReader(ADDRESS, "churn").get("c-1")


def test_an_example_is_looked_for_in_every_part_of_every_layer(network):
    row = bulk(pack_row(b"{}", 1.0))
    empty, found = b"*2\r\n%b*0\r\n", b"*2\r\n%b*2\r\n%b%b" % (bulk(b"0"), bulk(b"c-1"), row)
    network.append(
        PlayedSocket(
            PONG,
            bulk(ONE + b" " + TWO),
            empty % bulk(b"17"),
            empty % bulk(b"0"),
            found,
            bulk(TWO),
            b"*1\r\n" + row + b":1\r\n" + bulk(TWO),
        )
    )
    assert RedisReader(ADDRESS, "churn").first() == ("c-1", b"{}")
    scans = [(each[1][-16:], each[2]) for each in network[0].commands if each[0] == b"HSCAN"]
    assert scans == [(ONE, b"0"), (ONE, b"17"), (TWO, b"0")]


def test_without_a_row_there_is_no_example(network):
    network.append(PlayedSocket(PONG, bulk(ONE), b"*2\r\n%b*0\r\n" % bulk(b"0")))
    assert RedisReader(ADDRESS, "churn").first() is None


def test_tls_is_that_of_the_address(tmp_path):
    assert tls_context(ADDRESS) is None
    context = tls_context(RedisAddress("h", has_tls=True))
    assert (context.minimum_version, context.check_hostname) == (ssl.TLSVersion.TLSv1_2, True)
    absent = str(tmp_path / "absent")
    for files in ({"ca_file": absent}, {"certificate_file": absent, "key_file": absent}):
        with pytest.raises(OnlineStoreError, match=r"the certificates of .* cannot be read.*correct ssl_ca_certs"):
            tls_context(RedisAddress("h", has_tls=True, **files))
