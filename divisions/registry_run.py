"""An MLflow run in progress, and MLflow's errors as ours."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.artifacts.local import address_of
from divisions.artifacts.release_folder import served_releases
from divisions.bundle import MANIFEST, decode_manifest
from divisions.clock import Clock
from divisions.errors import RegistryError
from divisions.mlflow_copy import mlflow_folder
from divisions.run_claims import RunClaim, abandoned
from divisions.schema import FeatureKind, FeatureSchema

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from divisions.registry_reads import SqliteReads


@dataclass(frozen=True, slots=True)
class RunDataset:
    """The data that a run has learned from, for MLflow. ``sha256`` is its content's; ``counts`` are shown with it."""

    name: str
    uri: str
    sha256: str
    schema: FeatureSchema
    counts: Mapping[str, int]


class RegistryRun:
    """An MLflow run in progress. As a context manager it ends FINISHED, or FAILED after an exception."""

    def __init__(
        self, client: MlflowClient, run_id: str, artifact_uri: str, clock: Clock, claim: RunClaim | None = None
    ) -> None:
        self._client = client
        self._claim = claim
        self._clock = clock
        self.run_id = run_id
        self.artifact_uri = artifact_uri

    def __enter__(self) -> RegistryRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        is_noted = False
        try:
            if error is not None:
                # The error that ended the run matters more than an error while recording it.
                with contextlib.suppress(RegistryError), registry_errors("note the failure of the run"):
                    self._client.set_tag(self.run_id, "error", f"{type(error).__name__}: {error}"[:5000])
                    self._client.set_terminated(self.run_id, "KILLED" if kind is KeyboardInterrupt else "FAILED")
                    is_noted = True
                return
            with registry_errors("finish the run"):
                self._client.set_terminated(self.run_id, "FINISHED")
                is_noted = True
        finally:
            if self._claim is not None:
                self._claim.release(is_noted=is_noted)

    def log_params(self, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        with registry_errors("write the run's parameters"):
            self._client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics of one step. Metrics that are not finite are left out, because MLflow would store them as
        0."""
        from mlflow.entities import Metric

        now_ms = int(self._clock.wall_s() * 1000)
        rows = [Metric(name, float(value), now_ms, step) for name, value in metrics.items() if math.isfinite(value)]
        with registry_errors("write the run's metrics"):
            self._client.log_batch(self.run_id, metrics=rows)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with registry_errors("write the run's tags"):
            self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log_texts(self, texts: Mapping[str, str]) -> None:
        """Writes files among the run's artifacts, by their paths there."""
        with registry_errors("write the run's files"):
            for path, text in texts.items():
                self._client.log_text(self.run_id, text, path)

    def log_dataset(self, dataset: RunDataset) -> None:
        """Notes the data as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [
            {"name": feature.name, "type": _COLUMN_TYPES[feature.kind], "required": False}
            for feature in dataset.schema.features
        ]
        entity = Dataset(
            name=dataset.name[:_MAX_NAME_CHARS],
            digest=dataset.sha256[:_DIGEST_CHARS],
            source_type="local" if "://" not in dataset.uri else dataset.uri.partition("://")[0],
            source=json.dumps({"uri": dataset.uri}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(dict(dataset.counts)),
        )
        tags = [InputTag("mlflow.data.context", "training")]
        with registry_errors("write the run's dataset"):
            self._client.log_inputs(self.run_id, [DatasetInput(entity, tags)])


_MAX_NAME_CHARS = 500
_DIGEST_CHARS = 36
"""MLflow's limits."""
_COLUMN_TYPES = {FeatureKind.NUMERIC: "double", FeatureKind.BOOLEAN: "boolean", FeatureKind.CATEGORICAL: "string"}


def log_bundle(client: MlflowClient, run_id: str, bundle: Path, folder: str) -> None:
    """Copies a bundle and MLflow's own files to the run's artifacts. ``MLmodel`` comes last: without it, MLflow finds
    no model."""
    client.log_artifacts(run_id, str(bundle), folder)
    with mlflow_folder(bundle, run_id) as files:
        for path in files:
            client.log_artifact(run_id, str(path), folder)


@contextlib.contextmanager
def registry_errors(action: str) -> Iterator[None]:
    """Turns every error of MLflow's stores (its own, SQL, HTTP, files) into a `RegistryError`."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        is_absent = getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"
        remedy = "`divisions models list` shows what it has; check" if is_absent else "check"
        raise RegistryError(
            f"the model registry could not {action}: {reason}", remedy=f"{remedy} DIVISIONS_TRACKING_URI and the disk"
        ) from error


def made_of(bundle: Path) -> tuple[str, int]:
    """What has made a bundle's graph, and the bundle's size in bytes."""
    manifest = decode_manifest((bundle / MANIFEST).read_bytes(), f"bundle {bundle}")
    return manifest.framework, sum(path.stat().st_size for path in bundle.iterdir())


def end_abandoned(client: MlflowClient, home: Path) -> None:
    """Ends the runs of this home whose processes were killed."""
    from mlflow.exceptions import MlflowException

    for run_id in abandoned(home):
        try:
            if client.get_run(run_id).info.status == "RUNNING":
                client.set_tag(run_id, "error", "its process was killed, or the registry was away at its end")
                client.set_terminated(run_id, "KILLED")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def require_not_lost(home: Path, embedded: SqliteReads) -> None:
    """Refuses an empty registry beside bundles: its file was removed or emptied.

    Without this check, the next run would be a first version again, without a drift gate.

    Raises:
        RegistryError: the registry was lost.
    """
    with registry_errors("read its database"):
        if not embedded.is_empty():
            return
    folder = home / "bundles"
    of_images = {each.address for each in served_releases(home)}
    found = {address_of(path.parent) for path in folder.glob("*/*/manifest.json")}
    bundles = len(found - of_images)
    if bundles:
        raise RegistryError(
            f"the registry was lost: {home / 'mlflow.db'} has no runs, but {folder} has {bundles} bundles",
            remedy=f"restore the file from a backup, or move {folder} away to start anew",
        )
