"""The model registry: MLflow's runs, versions, tags and aliases.

Tags and aliases hold the state; `divisions.registry_records` lists the tags. MLflow's own stages are deprecated and are
not used.

==============================  ====================================================================
alias ``production``            the version that the controller last promoted (a projection of its journal)
alias ``staging``               the newest version that passed its gates and was not promoted yet
==============================  ====================================================================

A version is created ``pending``. The last steps of its registration make it ``passed`` or ``failed``, and set its
alias. Only ``passed`` may serve. If a step fails, the version is deleted and its run is FAILED. If the process is
killed before these steps, the version stays ``pending`` and never serves.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.bundle import bundle_address
from divisions.clock import Clock, SystemClock
from divisions.errors import RegistryError
from divisions.foreign_models import refuse_foreign
from divisions.mlflow_loading import load_mlflow
from divisions.registry_home import artifact_root, follow_home, is_server, make_database, shared_client, store_uri
from divisions.registry_reads import ClientReads, Reads, SqliteReads
from divisions.registry_records import (
    ARCHIVED,
    LABEL,
    STATUS,
    VersionRecord,
    best_epoch,
    newest_candidate,
    pending_tags,
    registered_version,
)
from divisions.registry_run import RegistryRun, end_abandoned, log_bundle, made_of, registry_errors, require_not_lost
from divisions.registry_writes import ClientWrites, SqliteWrites, Writes
from divisions.run_claims import RunClaim
from divisions.version_names import parse_address, parse_version
from divisions.versions import PRODUCTION, STAGING, RegisteredVersion, RunRecord, ValidationStatus

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACT_FOLDER = "bundle"


class Registry:
    """The registry of one home, or of a tracking server."""

    def __init__(self, home: Path, tracking_uri: str = "", clock: Clock | None = None, artifacts: str = "") -> None:
        """Opens no connection.

        Args:
            tracking_uri: empty means SQLite and a folder inside ``home``.
            clock: for the times of metrics.
            artifacts: the store that machines share, which has the bundles. Versions in a database that machines share
                name their bundle there, and MLflow gets no copy of it.
        """
        self._home = home
        self._is_embedded = not tracking_uri
        self._bundle_store = "" if self._is_embedded or is_server(tracking_uri) else store_uri(artifacts)
        self._database = home / "mlflow.db"
        self._embedded = SqliteReads(self._database)
        self._uri = tracking_uri or f"sqlite:///{self._database}"
        self._writes: Writes = SqliteWrites(self._database) if self._is_embedded else ClientWrites(lambda: self._client)
        self._clock = clock or SystemClock()
        self._client_or_none: MlflowClient | None = None

    def start_run(self, pipeline: str, name: str, tags: Mapping[str, str]) -> RegistryRun:
        """Starts a run in the experiment named like the pipeline. Runs of this home whose processes were killed end."""
        with registry_errors(f"start a run of {pipeline!r}"):
            end_abandoned(self._client, self._home)
            experiment = self._client.get_experiment_by_name(pipeline)
            experiment_id = experiment.experiment_id if experiment else self._create_experiment(pipeline)
            run = self._client.create_run(
                experiment_id, run_name=name, tags={"divisions.pipeline": pipeline, **tags, "mlflow.source.type": "JOB"}
            )
            claim = RunClaim(self._home, run.info.run_id)
            return RegistryRun(self._client, run.info.run_id, run.info.artifact_uri, self._clock, claim)

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
        """Stores the bundle in the folder ``bundle_path`` with the run and registers it as a new version.

        The module's text says what a failure leaves.

        A version that passed gets the alias ``staging``.

        Raises:
            RegistryError: the registry cannot be reached or refuses.
        """
        address = bundle_address(model, bundle_sha256)
        with registry_errors(f"register a version of {model!r}"):
            framework, size_bytes = made_of(bundle_path)
            facts = lineage or {}
            tags = pending_tags(major, address, bundle_sha256, metrics, message, facts, framework, size_bytes)
            source = f"{self._bundle_store}/{address}"
            if not self._bundle_store:
                log_bundle(self._client, run.run_id, bundle_path, ARTIFACT_FOLDER)
                source = f"{run.artifact_uri}/{ARTIFACT_FOLDER}"
            self._ensure_model(model)
            created = self._client.create_model_version(model, source, run.run_id, tags=tags)
            number = str(created.version)
            try:
                self._client.set_model_version_tag(model, number, LABEL, f"{major}.{number}")
                # Read back first: nothing may fail after the version counts as passed.
                pending = self.get_version(model, int(number))
                self._client.set_model_version_tag(model, number, STATUS, status.value)
                if status is ValidationStatus.PASSED:
                    self._client.set_registered_model_alias(model, STAGING, number)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._client.delete_model_version(model, number)
                raise
        aliases = (STAGING,) if status is ValidationStatus.PASSED else ()
        return msgspec.structs.replace(pending, aliases=aliases, validation_status=status)

    def list_versions(self, model: str | None = None) -> list[RegisteredVersion]:
        """All versions of one model, or of every model; newest first. Empty for a model that does not exist."""
        with registry_errors("list the versions"):
            found = [registered_version(record) for record in self._reads.versions(model)]
        versions = [version for version in found if version is not None]
        return sorted(versions, key=lambda version: (version.model, -version.registry_version))

    def get_version(self, model: str, version: str | int) -> RegisteredVersion:
        """Finds a version by its label, its number, its alias, or as MLflow writes them (`divisions.version_names`).

        Raises:
            RegistryError: there is no such version.
        """
        name = parse_version(str(version), model)
        if name.alias == STAGING:
            self._mend_staging(model)
        for candidate in self.list_versions(model):
            if name.names(candidate):
                return candidate
        refuse_foreign(self.records(model), model, str(version))
        raise RegistryError(
            f"the registry has no version {version} of {model!r}", remedy="see `divisions models list` for what it has"
        )

    def records(self, model: str | None = None) -> list[VersionRecord]:
        """All versions of one model, or of every model, as MLflow has them, those of other tools included."""
        with registry_errors("list the versions"):
            return self._reads.versions(model)

    def mark_archived(self, model: str, number: int, *, is_archived: bool) -> None:
        """Sets or takes away the mark alone. Repeating it changes nothing."""
        with registry_errors(f"archive version {number} of {model!r}"):
            if is_archived:
                self._writes.set_tag(model, number, ARCHIVED, "true")
            else:
                self._writes.delete_tag(model, number, ARCHIVED)

    def reference_version(self, model: str) -> RegisteredVersion | None:
        """The version that a new version is compared with: production, else the newest that passed, else None.

        An archived version is taken only if there is no other.
        """
        self._mend_staging(model)
        passed = [v for v in self.list_versions(model) if v.validation_status is ValidationStatus.PASSED]
        in_production = [version for version in passed if PRODUCTION in version.aliases]
        in_use = [version for version in passed if not version.is_archived]
        return next(iter(in_production or in_use or passed), None)

    def _mend_staging(self, model: str) -> None:
        """Sets the alias that a registration could not set any more, because its process or the registry died after the
        version had passed."""
        versions = self.list_versions(model)
        newest = newest_candidate(versions)
        named = [one.registry_version for one in versions if {STAGING, PRODUCTION} & set(one.aliases)]
        if newest is not None and newest.registry_version > max(named, default=0):
            with registry_errors(f"name the newest version of {model!r} that passed"):
                self._writes.set_alias(model, STAGING, newest.registry_version)

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
        with registry_errors(f"promote version {chosen.version} of {model!r}"):
            number = chosen.registry_version
            for other in self.list_versions(model):
                if PRODUCTION in other.aliases and other.registry_version != chosen.registry_version:
                    self._writes.set_tag(model, other.registry_version, ARCHIVED, "true")
            if chosen.is_archived:
                self._writes.delete_tag(model, number, ARCHIVED)
            self._writes.set_alias(model, PRODUCTION, number)
            if STAGING in chosen.aliases:
                self._writes.delete_alias(model, STAGING)
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
        with registry_errors(f"archive version {chosen.version} of {model!r}"):
            self._writes.set_tag(model, chosen.registry_version, ARCHIVED, "true")
            if STAGING in chosen.aliases:
                self._writes.delete_alias(model, STAGING)
        return self.get_version(model, chosen.registry_version)

    def unarchive(self, model: str, version: str | int) -> RegisteredVersion:
        """Takes a version out of the archive. The newest version that passed and is not in production becomes
        ``staging``.

        Raises:
            RegistryError: there is no such version.
        """
        chosen = self.get_version(model, version)
        with registry_errors(f"unarchive version {chosen.version} of {model!r}"):
            if chosen.is_archived:
                self._writes.delete_tag(model, chosen.registry_version, ARCHIVED)
            newest = newest_candidate(self.list_versions(model))
            if newest is not None and STAGING not in newest.aliases:
                self._writes.set_alias(model, STAGING, newest.registry_version)
        return self.get_version(model, chosen.registry_version)

    def remove(self, version: RegisteredVersion) -> None:
        """Deletes a version, and its copy of the bundle among its run's files first. The run itself stays, with its
        report and its log. Numbers are not given again. A version that is gone already is no error.

        Raises:
            RegistryError: the registry cannot be reached or refuses.
        """
        from mlflow.exceptions import MlflowException

        with registry_errors(f"remove version {version.version} of {version.model!r}"):
            try:
                if not self._bundle_store:
                    self._remove_copy(self._client.get_run(version.run_id).info.artifact_uri)
                self._client.delete_model_version(version.model, str(version.registry_version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise

    def _remove_copy(self, artifact_uri: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        get_artifact_repository(artifact_uri, tracking_uri=self._uri).delete_artifacts(ARTIFACT_FOLDER)

    def get_run(self, run_id: str) -> RunRecord:
        """Raises: RegistryError: there is no such run."""
        with registry_errors(f"find run {run_id}"):
            return self._reads.run(run_id)

    def list_runs(self, pipeline: str | None, most: int) -> list[RunRecord]:
        """The newest runs of one pipeline, or of all; newest first."""
        with registry_errors("list the runs"):
            return self._reads.runs(pipeline, most)

    def count_runs(self) -> dict[tuple[str, str], int]:
        """How many runs there are by pipeline and status; of a tracking server, of its newest thousand."""
        with registry_errors("count the runs"):
            return self._reads.count_runs()

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Step and value of each record of a run's metric."""
        with registry_errors(f"read {name} of run {run_id}"):
            return self._reads.metric_history(run_id, name)

    def keep_text(self, run_id: str, name: str, text: str) -> None:
        """Stores a text among the artifacts of a run. Where MLflow would need a client of the bundles' store, it stores
        nothing, as with bundles."""
        if not self._bundle_store:
            with registry_errors(f"store {name} of run {run_id}"):
                self._client.log_text(run_id, text, name)

    def artifact_sizes(self, run_id: str, folder: str) -> dict[str, int]:
        """The files that a run has left in a folder, with their sizes in bytes."""
        with registry_errors(f"list the artifacts of run {run_id}"):
            found = self._client.list_artifacts(run_id, folder)
            return {each.path.rpartition("/")[2]: each.file_size or 0 for each in found if not each.is_dir}

    def download_artifact(self, run_id: str, path: str, folder: Path) -> None:
        """Writes a run's file to the same path below ``folder``."""
        with registry_errors(f"fetch {path} of run {run_id}"):
            found, wanted = Path(self._client.download_artifacts(run_id, path, str(folder))), folder / path
            if found != wanted:  # from some stores, MLflow puts it into the folder itself
                wanted.parent.mkdir(parents=True, exist_ok=True)
                found.rename(wanted)

    def download_model(self, address: str, folder: Path) -> Path:
        """Copies the model at MLflow's address (``models:/NAME/NUMBER`` or ``models:/NAME@ALIAS``) into ``folder``;
        returns where it is."""
        model, version = parse_address(address)
        if not version.alias and not version.version.isdecimal():
            raise RegistryError(
                f"{address!r} names no number of the registry",
                remedy="write models:/MODEL/NUMBER, such as the 2 of 3.2",
            )
        with registry_errors(f"fetch {address}"):
            client = self._client
            if version.alias:
                number = client.get_model_version_by_alias(model, version.alias).version
            else:
                number = version.version
            source = client.get_model_version_download_uri(model, str(number))
            # With the address of a version, MLflow would also open the registry of the current folder.
            from mlflow import artifacts

            found = artifacts.download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=self._uri)
            return Path(found)

    def best_epoch(self, run_id: str) -> int | None:
        """The epoch whose weights a run has kept, see `divisions.registry_records.best_epoch`."""
        with registry_errors(f"read the epochs of run {run_id}"):
            return best_epoch(self._reads.metric_history(run_id, "valid_loss"))

    @property
    def is_new(self) -> bool:
        """Whether the home's own registry has not been made yet, which takes seconds."""
        return self._is_embedded and not self._database.exists()

    @property
    def _reads(self) -> Reads:
        if not self._is_embedded:
            return ClientReads(self._client)
        require_not_lost(self._home, self._embedded)
        return self._embedded

    @property
    def _client(self) -> MlflowClient:
        if self._client_or_none is None:
            self._client_or_none = self._connect()
        return self._client_or_none

    def _connect(self) -> MlflowClient:
        load_mlflow()
        from mlflow import MlflowClient

        if not self._is_embedded:
            return shared_client(MlflowClient, self._uri)
        require_not_lost(self._home, self._embedded)
        self._home.mkdir(parents=True, exist_ok=True)
        # With an empty database, two processes would both create its tables, and one of them would fail.
        with (self._home / "mlflow.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with registry_errors("make its database"):
                make_database(self._database)
            client = MlflowClient(self._uri, self._uri)
            client.search_experiments(max_results=1)
            with registry_errors("follow the home to its new place"):
                follow_home(self._database, self._home)
        return client

    def _create_experiment(self, pipeline: str) -> str:
        location = None if is_server(self._uri) else artifact_root(self._home)
        if self._bundle_store:
            location = f"{self._bundle_store}/mlflow"
        experiment_id: str = self._client.create_experiment(pipeline, artifact_location=location)
        return experiment_id

    def _ensure_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
