"""Looks at an NVIDIA GPU once a second while a training uses it, by ``nvidia-smi``, which comes with the driver.

Nothing here may end or delay a training: without ``nvidia-smi``, or if it fails or hangs, the numbers are not known.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from trainers.training.device_use import QUERY, DeviceUse, parse_sample

PERIOD_S = 1
_PATIENCE_S = 5.0

Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]
Identify = Callable[[torch.device], tuple[str, str]]


@dataclass(slots=True)
class Watch:
    """The use of a device so far."""

    use: DeviceUse
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, line: str) -> None:
        sample = parse_sample(line)
        if sample is not None:
            with self._lock:
                self.use = self.use.with_sample(sample)


def start_process(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def identify(device: torch.device) -> tuple[str, str]:
    """The name of a GPU, and the UUID that ``nvidia-smi`` knows it by: PyTorch numbers GPUs otherwise."""
    properties = torch.cuda.get_device_properties(device)
    return properties.name, f"GPU-{properties.uuid}"


@contextlib.contextmanager
def watching(
    device: torch.device, precision: str, start: Start = start_process, identify: Identify = identify
) -> Iterator[Watch]:
    """Watches the device while the block runs. The CPU is only named."""
    if device.type != "cuda":
        yield Watch(DeviceUse(precision=precision))
        return
    name, uuid = identify(device)
    watch = Watch(DeviceUse(name, precision))
    try:
        process = start(command_for(uuid))
    except OSError:  # there is no nvidia-smi
        yield watch
        return
    reader = threading.Thread(target=_read, args=(process, watch), name="gpu-watch", daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is stuck in the driver, which ends it later
            process.wait(_PATIENCE_S)
        reader.join(_PATIENCE_S)


def command_for(uuid: str) -> list[str]:
    """The command that tells of one GPU for ever.

    >>> command_for("GPU-5f1c")[-2:]
    ['--loop=1', '--id=GPU-5f1c']
    """
    fields = f"--query-gpu={','.join(QUERY)}"
    return ["nvidia-smi", fields, "--format=csv,noheader,nounits", f"--loop={PERIOD_S}", f"--id={uuid}"]


def _read(process: subprocess.Popen[str], watch: Watch) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed at the end
        for line in process.stdout:
            watch.take(line)
