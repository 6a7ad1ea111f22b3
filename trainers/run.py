"""One run of a pipeline, from raw events to a rollout.

    prepare -> train -> export -> validate -> bundle -> register --passed--> online store -> rollout
                                                          |
                                                          +------failed----> GateRefusedError, nothing served

The registry's run spans all of it: whatever raises leaves a FAILED run and no version, except that a model which a
gate refused is registered as failed, so that people can look at it.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.bundle import ONNX, REFERENCE, REPORT
from divisions.clock import Clock
from divisions.errors import GateRefusedError
from divisions.online_store import OnlineStoreWriter, online_store_path
from divisions.pipeline import Pipeline
from divisions.registry import Registry, RegistryRun
from divisions.settings import Settings
from divisions.variables import expand
from divisions.versions import RegisteredVersion, ValidationStatus
from trainers.bundle_writer import BundleIdentity, WrittenBundle, write_bundle
from trainers.compute import Compute, TrainingTask
from trainers.deployment import rollout_spec, start_rollout
from trainers.feature_store import online_rows, write_offline
from trainers.lineage import lineage, run_params
from trainers.preparation import PreparationTask, Prepared, validation_mask
from trainers.progress import Progress, step
from trainers.reference import build_reference
from trainers.validation import Validated, report_json, validate_model

if TYPE_CHECKING:
    from trainers.model import TabularModel


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. ``input_uri`` replaces the file's; ``gateway_url`` empty means: register, but do not deploy."""

    pipeline: Pipeline
    pipeline_text: str
    today: dt.date
    input_uri: str = ""
    gateway_url: str = ""
    git_commit: str | None = None


