"""What a run finds of earlier runs that were interrupted, and what it makes of it. Pure.

    _runs/<pipeline>/<rows>/rows.npy                 the training rows, named by their content
                           /<key>/epoch-….pt         checkpoints; the key is a hash of all else that decides the weights

A run with the same rows and the same key goes on from the checkpoints. Any other difference means other weights, so it
starts anew. What nobody has written to for a day goes: it holds customers' data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict

import msgspec

from divisions.artifacts.work_store import StoredFile
from divisions.pipeline.definition import AnyHyperparams
from trainers.training.checkpoints import CheckpointName

ABANDONED_S = 86_400.0


def training_key(
    schema_sha256: str, hyperparams: AnyHyperparams, num_workers: int, device: str, versions: tuple[str, ...]
) -> str:
    """Names what decides the weights besides the rows.

    Args:
        schema_sha256: of the features.
        hyperparams: the pipeline file's, with the seed.
        num_workers: how many share each batch; sums of floats depend on it.
        device: ``cpu`` or ``cuda``, likewise.
        versions: of the code that trains.
    """
    facts = msgspec.json.encode([schema_sha256, [hyperparams.kind, asdict(hyperparams)], num_workers, device, versions])
    return hashlib.sha256(facts).hexdigest()[:16]


def abandoned(files: Iterable[StoredFile], own: str, now_s: float) -> list[str]:
    """The folders of a pipeline that nobody has written to for a day.

    Args:
        files: below the pipeline's folder.
        own: this run's folder, which stays.
        now_s: seconds since the Unix epoch.
    """
    newest: dict[str, float] = {}
    for file in files:
        folder = file.path.partition("/")[0]
        newest[folder] = max(newest.get(folder, 0.0), file.written_s)
    return sorted(folder for folder, at_s in newest.items() if folder != own and now_s - at_s > ABANDONED_S)


def has_others(files: Iterable[StoredFile], own: str) -> bool:
    """Whether there are checkpoints of this pipeline outside of ``own``, the folder of this run's."""
    paths = (file.path.rpartition("/") for file in files)
    return any(folder != own and CheckpointName.parse(name) is not None for folder, _, name in paths)


def resume_note(newest: CheckpointName | None, num_epochs: int, *, others: bool) -> str:
    """What to tell before the training; empty for a training that is simply the first.

    >>> resume_note(CheckpointName(29, "0" * 16), 50, others=False)
    'an earlier run was interrupted: training goes on after epoch 30 of 50'
    """
    if newest is not None and newest.epoch + 1 >= num_epochs:
        return f"an earlier run was interrupted after its training: the weights of its {num_epochs} epochs are taken"
    if newest is not None:
        return f"an earlier run was interrupted: training goes on after epoch {newest.epoch + 1} of {num_epochs}"
    if others:
        return (
            "training starts anew: another run of this pipeline was interrupted, or is training now, but its data,"
            " hyperparameters or workers are others"
        )
    return ""
