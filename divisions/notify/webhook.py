"""Sends one request to the server of ``DIVISIONS_WEBHOOK_FILE``.

The URL is a secret: it is read from its file for each request, and only its host is ever told. ``http.client`` logs
nothing, takes no proxy from the environment, and follows no redirect.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from divisions.errors import SettingsError
from divisions.notice import Notice
from divisions.notify.payload import Kind, body_of
from divisions.notify.retry import Reply, retry_after_s
from divisions.secret_file import check_mode

ANSWER_S: Final = 10.0
"""How long connecting may take, and then the request as a whole."""
_MOST_BYTES: Final = 8_192
_SETTING: Final = "DIVISIONS_WEBHOOK_FILE"


class Webhook:
    """See the module.

    Args:
        file: has the URL in its first line.
        kind: whose JSON the server takes.
        wall_s: the time, for a ``Retry-After`` that is a date.
        answer_s: how long one request may take.
    """

    def __init__(self, file: Path, kind: Kind, wall_s: Callable[[], float], answer_s: float = ANSWER_S) -> None:
        self._file = file
        self._kind = kind
        self._wall_s = wall_s
        self._answer_s = answer_s

    def address(self) -> SplitResult:
        """Where to.

        Raises:
            SettingsError: the file cannot be read, or has no URL.
        """
        try:
            with self._file.open("rb") as file:
                text = (file.read(_MOST_BYTES).decode().split() or [""])[0]
        except OSError as error:
            raise SettingsError(
                f"{self._file} of {_SETTING} cannot be read: {error.strerror}", remedy=_REMEDY
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"{self._file} of {_SETTING} has no URL", remedy=_REMEDY) from None
        try:
            address = urlsplit(text)
            is_good = address.scheme in {"http", "https"} and bool(address.hostname) and (address.port or 1) > 0
        except ValueError:
            is_good = False
        if not is_good or not text.isascii() or not text.isprintable() or "@" in address.netloc:
            raise SettingsError(f"{self._file} of {_SETTING} has no URL such as https://HOST/PATH", remedy=_REMEDY)
        return address

    def check(self) -> None:
        """What a person should know before the first notice.

        Raises:
            SettingsError: what `address` raises, or others can read the file, which is no reason to keep a notice back.
        """
        self.address()
        with contextlib.suppress(OSError):  # gone since
            check_mode(_SETTING, self._file, self._file.stat().st_mode)

    def host(self) -> str:
        """The server's name, for people; it raises what `address` does."""
        return self.address().hostname or ""

    def send(self, notice: Notice) -> Reply:
        """Sends it once. Whatever goes wrong is in the reply."""
        try:
            address = self.address()
        except SettingsError as error:
            return Reply(0, fault=error.message)
        try:
            return self._sent(address, notice)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Reply(0, fault=f"{address.hostname}: {_reason(error)}")

    def _sent(self, address: SplitResult, notice: Notice) -> Reply:
        connection = self._connection(address)
        connection.connect()
        line = connection.sock  # http.client forgets it with the reply
        is_late = threading.Event()

        def end() -> None:
            """Ends a request whose server sends a byte now and then, which no timeout of a single read notices."""
            is_late.set()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)

        watch = threading.Timer(self._answer_s, end)
        watch.daemon = True
        watch.start()
        try:
            path = (address.path or "/") + (f"?{address.query}" if address.query else "")
            headers = {"Content-Type": "application/json", "User-Agent": "divisions", "Connection": "close"}
            connection.request("POST", path, body_of(notice, self._kind), headers)
            answer = connection.getresponse()
            wait_s = retry_after_s(answer.headers.get("Retry-After"), self._wall_s())
            fault = "" if 200 <= answer.status < 300 else f"{address.hostname} answered {answer.status}"
            return Reply(answer.status, wait_s, fault)
        except (OSError, http.client.HTTPException) as error:
            raise (TimeoutError() if is_late.is_set() else error) from None
        finally:
            watch.cancel()
            connection.close()

    def _connection(self, address: SplitResult) -> http.client.HTTPConnection:
        host = address.hostname or ""
        if address.scheme == "http":
            return http.client.HTTPConnection(host, address.port, timeout=self._answer_s)
        return http.client.HTTPSConnection(host, address.port, timeout=self._answer_s, context=_verifying())


_REMEDY: Final = "write the webhook's URL into it, and let the user of the cluster read it"


def _verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.get_ca_certs():  # an image without the system's authorities
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _reason(error: Exception) -> str:
    """Why a request failed, in words that have nothing of the URL."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError(verify_message=why):
            return f"its certificate is not trusted: {why}"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
            return "it has no TLS; its URL begins with http://"
        case socket.gaierror():
            return "there is no such host"
        case OSError(strerror=str(why)):
            return why
    return f"it does not answer as HTTP ({type(error).__name__})"
