"""TLS contexts of the data channel: TLS 1.3 only, both sides verified against the cluster's authority alone."""

from __future__ import annotations

import os
import ssl

from divisions.certificates.names import Credentials


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """For a replica: a peer must have a certificate for clients, from our authority.

    There are no session tickets. A resumed session would not look at the peer's certificate again.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """For a gateway: the peer must have a certificate for servers, from our authority, with the name that we dial."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)


def _context(protocol: ssl._SSLMethod, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The authority may be an intermediate one. It alone is trusted, not what its issuer signs elsewhere.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=credentials.authority.decode())
    _load_key(context, credentials)
    return context


def _load_key(context: ssl.SSLContext, credentials: Credentials) -> None:
    """Python reads a key from a file only. Ours is in memory, so the key never is on a disk."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, credentials.key + credentials.certificate)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
