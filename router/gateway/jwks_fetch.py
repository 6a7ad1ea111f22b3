"""Reads a set of keys over HTTP: bounded in time and size, without redirects, and only from the address of the file.

A client is made for each reading, once in minutes: so an authority, or a token of Kubernetes, that was renewed in its
file counts from then on.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from divisions.access.issuers import Issuer
from divisions.access.jwks import MAX_BYTES
from divisions.errors import reason_of

if TYPE_CHECKING:  # only gateways with issuers load it
    import httpx

TIMEOUT_S: Final = 5.0
MAX_TOKEN_BYTES: Final = 16_384


class KeysUnreadError(Exception):
    """The keys could not be read. The text is for the log, and has nothing that the issuer has sent."""


class JwksFetch:
    """See the module.

    Args:
        issuer: where its keys are.
        timeout_s: how long one reading may take, from its begin to its last byte.
    """

    def __init__(self, issuer: Issuer, timeout_s: float = TIMEOUT_S) -> None:
        self._issuer = issuer
        self._timeout_s = timeout_s

    async def __call__(self) -> bytes:
        """Raises:
        KeysUnreadError: there are none, or not in time.
        """
        import httpx

        try:
            async with asyncio.timeout(self._timeout_s):
                context = await asyncio.to_thread(_context, self._issuer.ca_file)
                headers = {"accept": "application/json", "accept-encoding": "identity"}
                if self._issuer.token_file:
                    token = await asyncio.to_thread(token_of, self._issuer.token_file)
                    headers["authorization"] = f"Bearer {token}"
                async with httpx.AsyncClient(verify=context, timeout=self._timeout_s) as client:
                    return await _read(client, self._issuer.jwks, headers)
        except TimeoutError:
            raise KeysUnreadError(f"no complete answer in {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise KeysUnreadError(type(error).__name__) from None


async def _read(client: object, url: str, headers: dict[str, str]) -> bytes:
    import httpx

    assert isinstance(client, httpx.AsyncClient)
    async with client.stream("GET", url, headers=headers) as response:
        try:
            return await _body(response)
        finally:
            await response.aclose()
            # A response and its stream refer to each other, and so hold the TLS context, 0.8 MB, until the collector
            # runs. A gateway's runs after 50,000 objects, which are hundreds of readings.
            response.stream = httpx.ByteStream(b"")


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != 200:
        raise KeysUnreadError(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise KeysUnreadError("the answer is compressed, which was not asked for")
    data = b""
    async for part in response.aiter_raw():
        data += part
        if len(data) > MAX_BYTES:
            raise KeysUnreadError(f"the answer has more than {MAX_BYTES:,} bytes")
    return data


def _context(ca_file: str) -> ssl.SSLContext:
    import httpx

    return authorities_of(ca_file) if ca_file else httpx.create_ssl_context()


def authorities_of(ca_file: str) -> ssl.SSLContext:
    """Raises:
    KeysUnreadError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # of which one is ssl.SSLError
        why = "it has no certificate in PEM" if isinstance(error, ssl.SSLError) else reason_of(error)
        raise KeysUnreadError(f"`ca_file`, {ca_file}, cannot be used: {why}") from None


def token_of(token_file: str) -> str:
    """Raises:
    KeysUnreadError: the file cannot be used.
    """
    try:
        with Path(token_file).open("rb") as file:
            text = file.read(MAX_TOKEN_BYTES + 1).strip()
    except OSError as error:
        raise KeysUnreadError(f"`token_file`, {token_file}, cannot be used: {reason_of(error)}") from None
    if not text or len(text) > MAX_TOKEN_BYTES or not text.isascii() or not text.decode().isprintable():
        raise KeysUnreadError(f"`token_file`, {token_file}, cannot be used: it has no token")
    return text.decode()
