"""A model that was judged, to a bundle, a report and a registered version."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import bundles_folder
from divisions.bundle import ONNX, ONNX_FP16, REFERENCE, REPORT, Decision
from divisions.errors import RegistryError
from divisions.pipeline.definition import Pipeline
from divisions.progress import step
from divisions.registry_run import RegistryRun
from divisions.versions import RegisteredVersion, ValidationStatus
from trainers.data.preparation import Prepared, features_section
from trainers.data.reference import build_reference
from trainers.export.bundle_writer import BundleIdentity, WrittenBundle
from trainers.export.bundle_writer import write_bundle as write_files
from trainers.export.exported import Calibrated, Exported
from trainers.stages.parts import Parts
from trainers.validation.report_files import REPORT_HTML, report_files
from trainers.validation.validation import Validated, report_json


def write_bundle(
    parts: Parts,
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    exported: Exported,
    registry_run: RegistryRun,
) -> WrittenBundle:
    identity = BundleIdentity(
        model=pipeline.model_name,
        pipeline=pipeline.name,
        run_id=registry_run.run_id,
        created_at=dt.datetime.fromtimestamp(parts.clock.wall_s(), dt.UTC).isoformat(timespec="seconds"),
        input_uri=prepared.events.uri,
        framework=exported.framework,
    )
    schema = prepared.table.schema
    contents = {
        ONNX: exported.model_onnx,
        **({ONNX_FP16: exported.half_onnx} if exported.half_onnx else {}),
        REFERENCE: build_reference(schema, prepared.train.x).to_json(),
        REPORT: report_json(
            prepared,
            validated,
            exported.parity,
            exported.half_parity,
            features_section(pipeline.features, pipeline.label, prepared),
        ),
    }
    decision = Decision(validated.decided.rule, validated.decided.chosen.threshold)
    bundles = bundles_folder(parts.settings.home)
    bundle = write_files(bundles, identity, schema, validated.lasting_metrics, contents, decision)
    Bundles.of(parts.settings).publish(bundle.path, bundle.sha256)
    return bundle


def log_report(
    parts: Parts,
    task: Pipeline,
    prepared: Prepared,
    judged: Validated,
    before: Calibrated,
    bundle: Path,
    run: RegistryRun,
) -> None:
    with step(parts.progress, parts.clock, "Report") as current:
        files = report_files(task, run.run_id, prepared, bundle, judged, before)
        try:
            run.log_texts(files)
            current.detail = f"{REPORT_HTML} among the files of run {run.run_id}"
        except RegistryError as error:  # a report that is not kept refuses no model
            parts.progress.notice(f"the validation report is not kept: {error}")


def register(
    parts: Parts,
    pipeline: Pipeline,
    validated: Validated,
    bundle: WrittenBundle,
    facts: dict[str, str],
    registry_run: RegistryRun,
) -> RegisteredVersion:
    status = ValidationStatus.PASSED if validated.is_passed else ValidationStatus.FAILED
    with step(parts.progress, parts.clock, "Register") as current:
        registry_run.log_metrics(validated.metrics, step=pipeline.training.hyperparams.epochs)
        registry_run.set_tags({**facts, "validation_status": status.value})
        version = parts.registry.register(
            registry_run,
            model=pipeline.model_name,
            major=pipeline.model.major,
            bundle_path=bundle.path,
            bundle_sha256=bundle.sha256,
            metrics=validated.metrics,
            status=status,
            message=validated.refusals,
            lineage=facts,
        )
        current.detail = f"{version.model} version {version.version}, {status.value}"
    return version
