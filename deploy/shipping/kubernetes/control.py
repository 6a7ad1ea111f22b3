"""The way to the control API of a cluster: the target's URL, or a port that ``kubectl port-forward`` opens here.

The API server's own proxy would be simpler, but it takes the ``Authorization`` header for itself, and so the token of
our control API would never arrive.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.kubernetes.cluster_manifest import PORT
from deploy.kubernetes.values import Values
from divisions.environment import secret_of_environment
from divisions.errors import ClusterError, UsageError
from divisions.sdk.client import Client

_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_END_S = 5.0


class Control:
    """Opens its client when it is first asked for, and closes it at its own end.

    Args:
        url: of a gateway; empty for a forwarded port.
        context: of the kubeconfig; empty for the current one.
    """

    def __init__(self, url: str, context: str, values: Values, home: Path) -> None:
        self._url = url
        self._context = context
        self._values = values
        self._home = home
        self._client: Client | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self) -> Client:
        """The client of a gateway.

        Raises:
            UsageError: there is no way to the gateways: no URL, and no kubectl.
            ClusterError: kubectl cannot forward a port.
        """
        if self._client is None:
            url = self._url or self._forwarded()
            token = secret_of_environment("DIVISIONS_TOKEN") or None
            ca = None if self._url else _through_the_api_server()
            self._client = self._stack.enter_context(Client(url, token=token, home=self._home, ca=ca))
        return self._client

    def _forwarded(self) -> str:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise UsageError(
                "the gateways of the cluster cannot be reached: kubectl, which would forward a port, is not installed",
                remedy="install it, or set the target's control_url",
            )
        command = [kubectl, *(["--context", self._context] if self._context else [])]
        command += ["--namespace", self._values.namespace, "port-forward", "--address", "127.0.0.1"]
        command += [f"service/{self._values.name}-gateway", f":{PORT}"]
        errors = self._stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115  # it lives as long as kubectl
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        self._stack.callback(_end, process)
        assert process.stdout is not None
        for line in process.stdout:
            if found := _FORWARDED.search(line):
                return f"{self._values.scheme}://127.0.0.1:{found[1]}"
        errors.seek(0)
        told = " ".join(errors.read().split())[-300:] or "it gives no reason"
        raise ClusterError(
            f"kubectl cannot forward a port to the gateways: {told}",
            remedy="check that gateway pods are ready, or set the target's control_url",
        )


def _through_the_api_server() -> ssl.SSLContext:
    """For a forwarded port: the API server's own TLS leads to the pod, and no certificate is for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
