"""One run of a pipeline, from raw events to a rollout.

    prepare -> train -> calibrate -> export -> validate -> bundle -> register --passed--> rollout -> online store
                                                          |
                                                          +------failed----> GateRefusedError, nothing served

The registry's run spans all stages. If a stage raises, its status is FAILED and there is no version. One exception: a
model that a gate refused is registered as failed, so that people can inspect it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import bundles_folder, local_bundle
from divisions.bundle import ONNX, ONNX_FP16, REFERENCE, REPORT, Decision, Manifest
from divisions.clock import Clock
from divisions.errors import BundleError, GateRefusedError, RegistryError
from divisions.online_stores import open_store
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.variables import expand
from divisions.progress import Progress, step
from divisions.registry import Registry
from divisions.registry_run import RegistryRun, RunDataset
from divisions.schema import FeatureSchema
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus
from trainers.data.engine import limits_for
from trainers.data.feature_store import features_of_others, newest_draft, quarantine_draft, write_offline
from trainers.data.full_disks import full_disk_told
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds
from trainers.data.newest_rows import write_newest
from trainers.data.online_features import (
    NEWEST_FEATURES,
    OFFLINE_FEATURES,
    fill_online_store,
    left_out,
    unreached_store,
)
from trainers.data.preparation import PreparationTask, Prepared, features_section, reading_of
from trainers.data.reference import build_reference
from trainers.deployment import Usage, read_usage, rollout_spec, start_rollout
from trainers.export.bundle_writer import BundleIdentity, WrittenBundle, write_bundle
from trainers.export.exported import Calibrated, Exported, calibrate, export
from trainers.export.imported import ImportedModel
from trainers.export.lineage import environment, lineage, run_params
from trainers.export.signature import sign_registered
from trainers.training.compute import Compute, TrainingTask
from trainers.training.training_rows import num_train, training_data
from trainers.validation.measure import measure
from trainers.validation.report_files import REPORT_HTML, report_files
from trainers.validation.validation import Validated, report_json

if TYPE_CHECKING:
    from trainers.training.model import TabularModel


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. ``input_uri`` replaces the file's input. With an empty ``gateway_url`` nothing is deployed.
    ``is_own_gateway``: it is that of this home's cluster, and so reads this home's online store. ``imported`` serves in
    place of a model that the run would train."""

    pipeline: Pipeline
    pipeline_text: str
    today: dt.date
    input_uri: str = ""
    gateway_url: str = ""
    is_own_gateway: bool = True
    git_commit: str | None = None
    imported: ImportedModel | None = None


