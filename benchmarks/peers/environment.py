"""Virtual environments of peers: made on demand, pinned, kept under ``build/peers``, and made again when pins change.

Peers bring web frameworks and libraries in versions of their own, which must not meet ours. pip's cache makes a second
installation quick. PyTorch is never among them: every peer runs the same ONNX graph.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import InputError

RUNTIME = ("onnxruntime==1.32.0", "numpy==2.4.6", "msgspec==0.22.0", "uvloop==0.23.0")
"""What every peer scores and decodes with: the versions of our own constraints."""

_INSTALL_TIMEOUT_S = 900.0
_FORBIDDEN = "torch"


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """One virtual environment. ``pins`` are requirements of the form ``name==version``."""

    name: str
    pins: tuple[str, ...]

    def folder(self, build: Path) -> Path:
        return build / "peers" / self.name

    def python(self, build: Path) -> Path:
        return self.folder(build) / "bin" / "python"

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """Makes the environment, unless it exists with exactly these pins.

        Raises:
            InputError: Python cannot make environments, or pip cannot install the pins.
        """
        folder = self.folder(build)
        stamp, wanted = folder / "pins.txt", "\n".join(self.pins) + "\n"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return
        began_s = time.monotonic()
        say(f"{self.name}: installing {', '.join(self.pins)} into {folder} (first time only)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = folder.with_suffix(".log")
        self._run([sys.executable, "-m", "venv", str(folder)], log, "apt-get install python3-venv")
        pip = [str(self.python(build)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        self._run(
            [*pip, "install", "--prefer-binary", *self.pins],
            log,
            f"see {log}; pip needs a package index, or wheels that its cache or PIP_FIND_LINKS holds",
        )
        if (folder / "lib").is_dir() and any(folder.glob(f"lib/python*/site-packages/{_FORBIDDEN}")):
            raise InputError(f"{self.name} pulled in {_FORBIDDEN}", remedy="pin a release of it that does not need it")
        stamp.write_text(wanted, encoding="utf-8")
        say(f"{self.name}: installed in {time.monotonic() - began_s:.0f} s")

    def _run(self, command: Sequence[str], log: Path, remedy: str) -> None:
        with log.open("ab") as output:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_INSTALL_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise InputError(
                    f"installing {self.name} took longer than {_INSTALL_TIMEOUT_S:g} s", remedy=remedy
                ) from None
        if done.returncode:
            raise InputError(f"{self.name} could not be installed: {_last_error(log)}", remedy=remedy)


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.lower().startswith("error")]
    return (told or lines or ["no output"])[-1][:300]
