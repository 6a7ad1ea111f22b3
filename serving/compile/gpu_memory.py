"""A replica's share of a GPU's memory, and the ledger of the shares that a node's replicas have claimed.

Ray only counts ``num_gpus: 0.5``; it does not limit a process to half of the GPU. So every engine is limited to its
replica's share. A replica starts only if the claimed shares leave room for its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.errors import OverCommitError

CONTEXT_BYTES = 450_000_000
"""GPU memory of a process before its first allocation: CUDA's context and the kernels of TensorRT or cuDNN. This is a
planned bound, not a measurement; see docs/gpu.md."""
MIN_ENGINE_BYTES = 64_000_000
WORKSPACE_SHARE = 4
"""One kernel may use a quarter of the engine's memory as scratch space. The rest is for weights and activations."""
MAX_WORKSPACE_BYTES = 512 * 1024 * 1024
"""More than any of our kernels needs. The workspace is a power of two up to this limit, not exactly a quarter. A plan's
key contains the workspace, so a canary with half of a T4, a stable version with a whole T4, and `divisions compile`
then find the same plan."""


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """Bytes of one GPU. ``share_bytes`` is the limit of the process. ``engine_bytes`` is the part for its engine."""

    share_bytes: int
    engine_bytes: int
    workspace_bytes: int


def memory_share(total_bytes: int, vram_gb: float | None, num_gpus: float) -> MemoryShare:
    """Divides a GPU's memory.

    Args:
        total_bytes: the GPU's memory according to the driver.
        vram_gb: the GPU's memory according to the pipeline file, in 10^9 bytes. The smaller of the two counts.
        num_gpus: the replica's share. An engine uses one GPU, even if its replica has several.

    Raises:
        OverCommitError: the share is too small for any engine.
    """
    whole = min(total_bytes, int(vram_gb * 1e9)) if vram_gb else total_bytes
    share = int(whole * min(1.0, num_gpus))
    engine = share - CONTEXT_BYTES
    if engine < MIN_ENGINE_BYTES:
        raise OverCommitError(
            f"{num_gpus:g} of a GPU with {whole / 1e9:.1f} GB are {share / 1e6:,.0f} MB; a process takes "
            f"{CONTEXT_BYTES / 1e6:,.0f} MB before its engine has any",
            remedy="raise serving.num_gpus or serving.canary_num_gpus, or serve without a GPU",
        )
    workspace = 1 << ((engine // WORKSPACE_SHARE).bit_length() - 1)
    return MemoryShare(share, engine, min(workspace, MAX_WORKSPACE_BYTES))


class Claim(msgspec.Struct, frozen=True):
    """One process's memory on one GPU. ``started`` distinguishes it from a later process with the same pid."""

    pid: int
    started: int
    name: str
    num_bytes: int


def admit(claims: tuple[Claim, ...], new: Claim, total_bytes: int, gpu: str) -> tuple[Claim, ...]:
    """The ledger with the new claim added. A process has one claim; a new one replaces it.

    Raises:
        OverCommitError: the claims exceed the GPU's memory. The message shows the sum.
    """
    others = tuple(claim for claim in claims if claim.pid != new.pid)
    asked_bytes = sum(claim.num_bytes for claim in others) + new.num_bytes
    if asked_bytes > total_bytes:
        terms = " + ".join(f"{claim.num_bytes / 1e9:.2f} ({claim.name})" for claim in (*others, new))
        raise OverCommitError(
            f"{gpu} has {total_bytes / 1e9:.2f} GB, asked for are {terms} = {asked_bytes / 1e9:.2f} GB",
            remedy="lower serving.num_gpus, serving.replicas or serving.vram_gb, or add a GPU",
        )
    return (*others, new)


class GpuLedger:
    """The claims on one node's GPUs: one file per GPU, changed under a lock. Claims of dead processes are removed."""

    def __init__(self, folder: Path, start_of: Callable[[int], int | None] | None = None) -> None:
        self._folder = folder
        self._start_of = start_of or process_start
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def claim(self, gpu_uuid: str, gpu_name: str, app_name: str, num_bytes: int, total_bytes: int) -> None:
        """Adds this process's claim. It replaces an earlier claim of this process.

        Raises:
            OverCommitError: the GPU has no room.
        """
        pid = os.getpid()
        new = Claim(pid, self._start_of(pid) or 0, app_name, num_bytes)
        with self._locked(gpu_uuid) as path:
            claims = admit(self._running(path), new, total_bytes, gpu_name)
            _write(path, claims)

    def claims(self, gpu_uuid: str) -> Mapping[str, int]:
        """Claimed bytes by name and pid, to be shown."""
        with self._locked(gpu_uuid) as path:
            return {f"{claim.name} ({claim.pid})": claim.num_bytes for claim in self._running(path)}

    @contextlib.contextmanager
    def _locked(self, gpu_uuid: str) -> Iterator[Path]:
        with (self._folder / f"gpu-{gpu_uuid}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._folder / f"gpu-{gpu_uuid}.json"

    def _running(self, path: Path) -> tuple[Claim, ...]:
        try:
            claims = msgspec.json.decode(path.read_bytes(), type=tuple[Claim, ...])
        except (FileNotFoundError, msgspec.MsgspecError):
            return ()
        return tuple(claim for claim in claims if self._start_of(claim.pid) == claim.started)


def _write(path: Path, claims: tuple[Claim, ...]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(claims))
    draft.replace(path)


def process_start(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot, from ``/proc/<pid>/stat``; None if it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Field 22. The name may contain blanks and brackets; it ends at the last bracket.
    return int(text.rpartition(")")[2].split()[19])
