"""A real Kubernetes API server on this machine, without kubelets: kube-apiserver and etcd, on ports of their own.

Their programs are found by ``KUBEBUILDER_ASSETS``, as controller-runtime's tests find them, else where `make kube` puts
what it builds. Custom resources of KubeRay are there. Tests play the nodes: they make pods and write their status.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.deploy.kubernetes import schemas

VERSION = "1.20.2"
CACHE = Path.home() / ".cache" / "divisions-kube" / VERSION
ADMIN, NOBODY = "admin", "nobody"
_START_S = 120.0
_TRIES = 3
_NAMESPACES = "/api/v1/namespaces"
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class KubeAbsentError(Exception):
    """There is no API server to start here."""


@dataclass(slots=True)
class KubeServer:
    """A running server. ``tokens`` are by user."""

    url: str
    folder: Path
    tokens: dict[str, str]
    bare_refusal: Exception | None = None

    def kubeconfig(self, user: str = ADMIN, context: str = "tests") -> Path:
        """A kubeconfig for the user."""
        path = self.folder / f"kubeconfig-{user}-{context}.yaml"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "pki" / "apiserver.crt")}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens.get(user, "unknown")}}],
            "contexts": [{"name": context, "context": {"cluster": "here", "user": user}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def client(self, user: str = ADMIN) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=str(self.folder / "pki" / "apiserver.crt")),
            headers={"Authorization": f"Bearer {self.tokens[user]}"},
            timeout=30,
        )

    def take_account(self, namespace: str, name: str) -> str:
        """Makes a service account; its token is among ``tokens`` under the name that is returned."""
        accounts = f"{_NAMESPACES}/{namespace}/serviceaccounts"
        with self.client() as client:
            made = client.post(accounts, json={"metadata": {"name": name}})
            assert made.status_code == 201, made.text
            found = client.post(f"{accounts}/{name}/token", json={"spec": {"expirationSeconds": 3600}})
            assert found.status_code == 201, found.text
        self.tokens[f"{namespace}-{name}"] = found.json()["status"]["token"]
        return f"{namespace}-{name}"


def find_programs() -> tuple[Path, Path]:
    """kube-apiserver and etcd.

    Raises:
        KubeAbsentError: they are not here.
    """
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or CACHE)
    server, etcd = folder / "kube-apiserver", folder / "etcd"
    if not server.is_file():
        raise KubeAbsentError(
            f"{server} is not there; `make kube` builds it, and KUBEBUILDER_ASSETS names another folder"
        )
    if not etcd.is_file():
        found = shutil.which("etcd")
        if found is None:
            raise KubeAbsentError("etcd is not installed; `make kube` installs it")
        etcd = Path(found)
    return server, etcd


@contextlib.contextmanager
def running(folder: Path) -> Iterator[KubeServer]:
    """A server as it comes, without KubeRay's resources (`install_kuberay`); it ends with the block.

    Raises:
        KubeAbsentError: its programs are not here.
    """
    programs = find_programs()
    for attempt in range(1, _TRIES + 1):
        with contextlib.ExitStack() as stack:
            place = folder / f"try-{attempt}"
            place.mkdir(parents=True)
            try:
                server = _start(place, *programs, stack)
            except _EndedError:  # for instance, another has taken the port meanwhile
                if attempt == _TRIES:
                    raise
                continue
            yield server
            return


class _EndedError(Exception):
    """A process has ended by itself."""


def _start(folder: Path, program: Path, etcd: Path, stack: contextlib.ExitStack) -> KubeServer:
    store, peer, port = _free_ports(3)
    tokens = {user: secrets.token_hex(16) for user in (ADMIN, NOBODY)}
    groups = {ADMIN: '"system:masters"'}
    rows = [f"{token},{user},{user},{groups.get(user, '')}" for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("\n".join(rows) + "\n")
    _write_key(folder / "sa.key")
    stack.enter_context(
        _process(
            folder / "etcd.log",
            *(str(etcd), "--data-dir", str(folder / "etcd"), "--listen-client-urls", f"http://127.0.0.1:{store}"),
            *("--advertise-client-urls", f"http://127.0.0.1:{store}", "--unsafe-no-fsync"),
            *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
        )
    )
    process = stack.enter_context(
        _process(
            folder / "kube-apiserver.log",
            *(str(program), f"--etcd-servers=http://127.0.0.1:{store}", "--bind-address=127.0.0.1"),
            *(f"--secure-port={port}", f"--cert-dir={folder / 'pki'}"),
            *(f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC"),
            f"--service-account-key-file={folder / 'sa.key'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            *("--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24"),
            "--disable-admission-plugins=ServiceAccount",  # no controller makes the accounts of namespaces
        )
    )
    server = KubeServer(f"https://127.0.0.1:{port}", folder, tokens)
    _wait(server, process)
    return server


def _write_key(path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def install_kuberay(server: KubeServer) -> None:
    names = ("RayCluster", "RayJob")
    with server.client() as client:
        for kind in names:
            definition = thinned(schemas.crd(kind))
            answer = client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=definition)
            assert answer.status_code == 201, answer.text[:2000]
        for kind in names:
            path = f"/apis/ray.io/v1/namespaces/default/{kind.lower()}s"
            _until(lambda path=path: client.get(path).status_code == 200, f"{kind} is served")


def thinned(definition: Any) -> Any:
    """The definition without what a server of 1.20 does not take: CEL, empty defaults, keys that may be absent."""
    if isinstance(definition, list):
        return [thinned(each) for each in definition]
    if not isinstance(definition, dict):
        return definition
    found = {
        key: thinned(value)
        for key, value in definition.items()
        if key != "x-kubernetes-validations" and not (key == "default" and value == "")
    }
    keys = found.get("x-kubernetes-list-map-keys")
    if keys and isinstance(found.get("items"), dict):
        items = found["items"]
        items["required"] = sorted({*items.get("required", []), *keys})
    return found


def _wait(server: KubeServer, process: subprocess.Popen[bytes]) -> None:
    def is_ready() -> bool:
        if process.poll() is not None:
            log = (server.folder / "kube-apiserver.log").read_text(errors="replace")
            raise _EndedError(f"kube-apiserver has ended: {log[-2000:]}")
        if not (server.folder / "pki" / "apiserver.crt").is_file():
            return False
        with contextlib.suppress(httpx2.HTTPError), server.client() as client:
            # It is ready before it has made the namespace that a deployment names.
            return all(client.get(path).status_code == 200 for path in ("/readyz", f"{_NAMESPACES}/default"))
        return False

    _until(is_ready, "the API server answers")


def _until(condition: Any, what: str) -> None:
    deadline_s = time.monotonic() + _START_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not after {_START_S:g} s")
        time.sleep(0.1)


@contextlib.contextmanager
def _process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*_ENDS_WITH_US, *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=log.parent
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
