"""A replica's share of a GPU's memory, and the book of what the replicas of a node have taken.

Ray's ``num_gpus: 0.5`` is bookkeeping: nothing keeps a process from taking all of the GPU. So every engine is capped to
its replica's share, and a replica starts only if the shares that are taken leave room for its own.
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
"""What a process costs before its first allocation: CUDA's context, and the kernels of TensorRT or cuDNN. A bound to
plan with, not a measurement: see docs/gpu.md."""
MIN_ENGINE_BYTES = 64_000_000
WORKSPACE_SHARE = 4
"""A quarter of the engine's memory may be scratch space of one kernel; the rest is for weights and activations."""
MAX_WORKSPACE_BYTES = 512 * 1024 * 1024
"""More than any kernel of ours asks for. The workspace is a power of two up to this, and not the quarter itself,
because a plan's key contains it: so a canary with half of a T4, its stable version with a whole one, and `divisions
compile` find the same plan."""


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """Bytes of one GPU. ``share`` is all that the process may take, ``engine`` what is left of it for the engine."""

    share_bytes: int
    engine_bytes: int
    workspace_bytes: int


def memory_share(total_bytes: int, vram_gb: float | None, num_gpus: float) -> MemoryShare:
    """Divides a GPU's memory.

    Args:
        total_bytes: what the driver says that the GPU has.
        vram_gb: what the pipeline file says that it has, in 10^9 bytes; the smaller of the two counts.
        num_gpus: the replica's share; an engine uses one GPU, however many its replica has.

    Raises:
        OverCommitError: the share is too small to hold any engine.
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
    """One process's memory on one GPU. ``started`` tells it from a later process with the same pid."""

    pid: int
    started: int
    name: str
    num_bytes: int


def admit(claims: tuple[Claim, ...], new: Claim, total_bytes: int, gpu: str) -> tuple[Claim, ...]:
    """The book with one claim more.

    Raises:
        OverCommitError: the claims would exceed the GPU; its message shows the sum.
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
    """The book of one node's GPUs: a file per GPU, changed under a lock. What the dead have claimed is crossed out."""

    def __init__(self, folder: Path, start_of: Callable[[int], int | None] | None = None) -> None:
        self._folder = folder
        self._start_of = start_of or process_start
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def claim(self, gpu_uuid: str, gpu_name: str, app_name: str, num_bytes: int, total_bytes: int) -> None:
        """Enters this process's claim, in place of an earlier one.

        Raises:
            OverCommitError: there is no room.
        """
        pid = os.getpid()
        new = Claim(pid, self._start_of(pid) or 0, app_name, num_bytes)
        with self._book(gpu_uuid) as path:
            claims = admit(self._living(path), new, total_bytes, gpu_name)
            _write(path, claims)

    def claims(self, gpu_uuid: str) -> Mapping[str, int]:
        """Bytes claimed by name; for people."""
        with self._book(gpu_uuid) as path:
            return {f"{claim.name} ({claim.pid})": claim.num_bytes for claim in self._living(path)}

    @contextlib.contextmanager
    def _book(self, gpu_uuid: str) -> Iterator[Path]:
        with (self._folder / f"gpu-{gpu_uuid}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._folder / f"gpu-{gpu_uuid}.json"

    def _living(self, path: Path) -> tuple[Claim, ...]:
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
    """When a process was started, in clock ticks since boot; None if there is none. From ``/proc/<pid>/stat``."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Field 22. The name, which may hold blanks and brackets, ends at the last bracket.
    return int(text.rpartition(")")[2].split()[19])
