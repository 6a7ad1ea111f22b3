"""buildah and podman with a storage of their own, and a Debian base that debootstrap makes: no registry is asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
BASE = "localhost/debian:bookworm"
IMAGE = "localhost/divisions:test"
SUITE = "bookworm"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_absent() -> str:
    """Why nothing can be built here; empty if it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed; see `make image-test`"
    return "" if os.getuid() == 0 else "only root can build and run images here"


class Engine:
    """Commands with the storage below ``folder``, which keeps layers from one run of the tests to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "storage"}"\nrunroot = "{folder / "run"}"\n'
        )
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "BUILDAH_ISOLATION": "chroot",
        }

    def run(self, *command: str, timeout_s: float = 1_800, may_fail: bool = False) -> str:
        """Standard output of a command.

        Raises:
            AssertionError: it failed; with what it wrote last.
        """
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode and not may_fail:
            raise AssertionError(f"{' '.join(command)}: {(done.stdout + done.stderr)[-4_000:]}")
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        return bool(self.run("buildah", "images", "-q", image, may_fail=True))

    def make_base(self) -> None:
        """Debian's smallest system as an image, unless it is there."""
        if self.has(BASE):
            return
        root = self.folder / "rootfs.tar"
        self.run("mmdebstrap", "--variant=minbase", SUITE, str(root))
        container = self.run("buildah", "from", "scratch")
        self.run("buildah", "add", container, str(root), "/")
        self.run("buildah", "config", "--cmd", "/bin/bash", "--env", PATH, container)
        self.run("buildah", "commit", "--rm", "--timestamp", "0", container, BASE)
        root.unlink()

    def build(self, dockerfile: Path, image: str = IMAGE, arguments: Mapping[str, str] | None = None) -> None:
        """Builds our Dockerfile as it is, without a GPU."""
        options = [*_pip_of_this_machine(self.folder), "--layers", "--format", "docker", "--pull-never"]
        for name, value in {"GPU": "0", "BASE_IMAGE": BASE, **(arguments or {})}.items():
            options += ["--build-arg", f"{name}={value}"]
        self.run("buildah", "bud", *options, "-f", str(dockerfile), "-t", image, str(ROOT), timeout_s=3_600)


def _pip_of_this_machine(folder: Path) -> Sequence[str]:
    """Options that give pip in the container what pip has here: an authority, a folder of wheels.

    An authority is not put into /etc/ssl/certs: there it keeps Debian's own certificates from being installed.
    """
    lines = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = {name.rpartition(".")[2]: value for name, value in re.findall(r"^(\S+?)='(.*)'$", lines, re.MULTILINE)}
    kept, options = {}, []
    if authority := found.get("cert"):
        kept["cert"] = "/etc/pip-authority.crt"
        options += ["--volume", f"{authority}:/etc/pip-authority.crt:ro"]
    wheels = [path for path in found.get("find-links", "").split() if Path(path).is_dir()]
    if wheels:
        kept["find-links"] = " ".join(wheels)
        options += [part for path in wheels for part in ("--volume", f"{path}:{path}:ro")]
    for name in ("index-url", "timeout", "default-timeout"):
        if name in found and "file:" not in found[name]:
            kept[name] = found[name]
    config = folder / "pip.conf"
    config.write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in kept.items()))
    return [*options, "--volume", f"{config}:/etc/pip.conf:ro"]
