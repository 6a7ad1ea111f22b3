"""``divisions models import``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline, start_command
from divisions.commands.output import Format, Output, print_json


def import_model(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="An ONNX file, or MLflow's models:/NAME/VERSION or models:/NAME@ALIAS."),
    ],
    schema: Annotated[Path, typer.Option(metavar="FILE", help="A JSON file with the model's features, in order.")],
    pipeline: Annotated[
        Path, typer.Option(help="The pipeline file whose data, gates and model name count.")
    ] = PIPELINE,
    model_output: Annotated[str, typer.Option(metavar="NAME", help="The graph's output that has the score.")] = "",
    input_uri: Annotated[
        str, typer.Option("--input", metavar="URI", help="Data with labels, in place of the file's input.")
    ] = "",
    today: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day of ${today}; the default is today, UTC.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Register an ONNX model that others have made, as the next version of the pipeline's model.

    It is compared with ONNX Runtime on random and extreme rows, and judged on the pipeline's hold-out by its gates.
    """
    from deploy.model_import.start import ImportOptions
    from deploy.model_import.start import import_model as start
    from divisions.commands.progress import shown_progress
    from divisions.registry import Registry
    from divisions.settings import load_settings

    settings = load_settings()
    registry = Registry(settings.home, settings.tracking_uri, artifacts=settings.artifacts)
    options = ImportOptions(
        source, schema, require_pipeline(pipeline), model_output, input_uri, today.date() if today else None
    )
    is_json = output is Format.JSON
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        outcome = start(options, settings, registry, progress)
    if is_json:
        print_json(outcome)
        return
    print(f"{outcome.model} {outcome.version} {outcome.validation_status}, auc {outcome.metrics['auc']:.4f}")
    print(f"Roll it out with: {start_command(outcome.model, outcome.version, pipeline)}")
