"""A model that was judged, to a bundle, a report and a registered version."""

from __future__ import annotations

import hashlib
from pathlib import Path

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import bundles_folder
from divisions.bundle import ONNX, ONNX_FP16, REFERENCE, Decision
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
from trainers.validation.report_files import DETAILS_JSON, REPORT_HTML, report_files
from trainers.validation.validation import Validated, details_json


def write_bundle(
    parts: Parts,
    pipeline: Pipeline,
    prepared: Prepared,
    validated: Validated,
    exported: Exported,
) -> WrittenBundle:
    """Writes what depends on the data, the seed and the code alone, here and into the store."""
    identity = BundleIdentity(pipeline.model_name, pipeline.name, exported.framework)
    schema = prepared.table.schema
    contents = {
        ONNX: exported.model_onnx,
        **({ONNX_FP16: exported.half_onnx} if exported.half_onnx else {}),
        REFERENCE: build_reference(schema, prepared.train.x, validated.scores).to_json(),
    }
    decision = Decision(validated.decided.rule, validated.decided.chosen.threshold)
    bundles = bundles_folder(parts.settings.home)
    bundle = write_files(bundles, identity, schema, validated.own_metrics, contents, decision)
    if bundle.mended:
        parts.progress.notice(f"{bundle.mended}: it was written anew, with the same content")
    Bundles.of(parts.settings).publish(bundle.path, bundle.sha256, is_mended=True)
    return bundle


def log_report(
    parts: Parts,
    task: Pipeline,
    prepared: Prepared,
    judged: Validated,
    before: Calibrated,
    exported: Exported,
    bundle: Path,
    run: RegistryRun,
) -> tuple[str, str]:
    """Keeps the report among the run's files, or in the home if the registry takes none.

    Returns:
        Where it is, and the SHA-256 of the page that people read; both are empty if it is not kept.
    """
    with step(parts.progress, parts.clock, "Report") as current:
        features = features_section(task.features, task.label, prepared)
        files = report_files(task, run.run_id, prepared, bundle, judged, before)
        files[DETAILS_JSON] = details_json(prepared, judged, exported.parity, exported.half_parity, features)
        sha256 = hashlib.sha256(files[REPORT_HTML].encode()).hexdigest()
        try:
            run.log_texts(files)
            current.detail = f"{REPORT_HTML} among the files of run {run.run_id}"
            return f"{run.artifact_uri}/{REPORT_HTML}", sha256
        except RegistryError as error:
            folder = parts.settings.home / "reports" / run.run_id
            told = f"the registry does not keep the validation report ({error.message})"
        try:
            for name, text in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(text.encode())
        except OSError as error:  # a report that is not kept refuses no model
            parts.progress.notice(f"{told}, and {folder} cannot be written: {error.strerror}")
            return "", ""
        current.detail = str(folder / REPORT_HTML)
        parts.progress.notice(f"{told}: it is in {folder}")
        return str(folder / REPORT_HTML), sha256


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
