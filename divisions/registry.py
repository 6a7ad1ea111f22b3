"""The model registry: MLflow's runs, versions, tags and aliases. Only this module imports MLflow.

Tags and aliases hold the state. MLflow's own stages are deprecated and are not used.

==============================  ====================================================================
on a version
==============================  ====================================================================
tag ``divisions.version``       its label, such as ``3.2``
tag ``validation_status``       pending, passed or failed
tag ``archived``                ``true`` after another version has replaced it in production
tag ``divisions.bundle_*``      path and SHA-256 of its bundle
alias ``production``            the version that the controller last promoted (a projection of its journal)
alias ``staging``               the newest version that passed its gates and was not promoted yet
==============================  ====================================================================

A version is created ``pending``. The last step of its registration makes it ``passed`` or ``failed``; only ``passed``
may serve. If a step in between fails, the version is deleted and its run is FAILED. If the process is killed in
between, the version stays ``pending`` and never serves.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divisions.clock import Clock, SystemClock
from divisions.errors import RegistryError
from divisions.settings import set_default_environment
from divisions.versions import PRODUCTION, STAGING, RegisteredVersion, RunRecord, ValidationStatus

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VERSION = "divisions.version"
_MAJOR = "divisions.major"
_BUNDLE_PATH = "divisions.bundle_path"
_BUNDLE_SHA256 = "divisions.bundle_sha256"
_STATUS = "validation_status"
_MESSAGE = "validation_message"
_ARCHIVED = "archived"
_METRIC = "metric."
_LINEAGE = "lineage."
_ARTIFACT_FOLDER = "bundle"


class RegistryRun:
    """An MLflow run in progress. As a context manager it ends FINISHED, or FAILED after an exception."""

    def __init__(self, client: MlflowClient, run_id: str, artifact_uri: str, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self.run_id = run_id
        self.artifact_uri = artifact_uri

    def __enter__(self) -> RegistryRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None:
            # The error that ended the run matters more than an error while recording it.
            with contextlib.suppress(RegistryError), _registry_errors("note the failure of the run"):
                self._client.set_tag(self.run_id, "error", f"{type(error).__name__}: {error}"[:5000])
                self._client.set_terminated(self.run_id, "KILLED" if kind is KeyboardInterrupt else "FAILED")
            return
        with _registry_errors("finish the run"):
            self._client.set_terminated(self.run_id, "FINISHED")

    def log_params(self, params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        with _registry_errors("write the run's parameters"):
            self._client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Writes metrics of one step. Metrics that are not finite are left out, because MLflow would store them as
        0."""
        from mlflow.entities import Metric

        now_ms = int(self._clock.wall_s() * 1000)
        rows = [Metric(name, float(value), now_ms, step) for name, value in metrics.items() if math.isfinite(value)]
        with _registry_errors("write the run's metrics"):
            self._client.log_batch(self.run_id, metrics=rows)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        with _registry_errors("write the run's tags"):
            self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])


