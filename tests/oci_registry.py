"""Debian's ``docker-registry`` on this machine: with TLS and a password, or plain, on a port and a disk of its own."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.certificates import new_pair
from tests.servers import Server, ServerAbsentError

USER = "divisions"
# bcrypt of PASSWORD: the registry takes no other hash.
_HTPASSWD = f"{USER}:$2y$05$J/ihHOidF6zwxtzRaK27HuKpJZgK8bmb85ZYHQeR2iIXS1A3hBc6K\n"


@dataclass(slots=True)
class RegistryServer(Server):
    """A registry that allows deletion. ``is_secure``: speaks TLS, and wants a password."""

    is_secure: bool = False

    @property
    def artifacts(self) -> str:
        """A value of ``DIVISIONS_ARTIFACTS``."""
        return f"{'oci' if self.is_secure else 'oci+http'}://{self.host}:{self.port}/team/models"

    @property
    def blobs(self) -> Path:
        return self.folder / "disk" / "docker" / "registry" / "v2" / "blobs" / "sha256"

    @property
    def authority(self) -> Path:
        """The certificate that clients must trust."""
        return self.folder / "server.crt"

    def blob_path(self, digest: str) -> Path:
        text = digest.removeprefix("sha256:")
        return self.blobs / text[:2] / text / "data"

    def command(self) -> list[str]:
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "disk")}, "delete": {"enabled": True}},
            "http": {"addr": f"{self.host}:{self.port}", "secret": "only-for-tests"},
        }
        if self.is_secure:
            _write_certificate(self.folder)
            (self.folder / "htpasswd").write_text(_HTPASSWD)
            tls = {"certificate": str(self.authority), "key": str(self.folder / "server.key")}
            config["http"] = {"addr": f"{self.host}:{self.port}", "secret": "only-for-tests", "tls": tls}
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.folder / "htpasswd")}}
        (self.folder / "config.yml").write_text(json.dumps(config))
        return [find_registry(), "serve", str(self.folder / "config.yml")]

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.authority)) if self.is_secure else None
        url = f"{'https' if self.is_secure else 'http'}://{self.host}:{self.port}/v2/"
        try:
            with urllib.request.urlopen(url, timeout=2, context=context):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False


def find_registry() -> str:
    """Raises:
    ServerAbsentError: it is not installed.
    """
    found = shutil.which("docker-registry")
    if found is None:
        raise ServerAbsentError("docker-registry is not installed; see `make servers`")
    return found


@contextlib.contextmanager
def running_registry(folder: Path, *, is_secure: bool = False) -> Iterator[RegistryServer]:
    """Raises:
    ServerAbsentError: it is not installed.
    """
    find_registry()
    folder.mkdir(parents=True)
    with RegistryServer(folder, is_secure=is_secure) as server:
        yield server


def _write_certificate(folder: Path) -> None:
    if not (folder / "server.crt").exists():
        new_pair("registry of tests", ("127.0.0.1",), is_authority=True).write(folder, "server")
