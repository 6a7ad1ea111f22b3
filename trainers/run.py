"""One run of a pipeline, from raw events to a rollout.

    prepare -> train -> calibrate -> export -> validate -> bundle -> register --passed--> rollout -> online store
                                                          |
                                                          +------failed----> GateRefusedError, nothing served

With `trials`, a search for hyperparameters comes before the training. The registry's run spans all stages. If a stage
raises, its status is FAILED and there is no version. One exception: a model that a gate refused is registered as
failed, so that people can inspect it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.artifacts.claims import using_bundles
from divisions.bundle import Manifest
from divisions.errors import GateRefusedError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.variables import expand
from divisions.versions import REPORT, TRAINER, RegisteredVersion
from trainers.data.feature_store import newest_draft, quarantine_draft
from trainers.data.online_features import NEWEST_FEATURES
from trainers.export.imported import ImportedModel
from trainers.export.lineage import environment, judging_params, lineage
from trainers.export.signature import sign_registered
from trainers.stages.make import make, validate
from trainers.stages.parts import Parts
from trainers.stages.prepare import prepare, write_features
from trainers.stages.previous import previous_of
from trainers.stages.register import log_report, register, write_bundle
from trainers.stages.rollout import deploy
from trainers.stages.search import search, start_params


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. ``input_uri`` replaces the file's input. With an empty ``gateway_url`` nothing is deployed.
    ``is_own_gateway``: it is that of this home's cluster, and so reads this home's online store. ``imported`` serves in
    place of a model that the run would train. ``trainer`` is the principal who runs it; empty if nobody knows."""

    pipeline: Pipeline
    pipeline_text: str
    today: dt.date
    input_uri: str = ""
    gateway_url: str = ""
    is_own_gateway: bool = True
    git_commit: str | None = None
    imported: ImportedModel | None = None
    trainer: str = ""


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
class PipelineRun(Parts):
    """Everything that a run needs. `run` runs a pipeline."""

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
        if self.registry.is_new:
            self.progress.notice("the model registry of this home is being made, once; it takes some seconds")
        with self.registry.start_run(pipeline.name, name, {"divisions.input_uri": uri}) as registry_run:
            self.began(registry_run.run_id)
            imported = request.imported
            judged_by = start_params(pipeline) if imported is None else imported.params | judging_params(pipeline)
            registry_run.log_params(judged_by)
            previous = previous_of(self, pipeline)
            draft = newest_draft(self.settings.home, pipeline.name, registry_run.run_id, self.clock.wall_s())
            try:
                prepared = prepare(self, pipeline, uri, request.today, previous, registry_run, draft)
                if imported is not None:
                    prepared = imported.prepared(prepared)
                stored = write_features(self, pipeline, prepared, previous)
            finally:
                draft.unlink(missing_ok=True)
                quarantine_draft(draft).unlink(missing_ok=True)
            if imported is None:
                pipeline = search(self, pipeline, prepared, registry_run)
                calibrated, exported = make(self, pipeline, prepared, registry_run)
            else:
                calibrated, exported = imported.exported(prepared)
                if note := imported.note_of_missing(prepared):
                    self.progress.notice(note)
            validated = validate(self, pipeline, prepared, exported.model_onnx, calibrated, previous.version)
            with using_bundles(self.settings.home):
                bundle = write_bundle(self, pipeline, prepared, validated, exported)
                report, report_sha256 = log_report(
                    self, pipeline, prepared, validated, calibrated, exported, bundle.path, registry_run
                )
                facts = lineage(request.pipeline_text, prepared, previous.version, request.git_commit)
                facts |= stored | environment() | (dict(imported.facts) if imported else {})
                told = {TRAINER: request.trainer, REPORT: report_sha256}
                facts |= {name: text for name, text in told.items() if text}
                version = register(self, pipeline, validated, bundle, facts, registry_run)
            sign_registered(self.settings, self.registry, version, self.progress, self.clock)
        self.compute.finish()
        if not validated.is_passed:
            raise GateRefusedError(
                f"version {version.version} of {version.model} is refused: {validated.refusals}",
                remedy=f"it is registered as failed and not served; its report is {report or 'not kept'}",
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

    def _deploy(self, request: RunRequest, version: RegisteredVersion, manifest: Manifest, newest: Path) -> str:
        if not request.gateway_url:
            return ""
        url, is_own = request.gateway_url, request.is_own_gateway
        return deploy(self, request.pipeline, version, manifest, newest, url, is_own_gateway=is_own)