class Registry:
    """The registry of one home, or of a tracking server."""

    def __init__(self, home: Path, tracking_uri: str = "", clock: Clock | None = None) -> None:
        """Args: ``tracking_uri``: empty means SQLite and a folder inside ``home``."""
        self._home = home
        self._is_embedded = not tracking_uri
        self._uri = tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
        self._clock = clock or SystemClock()
        self._client_or_none: MlflowClient | None = None

    def start_run(self, pipeline: str, name: str, tags: Mapping[str, str]) -> RegistryRun:
        """Starts a run in the experiment named like the pipeline."""
        with _registry_errors(f"start a run of {pipeline!r}"):
            experiment = self._client.get_experiment_by_name(pipeline)
            experiment_id = experiment.experiment_id if experiment else self._create_experiment(pipeline)
            run = self._client.create_run(
                experiment_id, run_name=name, tags={"divisions.pipeline": pipeline, **tags, "mlflow.source.type": "JOB"}
            )
            return RegistryRun(self._client, run.info.run_id, run.info.artifact_uri, self._clock)

    def register(
        self,
        run: RegistryRun,
        *,
        model: str,
        major: int,
        bundle_path: Path,
        bundle_sha256: str,
        metrics: Mapping[str, float],
        status: ValidationStatus,
        message: str = "",
        lineage: Mapping[str, str] | None = None,
    ) -> RegisteredVersion:
        """Stores the bundle with the run and registers it as a new version. The module's text says what a failure
        leaves.

        A version that passed gets the alias ``staging``.

        Raises:
            RegistryError: the registry cannot be reached or refuses.
        """
        tags = {
            _MAJOR: str(major),
            _BUNDLE_PATH: str(bundle_path),
            _BUNDLE_SHA256: bundle_sha256,
            _STATUS: ValidationStatus.PENDING.value,
            _MESSAGE: message[:5000],
            **{_METRIC + name: repr(float(value)) for name, value in metrics.items() if math.isfinite(value)},
            **{_LINEAGE + name: value[:5000] for name, value in (lineage or {}).items()},
        }
        with _registry_errors(f"register a version of {model!r}"):
            self._client.log_artifacts(run.run_id, str(bundle_path), _ARTIFACT_FOLDER)
            self._ensure_model(model)
            source = f"{run.artifact_uri}/{_ARTIFACT_FOLDER}"
            created = self._client.create_model_version(model, source, run.run_id, tags=tags)
            number = str(created.version)
            try:
                self._client.set_model_version_tag(model, number, _VERSION, f"{major}.{number}")
                if status is ValidationStatus.PASSED:
                    self._client.set_registered_model_alias(model, STAGING, number)
                self._client.set_model_version_tag(model, number, _STATUS, status.value)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._client.delete_model_version(model, number)
                raise
        return self.get_version(model, int(number))

    def list_versions(self, model: str | None = None) -> list[RegisteredVersion]:
        """All versions of one model, or of every model; newest first. Empty for a model that does not exist."""
        versions: list[RegisteredVersion] = []
        with _registry_errors("list the versions"):
            for registered in self._client.search_registered_models():
                if model is None or registered.name == model:
                    found = self._client.search_model_versions(f"name='{registered.name}'")
                    versions += [_version(one, registered.aliases) for one in found]
        return sorted(versions, key=lambda version: (version.model, -version.registry_version))

    def get_version(self, model: str, version: str | int) -> RegisteredVersion:
        """Finds a version by its label (``"3.2"``), its registry number (``2``) or its alias (``"production"``).

        Raises:
            RegistryError: there is no such version.
        """
        for candidate in self.list_versions(model):
            if version in {candidate.version, candidate.registry_version, *candidate.aliases}:
                return candidate
            if str(version) == str(candidate.registry_version):
                return candidate
        raise RegistryError(
            f"the registry has no version {version} of {model!r}", remedy="see `divisions models list` for what it has"
        )

    def reference_version(self, model: str) -> RegisteredVersion | None:
        """The version that a new version is compared with: production, else the newest that passed, else None."""
        passed = [v for v in self.list_versions(model) if v.validation_status is ValidationStatus.PASSED]
        in_production = [version for version in passed if PRODUCTION in version.aliases]
        return next(iter(in_production or passed), None)

    def set_production(self, model: str, version: str | int) -> RegisteredVersion:
        """Applies a promotion or a rollback of the journal: moves the alias, and archives the version that had it.

        Repeating it changes nothing.

        Raises:
            RegistryError: there is no such version, or it did not pass its gates.
        """
        chosen = self.get_version(model, version)
        if chosen.validation_status is not ValidationStatus.PASSED:
            raise RegistryError(
                f"version {chosen.version} of {model!r} is {chosen.validation_status}, not passed",
                remedy="promote a version that passed its gates",
            )
        with _registry_errors(f"promote version {chosen.version} of {model!r}"):
            number = str(chosen.registry_version)
            for other in self.list_versions(model):
                if PRODUCTION in other.aliases and other.registry_version != chosen.registry_version:
                    self._client.set_model_version_tag(model, str(other.registry_version), _ARCHIVED, "true")
            if chosen.is_archived:
                self._client.delete_model_version_tag(model, number, _ARCHIVED)
            self._client.set_registered_model_alias(model, PRODUCTION, number)
            if STAGING in chosen.aliases:
                self._client.delete_registered_model_alias(model, STAGING)
        return self.get_version(model, chosen.registry_version)

    def archive(self, model: str, version: str | int) -> RegisteredVersion:
        """Marks a version as archived, and removes its ``staging`` alias.

        Raises:
            RegistryError: there is no such version, or it is in production.
        """
        chosen = self.get_version(model, version)
        if PRODUCTION in chosen.aliases:
            raise RegistryError(
                f"version {chosen.version} of {model!r} is in production", remedy="promote another version first"
            )
        with _registry_errors(f"archive version {chosen.version} of {model!r}"):
            self._client.set_model_version_tag(model, str(chosen.registry_version), _ARCHIVED, "true")
            if STAGING in chosen.aliases:
                self._client.delete_registered_model_alias(model, STAGING)
        return self.get_version(model, chosen.registry_version)

    def get_run(self, run_id: str) -> RunRecord:
        """Raises: RegistryError: there is no such run."""
        with _registry_errors(f"find run {run_id}"):
            return _run_record(self._client.get_run(run_id))

    @property
    def _client(self) -> MlflowClient:
        if self._client_or_none is None:
            self._client_or_none = self._connect()
        return self._client_or_none

    def _connect(self) -> MlflowClient:
        set_default_environment(
            {
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
                "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
                "GIT_PYTHON_REFRESH": "quiet",  # otherwise MLflow warns on machines without git
            }
        )
        # MLflow and Alembic log each table that they create at INFO. Our progress output must not show that.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        if not self._is_embedded:
            return MlflowClient(self._uri, self._uri)
        self._home.mkdir(parents=True, exist_ok=True)
        # With an empty database, two processes would both create its tables, and one of them would fail.
        with (self._home / "mlflow.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            client = MlflowClient(self._uri, self._uri)
            client.search_experiments(max_results=1)
        return client

    def _create_experiment(self, pipeline: str) -> str:
        artifacts = (self._home / "mlartifacts").as_uri() if self._is_embedded else None
        experiment_id: str = self._client.create_experiment(pipeline, artifact_location=artifacts)
        return experiment_id

    def _ensure_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _version(entity: Any, alias_numbers: Mapping[str, Any]) -> RegisteredVersion:
    tags: dict[str, str] = entity.tags
    number = int(entity.version)
    return RegisteredVersion(
        model=entity.name,
        version=tags.get(_VERSION) or f"{tags.get(_MAJOR, '0')}.{number}",
        registry_version=number,
        run_id=entity.run_id or "",
        bundle_path=Path(tags.get(_BUNDLE_PATH, "")),
        bundle_sha256=tags.get(_BUNDLE_SHA256, ""),
        validation_status=ValidationStatus(tags.get(_STATUS, ValidationStatus.PENDING)),
        metrics={name.removeprefix(_METRIC): float(v) for name, v in tags.items() if name.startswith(_METRIC)},
        aliases=tuple(sorted(alias for alias, owner in alias_numbers.items() if int(owner) == number)),
        is_archived=tags.get(_ARCHIVED) == "true",
        created_at_s=entity.creation_timestamp / 1000,
        message=tags.get(_MESSAGE, ""),
        lineage={name.removeprefix(_LINEAGE): v for name, v in tags.items() if name.startswith(_LINEAGE)},
    )


def _run_record(run: Any) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        pipeline=run.data.tags.get("divisions.pipeline", ""),
        status=run.info.status,
        started_at_s=(run.info.start_time or 0) / 1000,
        ended_at_s=(run.info.end_time or 0) / 1000,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags={name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
    )


@contextlib.contextmanager
def _registry_errors(action: str) -> Iterator[None]:
    """Turns every error of MLflow's stores (its own, SQL, HTTP, files) into a `RegistryError`."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RegistryError(
            f"the model registry could not {action}: {reason}", remedy="check DIVISIONS_TRACKING_URI and the disk"
        ) from error
