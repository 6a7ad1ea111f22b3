"""The lineage of a model: data, code and parent version, as text for the registry."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import subprocess
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from divisions.code_identity import code_identity
from divisions.pipeline.definition import ModelKind, Pipeline
from divisions.versions import RegisteredVersion
from trainers.data.preparation import Prepared


def lineage(
    pipeline_text: str, prepared: Prepared, parent: RegisteredVersion | None, git_commit: str | None
) -> dict[str, str]:
    """The facts needed to reproduce the model, or to find out why it differs from its parent."""
    events = prepared.events
    facts = {
        "input_uri": events.uri,
        "partition": events.partition,
        "data_sha256": prepared.data_sha256,
        "rows_read": str(events.num_read),
        "rows_quarantined": str(events.num_quarantined),
        "customers": str(prepared.table.rows.num_customers),
        "customers_served": str(events.num_newest),
        "customers_training": str(prepared.train.rows.num_customers),
        "customers_holdout": str(len(prepared.holdout)),
        "schema_sha256": prepared.table.schema.sha256,
        "pipeline_sha256": hashlib.sha256(pipeline_text.encode()).hexdigest(),
        "parent_version": parent.version if parent else "",
        "git_commit": git_commit or "",
    }
    return {name: value for name, value in facts.items() if value}


def environment() -> dict[str, str]:
    """What this process runs: our code, Python, and the libraries that we require, as ``name==version name==…``."""
    versions = {}
    for requirement in metadata.requires("divisions") or ():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    packages = " ".join(f"{name}=={version}" for name, version in sorted(versions.items()))
    return {"code": code_identity(), "python": platform.python_version(), "packages": packages}


def run_params(pipeline: Pipeline) -> dict[str, object]:
    """The parameters for MLflow, which shows and compares them."""
    training, hyperparams = pipeline.training, pipeline.training.hyperparams
    is_network = hyperparams.kind is not ModelKind.GRADIENT_BOOSTING
    return {
        "kind": hyperparams.kind.value,
        **asdict(hyperparams),
        **({"optimizer": "AdamW", "schedule": "cosine annealing"} if is_network else {}),
        "workers": training.workers,
        **({"trials": training.trials, "budget_s": training.budget_s} if training.trials > 1 else {}),
        **judging_params(pipeline),
    }


def judging_params(pipeline: Pipeline) -> dict[str, object]:
    """Those by which a model is judged, also one that was trained elsewhere."""
    return {
        "holdout_fraction": pipeline.features.holdout_fraction,
        "gates": "; ".join(str(gate) for gate in pipeline.validation.gates),
        "decision": str(pipeline.validation.decision),
    }


def git_commit_of(folder: Path) -> str | None:
    """The commit that is checked out in the pipeline file's folder; None without git or outside a work tree."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
