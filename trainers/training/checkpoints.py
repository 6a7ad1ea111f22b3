"""Checkpoints of one training: which are due, which one to go on from, which are kept. And their place in a store.

A checkpoint's name holds its epoch and the start of its SHA-256, so a file that a killed worker has left in part is not
taken for one. The newest one that is whole counts. Older ones go when a newer one is there; `NUM_KEPT` stay, because
the newest may turn out to be damaged.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from divisions.artifacts.work_store import WorkStore, named

if TYPE_CHECKING:
    from trainers.training.loop import State

log = logging.getLogger(__name__)

NUM_CHECKPOINTS = 10
"""Checkpoints per run. A dead worker costs at most a tenth of the run."""
NUM_KEPT = 2
_NAME = re.compile(r"epoch-(\d{5})-([0-9a-f]{16})\.pt")


@dataclass(frozen=True, slots=True, order=True)
class CheckpointName:
    """``epoch`` counts from 0 and is the last one that the checkpoint has. ``digest`` starts the SHA-256."""

    epoch: int
    digest: str

    def __str__(self) -> str:
        return named(f"epoch-{self.epoch:05}", self.digest, ".pt")

    @classmethod
    def parse(cls, text: str) -> CheckpointName | None:
        """The name that a file has; None if it is no checkpoint's.

        >>> CheckpointName.parse("epoch-00012-0123456789abcdef.pt")
        CheckpointName(epoch=12, digest='0123456789abcdef')
        """
        found = _NAME.fullmatch(text)
        return None if found is None else cls(int(found[1]), found[2])


def is_due(epoch: int, num_epochs: int) -> bool:
    """Whether a checkpoint follows this epoch (from 0). One always follows the last."""
    every = max(1, num_epochs // NUM_CHECKPOINTS)
    return (epoch + 1) % every == 0 or epoch + 1 == num_epochs


def newest_first(files: Iterable[str]) -> list[CheckpointName]:
    """The checkpoints among these files; the newest is the one to go on from, if it is whole."""
    return sorted((name for file in files if (name := CheckpointName.parse(file)) is not None), reverse=True)


def superfluous(files: Iterable[str], written: int) -> list[str]:
    """The files to remove after the checkpoint of epoch ``written``: older than the `NUM_KEPT` newest up to it.

    Checkpoints of later epochs are another process's business: this one may have been cut off, and overtaken.
    """
    names = [name for name in newest_first(files) if name.epoch <= written]
    kept = sorted({name.epoch for name in names}, reverse=True)[:NUM_KEPT]
    return [str(name) for name in names if name.epoch not in kept]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one training, in a folder of a store.

    Every method raises `ArtifactStoreError` if the store does not answer, or refuses.
    """

    store: WorkStore
    folder: str

    def save(self, state: State) -> None:
        """Writes a checkpoint, then removes what it makes superfluous."""
        import torch

        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        name = CheckpointName(state["epoch"], hashlib.sha256(content).hexdigest()[:16])
        self.store.put(self.folder, str(name), content)
        self.store.remove(self.folder, superfluous(self.names(), name.epoch))

    def newest(self) -> CheckpointName | None:
        """The newest checkpoint that is whole."""
        for name in newest_first(self.names()):
            if self._content(name) is not None:
                return name
            log.warning("checkpoint %s of %s is damaged: it is passed over", name, self.folder)
        return None

    def load(self, name: CheckpointName) -> State:
        """Raises: FileNotFoundError: it has gone meanwhile, or is damaged."""
        import torch

        content = self._content(name)
        if content is None:
            raise FileNotFoundError(f"checkpoint {name} of {self.folder} is not there, or damaged")
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state

    def names(self) -> list[str]:
        return [file.path for file in self.store.listed(self.folder)]

    def _content(self, name: CheckpointName) -> bytes | None:
        content = self.store.read(self.folder, str(name))
        if content is None or hashlib.sha256(content).hexdigest()[:16] != name.digest:
            return None
        return content
