"""How processes of this machine know their own gateways: by the very certificate that these serve.

Its names are for the callers outside. A command of the same home reaches the gateway at 127.0.0.1, which no authority
certifies. So each gateway notes its certificate in the home, and commands trust that one and no other, whatever its
names and dates. The one before stays in the file: another gateway of the node may still serve it.
"""

from __future__ import annotations

import ssl
from pathlib import Path

SERVED = "gateway.pem"
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which `ssl` does not name."""
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def with_served(known: bytes, leaf: bytes) -> bytes:
    """The file's content when ``leaf`` is served: it comes first, and the one that was first before follows."""
    before = [_BEGIN + part for part in known.split(_BEGIN)[1:]]
    return known if before[:1] == [leaf] else b"".join([leaf, *[each for each in before if each != leaf][:1]])


def pinning_context() -> ssl.SSLContext:
    """A client's context that trusts nothing yet, and will trust certificates, whatever their names and dates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # one certificate is trusted, not what an authority says about a name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


def pinned_context(home: Path) -> ssl.SSLContext | None:
    """Trusts what this home's gateways serve, and nothing else; None if they have noted nothing."""
    context = pinning_context()
    return context if trust_served(context, home) else None


def trust_served(context: ssl.SSLContext, home: Path) -> bool:
    """Has a context trust what is served now, too; returns whether there is anything."""
    try:
        context.load_verify_locations(cadata=(home / SERVED).read_text("ascii"))
    except (OSError, ValueError):
        return False
    return True
