"""How a connection begins: TLS, user, database, and whether the server answers at all. Pure but for reading files."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from divisions.errors import OnlineStoreError
from divisions.redis_store.resp import ErrorReply, Reply, encode
from divisions.store_url import RedisAddress

_REMEDIES = {
    "NOAUTH": "name user and password in DIVISIONS_ONLINE_STORE",
    "WRONGPASS": "correct user and password in DIVISIONS_ONLINE_STORE",
    "ERR": "correct DIVISIONS_ONLINE_STORE: database and password must be those of the server",
    "NOPERM": "let this user read and write keys that begin with divisions:online:",
    "LOADING": "it reads its data and answers soon",
    "MASTERDOWN": "it has lost its master",
    "OOM": "give it more memory; a fill needs room for the rows twice",
    "READONLY": "name the master in DIVISIONS_ONLINE_STORE",
    "MOVED": "use a server without cluster mode",
    "MISCONF": "mend its disk: it cannot save",
    "NOREPLICAS": "mend its replicas",
    "STAGELOST": "the server removed rows before they were all there: give it more memory, and set noeviction",
    "LOCKLOST": "this writer was stopped for too long; run it again",
}


def handshake(address: RedisAddress) -> list[bytes]:
    """The commands that a connection begins with. Each has one reply, and none may be an error."""
    commands = []
    if address.password:
        commands.append(
            encode([b"AUTH", *([address.user.encode()] if address.user else []), address.password.encode()])
        )
    if address.database:
        commands.append(encode([b"SELECT", b"%d" % address.database]))
    return [*commands, encode([b"PING"])]


def check_handshake(address: RedisAddress, replies: Sequence[Reply]) -> None:
    """Looks at the replies.

    Raises:
        OnlineStoreError: the server refuses us.
    """
    for reply in replies:
        if isinstance(reply, ErrorReply):
            raise refusal(address, "opened", reply)


def refusal(address: RedisAddress, verb: str, reply: ErrorReply) -> OnlineStoreError:
    """What the server said, and what helps."""
    text = "".join(character if character.isprintable() else " " for character in reply)[:200]
    return OnlineStoreError(
        f"the online store {address} cannot be {verb}: {text}",
        remedy=_REMEDIES.get(reply.code, "the log of Redis or Valkey may say more"),
    )


def unreachable(address: RedisAddress, verb: str, error: BaseException) -> OnlineStoreError:
    """Nothing was said."""
    why = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return OnlineStoreError(
        f"the online store {address} cannot be {verb}: {why}",
        remedy="check that Redis or Valkey runs, and the address in DIVISIONS_ONLINE_STORE",
    )


def tls_context(address: RedisAddress) -> ssl.SSLContext | None:
    """What TLS checks and shows; None without TLS. The server's name and certificate are always checked.

    Raises:
        OnlineStoreError: a file cannot be read.
    """
    if not address.has_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=address.ca_file or None)
        if address.certificate_file:
            context.load_cert_chain(address.certificate_file, address.key_file)
    except (OSError, ssl.SSLError) as error:
        raise OnlineStoreError(
            f"the certificates of the online store {address} cannot be read: {error}",
            remedy="correct ssl_ca_certs, ssl_certfile and ssl_keyfile in DIVISIONS_ONLINE_STORE",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