class RunOutcome(msgspec.Struct, frozen=True):
    """The results of a run. ``rollout`` is the phase of the started rollout; empty if none was started."""

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
class Previous:
    """The version that a new one is compared with. ``schema`` is None if its bundle is unreadable."""

    version: RegisteredVersion | None = None
    schema: FeatureSchema | None = None

    @property
    def known_kinds(self) -> KnownKinds:
        if self.version is None or self.schema is None:
            return NOTHING_KNOWN
        return KnownKinds.of(self.version.version, self.schema)


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """Everything that a run needs. `run` runs a pipeline."""

    settings: Settings
    registry: Registry
    compute: Compute
    progress: Progress
    clock: Clock
    began: Callable[[str], None] = lambda run_id: None
    """Told the run's id as soon as it has one."""

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
            self.began(registry_run.run_id)
            imported = request.imported
            registry_run.log_params(run_params(pipeline) if imported is None else imported.facts)
            previous = self._previous(pipeline)
            draft = newest_draft(self.settings.home, pipeline.name, registry_run.run_id, self.clock.wall_s())
            try:
                prepared = self._prepare(request, uri, previous, registry_run, draft)
                if imported is not None:
                    prepared = imported.prepared(prepared)
                stored = self._write_features(pipeline, prepared, previous)
            finally:
                draft.unlink(missing_ok=True)
                quarantine_draft(draft).unlink(missing_ok=True)
            if imported is None:
                calibrated, exported = self._make(pipeline, prepared, registry_run)
            else:
                calibrated, exported = imported.exported(prepared)
            validated = self._validate(pipeline, prepared, exported.model_onnx, calibrated, previous.version)
            bundle = self._write_bundle(pipeline, prepared, validated, exported, registry_run)
            self._log_report(pipeline, prepared, validated, calibrated, bundle.path, registry_run)
            facts = lineage(request.pipeline_text, prepared, previous.version, request.git_commit)
            facts |= stored | environment() | (dict(imported.facts) if imported else {})
            version = self._register(pipeline, validated, bundle, facts, registry_run)
            sign_registered(self.settings, self.registry, version, self.progress, self.clock)
        self.compute.finish()
        if not validated.is_passed:
            raise GateRefusedError(
                f"version {version.version} of {version.model} is refused: {validated.refusals}",
                remedy=f"it is registered as failed and not served; its report is {bundle.path / REPORT}",
            )
        return RunOutcome(
            run_id=version.run_id,
            model=version.model,
            version=version.version,
            registry_version=version.registry_version,
            validation_status=version.validation_status.value,
            metrics=version.metrics,
            bundle_path=str(bundle.path),
            bundle_sha256=version.bundle_sha256,
            input_uri=uri,
            rollout=self._deploy(request, version, bundle.manifest, self.settings.home / stored[NEWEST_FEATURES]),
        )

    def _previous(self, pipeline: Pipeline) -> Previous:
        version = self.registry.reference_version(pipeline.model_name)
        if version is None:
            return Previous()
        folder = local_bundle(self.settings.home, version.bundle_path)
        version = msgspec.structs.replace(version, bundle_path=folder)
        try:
            _, manifest = Bundles.of(self.settings).open(folder, version.bundle_sha256)
            return Previous(version, manifest.schema)
        except BundleError as error:
            self.progress.notice(f"the kinds of columns in version {version.version} are unknown: {error}")
            return Previous(version)

    def _prepare(
        self, request: RunRequest, uri: str, previous: Previous, registry_run: RegistryRun, newest: Path
    ) -> Prepared:
        pipeline = request.pipeline
        constant = expand(pipeline.features.event_time_constant, request.today, pipeline=pipeline.name)
        task = PreparationTask(
            uri=uri,
            features=replace(pipeline.features, event_time_constant=constant),
            label=pipeline.label,
            seed=pipeline.training.hyperparams.seed,
            s3=self.settings.s3,
            allow_buckets=self.settings.allow_buckets,
            known=previous.known_kinds,
            distributed=pipeline.data_prep.distributed,
            reading=replace(
                reading_of(pipeline.data_prep, request.today, self.clock.wall_s()),
                newest=newest,
                quarantine=quarantine_draft(newest),
            ),
        )
        with step(self.progress, self.clock, f"Prepare the data of {uri}") as current:
            prepared = self.compute.prepare(pipeline.name, task, pipeline.data_prep.resources)
            events, table = prepared.events, prepared.table
            told = f"{events.num_read:,} rows, {table.rows.num_customers:,} customers,"
            if table.rows.is_repeated:
                told += f" {len(table):,} rows of them to learn from,"
            told += f" {table.schema.num_columns} features"
            current.detail = f"{told}; {', '.join(events.formats)}"
        if events.num_quarantined:
            partition = f"partition={events.partition or table.last_day}"
            folder = self.settings.home / "quarantine" / pipeline.name / partition
            with full_disk_told("writing the quarantine", folder):
                place = events.unusable.write(folder)
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in events.reasons.items())
            self.progress.notice(f"{events.num_quarantined:,} rows quarantined in {place}: {reasons}")
        for note in table.notes:
            self.progress.notice(note)
        counts = {"customers": table.rows.num_customers, "rows_quarantined": events.num_quarantined}
        registry_run.log_metrics(counts)
        name = f"{pipeline.name} {events.partition}".strip()
        registry_run.log_dataset(RunDataset(name, uri, prepared.data_sha256, table.schema, counts))
        return prepared

    def _write_features(self, pipeline: Pipeline, prepared: Prepared, previous: Previous) -> dict[str, str]:
        """Writes the offline store; returns its files for the lineage, relative to the home."""
        home, table, resources = self.settings.home, prepared.table, pipeline.data_prep.resources
        also = features_of_others(table, previous.schema)
        with full_disk_told("writing the offline features", home / "features"):
            path = write_offline(home, pipeline.name, prepared.events.partition, table, also)
            assert prepared.events.newest is not None  # `_prepare` asks for them
            newest, limits = path.with_name("newest.parquet"), limits_for(resources.num_cpus, resources.memory_gb)
            write_newest(prepared.events.newest, newest, table.schema, also, limits)
        facts = {OFFLINE_FEATURES: str(path.relative_to(home))}
        return {**facts, NEWEST_FEATURES: str(newest.relative_to(home))}

    def _make(self, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun) -> tuple[Calibrated, Exported]:
        model, seed = self._train(pipeline, prepared, registry_run), pipeline.training.hyperparams.seed
        calibrated = self._calibrate(prepared, model, seed)
        return calibrated, self._export(prepared, model, seed, registry_run.run_id)

    def _train(self, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun) -> TabularModel:
        hyperparams = pipeline.training.hyperparams
        data = prepared.rows or training_data(prepared, hyperparams.seed)

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            registry_run.log_metrics(metrics, step=epoch)
            self.progress.epoch_finished(epoch, hyperparams.epochs, metrics)

        task = TrainingTask(pipeline.name, prepared.table.schema, data, hyperparams)
        with step(self.progress, self.clock, "Train") as current:
            model = self.compute.train(task, pipeline.training.resources, pipeline.training.workers, on_epoch)
            rows = "rows" if prepared.table.rows.is_repeated else "customers"
            current.detail = f"{hyperparams.epochs} epochs over {num_train(data):,} {rows}"
        return model

    def _calibrate(self, prepared: Prepared, model: TabularModel, seed: int) -> Calibrated:
        with step(self.progress, self.clock, "Calibrate") as current:
            calibrated = calibrate(model, prepared, seed)
            current.detail = str(calibrated.calibration)
        return calibrated

    def _export(self, prepared: Prepared, model: TabularModel, seed: int, run_id: str) -> Exported:
        with step(self.progress, self.clock, "Export to ONNX") as current:
            exported = export(model, prepared, seed, run_id)
            current.detail = f"differs from PyTorch by {exported.parity:.1e} at most"
            if exported.half_parity is not None and exported.half_onnx:
                current.detail += f", in float16 by {exported.half_parity.max_difference:.1e}"
        if exported.why:
            self.progress.notice(f"no float16 variant: {exported.why}")
        return exported

    def _validate(
        self,
        pipeline: Pipeline,
        prepared: Prepared,
        model_onnx: bytes,
        calibrated: Calibrated,
        previous: RegisteredVersion | None,
    ) -> Validated:
        with step(self.progress, self.clock, "Validate") as current:
            validated = measure(pipeline, prepared, model_onnx, calibrated, previous, self.clock.monotonic_s)
            current.detail = validated.summary
        for warning in (*validated.decided.notes, *validated.warnings):
            self.progress.notice(warning)
        return validated

    def _write_bundle(
        self,
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
            created_at=dt.datetime.fromtimestamp(self.clock.wall_s(), dt.UTC).isoformat(timespec="seconds"),
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
        bundles = bundles_folder(self.settings.home)
        bundle = write_bundle(bundles, identity, schema, validated.lasting_metrics, contents, decision)
        Bundles.of(self.settings).publish(bundle.path, bundle.sha256)
        return bundle

    def _log_report(
        self, task: Pipeline, prepared: Prepared, judged: Validated, before: Calibrated, bundle: Path, run: RegistryRun
    ) -> None:
        with step(self.progress, self.clock, "Report") as current:
            files = report_files(task, run.run_id, prepared, bundle, judged, before)
            try:
                run.log_texts(files)
                current.detail = f"{REPORT_HTML} among the files of run {run.run_id}"
            except RegistryError as error:  # a report that is not kept refuses no model
                self.progress.notice(f"the validation report is not kept: {error}")

    def _register(
        self,
        pipeline: Pipeline,
        validated: Validated,
        bundle: WrittenBundle,
        facts: dict[str, str],
        registry_run: RegistryRun,
    ) -> RegisteredVersion:
        status = ValidationStatus.PASSED if validated.is_passed else ValidationStatus.FAILED
        with step(self.progress, self.clock, "Register") as current:
            registry_run.log_metrics(validated.metrics, step=pipeline.training.hyperparams.epochs)
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
        return version

    def _deploy(self, request: RunRequest, version: RegisteredVersion, manifest: Manifest, newest: Path) -> str:
        if not request.gateway_url:
            return ""
        endpoint, schema = request.pipeline.deployment.endpoint, manifest.schema
        with step(self.progress, self.clock, "Start the rollout") as current:
            usage = Usage()
            if request.pipeline.serving.num_gpus:  # without GPUs, the cluster's usage does not matter
                usage = read_usage(request.gateway_url, self.settings.home, endpoint)
            nodes = self.compute.nodes()
            spec, notices = rollout_spec(
                request.pipeline, version, schema, nodes, usage, decision_threshold=manifest.decision_threshold
            )
            for notice in notices:
                self.progress.notice(notice)
            status = start_rollout(request.gateway_url, self.settings.home, spec)
            current.detail = f"{version.version} to {spec.endpoint}"
        gateways = [node for node in nodes if node.has_gateway]
        unreached = unreached_store(
            is_shared=bool(self.settings.online_store),
            is_own_gateway=request.is_own_gateway,
            gateways_here=sum(node.is_here for node in gateways),
            gateways_elsewhere=sum(not node.is_here for node in gateways),
        )
        if unreached:
            self.progress.notice(unreached)
            if not any(node.is_here for node in gateways):
                return str(status.phase)
        with step(self.progress, self.clock, "Fill the online store") as current:
            filled = fill_online_store(open_store(self.settings), endpoint, newest, schema)
            current.detail = f"{filled.num_changed:,} customers"
        if filled.num_left_out:
            self.progress.notice(left_out(filled))
        return str(status.phase)
