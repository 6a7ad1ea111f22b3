"""The certificate and the private key of the gateway's port: read from the user's files, checked, made a TLS context.

Each refusal names the setting, the file and the remedy. It never repeats what is in a file.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import ssl
import stat
from dataclasses import dataclass, field
from typing import Any

from divisions.certificates.pinned import pinning_context
from divisions.errors import SettingsError
from divisions.secret_file import check_mode

CERTIFICATE, KEY = "DIVISIONS_TLS_CERT", "DIVISIONS_TLS_KEY"
MAX_BYTES = 1 << 20
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: with forward secrecy and authenticated encryption only. TLS 1.3 has no others."""
_END = b"-----END CERTIFICATE-----"
_KEY_MARK = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class PortPair:
    """A certificate with those of its issuers, and its key, all PEM, with the paths that they came from."""

    certificate_path: str
    key_path: str
    certificates: bytes
    key: bytes = field(repr=False)

    @property
    def stamp(self) -> bytes:
        """Changes with any byte of both files."""
        return hashlib.sha256(self.certificates + b"\0" + self.key).digest()

    @property
    def leaf(self) -> bytes:
        """The certificate of the port itself: the first one of the file."""
        begin = self.certificates.find(b"-----BEGIN CERTIFICATE-----")
        end = self.certificates.find(_END)
        return self.certificates[begin : end + len(_END)] + b"\n" if 0 <= begin < end else b""


def read_pair(certificate_path: str, key_path: str) -> PortPair:
    """Reads both files.

    Raises:
        SettingsError: one cannot be read, is not what it should be, or others may read the key.
    """
    certificates, _ = _read(CERTIFICATE, certificate_path)
    key, mode = _read(KEY, key_path)
    pair = PortPair(certificate_path, key_path, certificates, key)
    if not pair.leaf and _KEY_MARK in certificates and _END in key:
        raise SettingsError(
            f"{CERTIFICATE} and {KEY} are the other way round: {certificate_path} has the private key, {key_path} the "
            "certificate",
            remedy="exchange the two paths",
        )
    if not pair.leaf:
        raise SettingsError(
            f"{CERTIFICATE}: {certificate_path} has no certificate",
            remedy="write the certificate as PEM, followed by those of its issuers",
        )
    if _KEY_MARK not in key:
        raise SettingsError(f"{KEY}: {key_path} has no private key", remedy="write the key as PEM")
    check_mode(KEY, key_path, mode)
    return pair


def _read(setting: str, path: str) -> tuple[bytes, int]:
    """What is in a file, and its mode."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for its writer
    except OSError as error:
        raise SettingsError(
            f"{setting}: {path} cannot be read: {error.strerror}", remedy="name a file that this user can read"
        ) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise SettingsError(f"{setting}: {path} is no file of at most 1 MiB", remedy="name a PEM file")
        return os.read(descriptor, MAX_BYTES), found.st_mode
    except OSError as error:
        raise SettingsError(
            f"{setting}: {path} cannot be read: {error.strerror}", remedy="repeat it; check the disk"
        ) from None
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class PortCredentials:
    """A pair that was tried: its TLS context, and what its certificate says. Times are seconds since 1970."""

    pair: PortPair
    context: ssl.SSLContext
    begin_s: float
    end_s: float
    names: tuple[str, ...]
    """Host names and addresses that it is for."""

    def check_dates(self, now_s: float) -> None:
        """Raises: SettingsError: the certificate is not valid now."""
        if self.begin_s <= now_s <= self.end_s:
            return
        what, at_s, remedy = "has expired at", self.end_s, "renew it"
        if now_s < self.begin_s:
            what, at_s, remedy = "is valid only from", self.begin_s, "check this machine's clock"
        moment = dt.datetime.fromtimestamp(at_s, dt.UTC)
        raise SettingsError(
            f"{CERTIFICATE}: the certificate in {self.pair.certificate_path} {what} {moment:%Y-%m-%d %H:%M} UTC",
            remedy=remedy,
        )


def examine(pair: PortPair) -> PortCredentials:
    """Makes the context of a pair, and tries it by a handshake in memory.

    Raises:
        SettingsError: the key is encrypted, or not the certificate's; or one of them is damaged, or for another use.
    """
    context = _context(pair)
    try:
        peer = _tried(context, pair.leaf)
    except (ssl.SSLError, ValueError) as error:
        raise _refusal(pair, error) from None
    names = tuple(str(name) for _, name in peer.get("subjectAltName", ()))
    begin_s, end_s = (float(ssl.cert_time_to_seconds(peer[each])) for each in ("notBefore", "notAfter"))
    return PortCredentials(pair, context, begin_s, end_s, names)


def usable_pair(certificate_path: str, key_path: str, now_s: float) -> PortCredentials:
    """Reads a pair and checks all of it; for commands that start a cluster.

    Raises:
        SettingsError: a gateway could not use it.
    """
    found = examine(read_pair(certificate_path, key_path))
    found.check_dates(now_s)
    return found


def _context(pair: PortPair) -> ssl.SSLContext:
    """For the gateway's port: TLS 1.2 and 1.3, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a caller could have us compute for nothing
    context.set_alpn_protocols(["http/1.1"])
    # From memory: the files may change between our look at them and a second reading.
    descriptors = [_in_memory(pair.certificates), _in_memory(pair.key)]
    certificates, key = (f"/proc/self/fd/{descriptor}" for descriptor in descriptors)
    try:
        context.load_cert_chain(certificates, key, _refuse_encrypted)
    except _EncryptedKeyError:
        raise SettingsError(
            f"{KEY}: the key in {pair.key_path} is encrypted, and nobody is there to type its passphrase",
            remedy=f"write it without: openssl pkey -in {pair.key_path} -out FILE",
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _refusal(pair, error) from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return context


def _tried(context: ssl.SSLContext, leaf: bytes) -> dict[str, Any]:
    """What a client that trusts nothing but ``leaf`` reads in the certificate, after a whole handshake."""
    trusting = pinning_context()
    trusting.load_verify_locations(cadata=leaf.decode("ascii"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there)
    ends = [client, context.wrap_bio(there, back, server_side=True)]
    for _ in range(4):  # flights of a handshake
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)
    return dict(client.getpeercert() or {})


class _EncryptedKeyError(Exception):
    pass


def _refuse_encrypted() -> str:
    raise _EncryptedKeyError


def _in_memory(data: bytes) -> int:
    """Python reads certificates and keys from files only."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    return descriptor


def _refusal(pair: PortPair, error: Exception) -> SettingsError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
    else:
        reason = getattr(error, "reason", None) or type(error).__name__
    if reason == "KEY_VALUES_MISMATCH":
        return SettingsError(
            f"{KEY}: the key in {pair.key_path} does not belong to the first certificate in {pair.certificate_path}",
            remedy="name the two that were issued together, the port's own certificate before those of its issuers",
        )
    return SettingsError(
        f"the certificate in {pair.certificate_path} and the key in {pair.key_path} cannot be used: {reason}",
        remedy=f"write both as PEM, and set {CERTIFICATE} and {KEY}",
    )
