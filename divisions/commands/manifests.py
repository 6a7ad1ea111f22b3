"""``divisions manifests``."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, print_json
from divisions.commands.targets import TARGETS
from divisions.errors import UsageError

OUT = Path("build/kubernetes")


def manifests(
    pipeline: Annotated[Path, typer.Option(help="The pipeline file, which the nightly run reads.")] = PIPELINE,
    targets: Annotated[Path, typer.Option(help="The file of targets.")] = TARGETS,
    out: Annotated[Path, typer.Option(help="The folder to write. What an earlier call wrote there is replaced.")] = OUT,
    output: Output = Format.TEXT,
) -> None:
    """Write the Kubernetes manifests as a kustomize base, with an overlay for each target of kind kubernetes."""
    from deploy.kubernetes.kustomize import files
    from deploy.kubernetes.schedule import scheduled
    from deploy.kubernetes.values import Values
    from deploy.shipping.kubernetes.settings import KubernetesSettings
    from deploy.shipping.target_file import load_targets
    from divisions.pipeline.file import load_pipeline

    trigger = load_pipeline(require_pipeline(pipeline)).trigger
    found_values = {
        name: scheduled(replace(spec.settings.values, artifacts=spec.artifacts), trigger)
        for name, spec in load_targets(targets).items()
        if isinstance(spec.settings, KubernetesSettings)
    }
    clusters = {name: values for name, (values, _) in found_values.items()}
    notes = [f"{name}: {notice}" for name, (_, notice) in found_values.items() if notice]
    if not clusters:
        raise UsageError(f"{targets} has no target of kind kubernetes", remedy="declare one; see docs/kubernetes.md")
    first = next(iter(clusters.values()))
    base, _ = scheduled(Values(name=first.name, model=first.model), trigger)
    found = files(base, clusters, pipeline.read_text(encoding="utf-8"))
    for folder in ("base", "overlays"):
        shutil.rmtree(out / folder, ignore_errors=True)
    for path, text in found.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text, encoding="utf-8")
    overlays = [str(out / "overlays" / name) for name in clusters]
    if output is Format.JSON:
        print_json({"files": len(found), "overlays": overlays, "notes": notes})
        return
    for note in notes:
        print(f"note: {note}")
    # Under our name: what kubectl applies under its own, `divisions deploy` must take from it by force.
    print(f"{len(found)} files in {out}. Check an overlay with the following, and apply it without --dry-run:")
    for overlay in overlays:
        print(f"  kubectl apply --server-side --field-manager=divisions --dry-run=server -k {overlay}")