class RunOutcome(msgspec.Struct, frozen=True):
    """What a run has made. ``rollout`` is the phase of the rollout that was started, empty without one."""

    run_id: str
    model: str
    version: str
    registry_version: int
    validation_status: str
    metrics: dict[str, float]
    bundle_path: str
    bundle_sha256: str
    input_uri: str
    rollout: str = ""


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """The means of a run; `run` is the run."""

    settings: Settings
    registry: Registry
    compute: Compute
    progress: Progress
    clock: Clock

    def run(self, request: RunRequest) -> RunOutcome:
        """Runs the pipeline.

        Raises:
            GateRefusedError: the model is registered as failed, and nothing is served.
            DivisionsError: see the stages.
        """
        pipeline = request.pipeline
        uri = request.input_uri or pipeline.data_prep.input
        uri = expand(uri, request.today, pipeline=pipeline.name)
        name = f"{pipeline.name} {request.today.isoformat()}"
        with self.registry.start_run(pipeline.name, name, {"divisions.input_uri": uri}) as registry_run:
            registry_run.log_params(run_params(pipeline))
            prepared = self._prepare(pipeline, uri, registry_run)
            model = self._train(pipeline, prepared, registry_run)
            version, validated, bundle = self._register(request, prepared, model, registry_run)
        if not validated.is_passed:
            raise GateRefusedError(
                f"version {version.version} of {version.model} is refused: {validated.refusals}",
                remedy=f"it is registered as failed and not served; its report is {bundle.path / REPORT}",
            )
        with step(self.progress, self.clock, "Fill the online store") as current:
            writer = OnlineStoreWriter(online_store_path(self.settings.home), pipeline.deployment.endpoint)
            current.detail = f"{writer.upsert(online_rows(prepared.table)):,} customers"
        return RunOutcome(
            run_id=version.run_id,
            model=version.model,
            version=version.version,
            registry_version=version.registry_version,
            validation_status=version.validation_status.value,
            metrics=version.metrics,
            bundle_path=str(version.bundle_path),
            bundle_sha256=version.bundle_sha256,
            input_uri=uri,
            rollout=self._deploy(request, version, prepared),
        )

    def _prepare(self, pipeline: Pipeline, uri: str, registry_run: RegistryRun) -> Prepared:
        task = PreparationTask(
            uri=uri,
            features=pipeline.features,
            label=pipeline.label,
            seed=pipeline.training.hyperparams.seed,
            s3=self.settings.s3,
            allow_buckets=self.settings.allow_buckets,
        )
        with step(self.progress, self.clock, f"Prepare the data of {uri}") as current:
            prepared = self.compute.prepare(task, pipeline.data_prep.resources)
            events, table = prepared.events, prepared.table
            partition = write_offline(self.settings.home, pipeline.name, events.partition, table).parent.name
            current.detail = f"{events.num_read:,} rows, {len(table):,} customers, {table.schema.num_columns} features"
        if events.num_quarantined:
            place = events.write_quarantine(self.settings.home / "quarantine" / pipeline.name / partition)
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in events.reasons.items())
            self.progress.notice(f"{events.num_quarantined:,} rows quarantined in {place}: {reasons}")
        for note in table.notes:
            self.progress.notice(note)
        registry_run.log_metrics({"customers": len(table), "rows_quarantined": events.num_quarantined})
        return prepared

    def _train(self, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun) -> TabularModel:
        from trainers.loop import TrainingData

        hyperparams = pipeline.training.hyperparams
        table = prepared.train
        is_validation_N = validation_mask(table, hyperparams.seed)
        data = TrainingData(
            train_rows_NF=table.x[~is_validation_N],
            train_labels_N=table.y[~is_validation_N],
            valid_rows_NF=table.x[is_validation_N],
            valid_labels_N=table.y[is_validation_N],
        )

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            registry_run.log_metrics(metrics, step=epoch)
            self.progress.epoch_finished(epoch, hyperparams.epochs, metrics)

        task = TrainingTask(table.schema, data, hyperparams)
        with step(self.progress, self.clock, "Train") as current:
            model = self.compute.train(task, pipeline.training.resources, pipeline.training.workers, on_epoch)
            current.detail = f"{hyperparams.epochs} epochs over {len(data.train_rows_NF):,} customers"
        return model

    def _register(
        self, request: RunRequest, prepared: Prepared, model: TabularModel, registry_run: RegistryRun
    ) -> tuple[RegisteredVersion, Validated, WrittenBundle]:
        from trainers.export import FRAMEWORK, check_parity, export_onnx, score

        pipeline, schema = request.pipeline, prepared.table.schema
        with tempfile.TemporaryDirectory(prefix="divisions-") as folder:
            onnx_path = Path(folder) / ONNX
            with step(self.progress, self.clock, "Export to ONNX") as current:
                export_onnx(model, schema, onnx_path, {"schema_sha256": schema.sha256, "run_id": registry_run.run_id})
                seed = pipeline.training.hyperparams.seed
                parity = check_parity(model, schema, onnx_path, prepared.holdout.x, seed)
                current.detail = f"differs from PyTorch by {parity:.1e} at most"
            with step(self.progress, self.clock, "Validate") as current:
                # What is judged is the exported graph, on customers that training never saw.
                scores_N = score(onnx_path, prepared.holdout.x)
                previous = self.registry.reference_version(pipeline.model_name)
                validated = validate_model(prepared, scores_N, previous, pipeline.validation.gates)
                current.detail = _shown(validated)
            with step(self.progress, self.clock, "Register") as current:
                identity = BundleIdentity(
                    model=pipeline.model_name,
                    pipeline=pipeline.name,
                    run_id=registry_run.run_id,
                    created_at=dt.datetime.fromtimestamp(self.clock.wall_s(), dt.UTC).isoformat(timespec="seconds"),
                    input_uri=prepared.events.uri,
                    framework=FRAMEWORK,
                )
                contents = {
                    ONNX: onnx_path.read_bytes(),
                    REFERENCE: build_reference(schema, prepared.train.x).to_json(),
                    REPORT: report_json(prepared, validated, parity),
                }
                bundle = write_bundle(self.settings.home / "bundles", identity, schema, validated.metrics, contents)
                registry_run.log_metrics(validated.metrics, step=pipeline.training.hyperparams.epochs)
                facts = lineage(request.pipeline_text, prepared, previous, request.git_commit)
                status = ValidationStatus.PASSED if validated.is_passed else ValidationStatus.FAILED
                registry_run.set_tags({**facts, "validation_status": status.value})
                version = self.registry.register(
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
        return version, validated, bundle

    def _deploy(self, request: RunRequest, version: RegisteredVersion, prepared: Prepared) -> str:
        if not request.gateway_url:
            return ""
        with step(self.progress, self.clock, "Start the rollout") as current:
            spec, notices = rollout_spec(request.pipeline, version, prepared.table.schema, self.compute.nodes())
            for notice in notices:
                self.progress.notice(notice)
            status = start_rollout(request.gateway_url, self.settings.home, spec)
            current.detail = f"{version.version} to {spec.endpoint}"
        return str(status.phase)


def _shown(validated: Validated) -> str:
    metrics = validated.metrics
    verdict = "all gates passed" if validated.is_passed else "refused"
    return f"auc {metrics['auc']:.4f}, drift {metrics['drift_score']:.3f} ({validated.drift.note}); {verdict}"
