"""The composition root of an import: source and schema, parity, then a run of the pipeline without its training.

    source -> checks -> adapted graph -> parity -> prepare -> validate -> bundle -> register --passed--> staging

The checks and parity come first, before the registry knows of anything. All later stages are the pipeline's own
(`trainers.run`): the same hold-out, gates, bundle and registration, so the version is rolled out like any other.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.model_import.graph import read_graph
from deploy.model_import.source import read_schema, read_source
from divisions.clock import SystemClock
from divisions.pipeline.file import load_pipeline
from divisions.progress import Progress, step
from divisions.registry import Registry
from divisions.settings import Settings

if TYPE_CHECKING:
    from trainers.run import RunOutcome


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """A user's options.

    Attributes:
        source: ``FILE.onnx``, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        schema: the file with the model's features in order.
        output: the graph's output that has the score; needed if several could have it.
        input_uri: data with labels, in place of the pipeline's input.
        today: the day of ``${today}``; None means today in UTC.
    """

    source: str
    schema: Path
    pipeline_path: Path
    output: str = ""
    input_uri: str = ""
    today: dt.date | None = None


def import_model(options: ImportOptions, settings: Settings, registry: Registry, progress: Progress) -> RunOutcome:
    """Imports a model as the next version of the pipeline's model.

    Raises:
        BundleError: the graph cannot serve, or fails its parity check.
        GateRefusedError: the version is registered as failed.
        DivisionsError: see `trainers.run.PipelineRun.run`.
    """
    clock = SystemClock()
    pipeline = load_pipeline(options.pipeline_path)
    features = read_schema(options.schema)
    with step(progress, clock, f"Check {options.source}") as current:
        source = read_source(options.source, registry)
        foreign = read_graph(source.model, len(features), options.output)
        from deploy.model_import.parity import checked

        model_onnx, parity = checked(foreign)
        current.detail = f"{len(features)} features, differs from the original by {parity:.1e} at most"
    from trainers.export.imported import ImportedModel
    from trainers.export.lineage import git_commit_of
    from trainers.run import PipelineRun, RunRequest
    from trainers.stages.trainer import trainer_of
    from trainers.training.compute import InProcess

    request = RunRequest(
        pipeline=pipeline,
        pipeline_text=options.pipeline_path.read_text(encoding="utf-8"),
        today=options.today or dt.datetime.fromtimestamp(clock.wall_s(), dt.UTC).date(),
        input_uri=options.input_uri,
        git_commit=git_commit_of(options.pipeline_path.absolute().parent),
        trainer=trainer_of(settings),
        imported=ImportedModel(features, model_onnx, parity, foreign.framework, source.facts),
    )
    return PipelineRun(settings, registry, InProcess(), progress, clock).run(request)
