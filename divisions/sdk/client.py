"""The Python SDK: `Client` for blocking code, `AsyncClient` for asyncio. Both send the same (`divisions.sdk.calls`).

    from divisions import Client

    with Client("http://127.0.0.1:8000") as client:
        client.predict("churn", customer_id="c-1").probability
        for status in client.rollout("churn").watch():
            print(status.phase, status.actual_weight_bp / 100, "%")

Every failure is a `divisions.errors.DivisionsError`. Calls that control rollouts carry the token that is given. If
none is given, and the gateway is on this machine, the home's own or that of ``DIVISIONS_GATEWAY``, they carry
``DIVISIONS_TOKEN`` or the token in the home folder.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from divisions.control import RolloutSpec
from divisions.errors import DivisionsError, InvalidFeaturesError
from divisions.house import House
from divisions.sdk import calls, jobs, predict, processes
from divisions.sdk.async_client import AsyncClient, AsyncRollout
from divisions.sdk.calls import Call, ServiceStatus
from divisions.sdk.explanations import DEFAULT_TOP, Contribution, ScoreExplanation
from divisions.sdk.jobs import PIPELINE, TARGETS, Deployed, TrainedRun
from divisions.sdk.peer import UNAUTHORIZED, Authorities, Peer
from divisions.sdk.predict import Prediction
from divisions.sdk.rollout import Rollout
from divisions.status import RolloutStatus
from divisions.versions import RegisteredVersion, RunRecord

if TYPE_CHECKING:
    import httpx

__all__ = [
    "AsyncClient",
    "AsyncRollout",
    "Client",
    "Contribution",
    "Deployed",
    "House",
    "Prediction",
    "RegisteredVersion",
    "Rollout",
    "RunRecord",
    "ScoreExplanation",
    "ServiceStatus",
    "TrainedRun",
]

T = TypeVar("T")


class Client:
    """A blocking client of one gateway; safe to share between threads.

    Args:
        base_url: of the gateway. None means that of ``DIVISIONS_GATEWAY``, else that of the home's cluster, as for
            commands.
        token: of the control API. None takes ``DIVISIONS_TOKEN`` or reads it from ``home``, if the gateway
            is on this machine, the home's own or that of ``DIVISIONS_GATEWAY``.
        home: the cluster's home folder; None means that of the settings (``DIVISIONS_HOME``).
        entity: the name of the entity column. None means ``customer_id``; if that is refused, the gateway is asked.
        timeout_s: longest wait for the connection and for each part of an answer.
        transport: an httpx transport to use in place of the network.
        ca: file with the authorities (PEM) that the gateway's certificate is checked with, or a TLS context. None
            means the certificate that the home's own gateway has noted, else ``DIVISIONS_TLS_CA``, else the system's.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        home: str | Path | None = None,
        entity: str | None = None,
        timeout_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
        ca: Authorities = None,
    ) -> None:
        import httpx

        self._home = None if home is None else Path(home)
        self._peer = Peer(base_url, token, self._home, timeout_s, ca)
        self._entities = predict.Entities(entity)
        self._http = httpx.Client(transport=transport, **self._peer.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept open."""
        self._http.close()

    @overload
    def predict(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        version: str = "",
    ) -> Prediction: ...

    @overload
    def predict(self, endpoint: str, *, instances: Any, version: str = "") -> list[Prediction]: ...

    def predict(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        instances: Any = None,
        version: str = "",
    ) -> Prediction | list[Prediction]:
        """Predicts one row (``customer_id``, ``features`` or both) or many (``instances``).

        Args:
            endpoint: the endpoint's name, such as ``churn``.
            customer_id: the customer of the row; a whole number is the same as its text. Without ``features``, they
                come from the online store.
            features: raw values by name; None and NaN are missing values.
            instances: a list of rows (customer ids, flat mappings, or ``{"customer_id", "features"}``) or a DataFrame.
            version: the version that must answer, for testers. It needs the token. Empty leaves it to the split.

        Raises:
            RequestError: the gateway could not answer; see the subclasses.
            NotRunningError: nothing listens at the URL.
        """
        if instances is None:
            return self._predict(
                endpoint, lambda entity: predict.predict_one(endpoint, entity, customer_id, features, version)
            )
        predict.check_alone(customer_id, features)
        rows = list(instances) if isinstance(instances, Iterator) else instances
        return self._predict(endpoint, lambda entity: predict.predict_many(endpoint, entity, rows, version))

    @overload
    def explain(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        top: int = DEFAULT_TOP,
        version: str = "",
    ) -> Prediction: ...

    @overload
    def explain(
        self, endpoint: str, *, instances: Any, top: int = DEFAULT_TOP, version: str = ""
    ) -> list[Prediction]: ...

    def explain(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        instances: Any = None,
        top: int = DEFAULT_TOP,
        version: str = "",
    ) -> Prediction | list[Prediction]:
        """Predicts as `predict` does, and says which features have moved each score most (`Prediction.explanation`).

        Args:
            endpoint: the endpoint's name.
            customer_id: as for `predict`.
            features: as for `predict`.
            instances: as for `predict`, at most 32 rows.
            top: features that are named, from 1 to 1,000.
            version: as for `predict`.

        Raises:
            OverloadedError: the version is busy with predictions, or there is not enough time.
            RequestError: the gateway could not answer; see the subclasses.
        """
        if instances is None:
            return self._predict(
                endpoint, lambda entity: predict.predict_one(endpoint, entity, customer_id, features, version, top)
            )
        predict.check_alone(customer_id, features)
        rows = list(instances) if isinstance(instances, Iterator) else instances
        return self._predict(endpoint, lambda entity: predict.predict_many(endpoint, entity, rows, version, top))

    def _predict(self, endpoint: str, build: Callable[[str], Call[T]]) -> T:
        """Sends a prediction. If the gateway refuses it and the entity is not known yet, learns it and sends again."""
        call = build(self._entities.of(endpoint))
        try:
            return self._send(call)
        except InvalidFeaturesError as error:
            if not self._entities.may_learn(endpoint):
                raise
            try:
                known = self._send(predict.list_entities())
            except DivisionsError:
                raise error from None
            if not self._entities.learn(endpoint, known):
                raise
        return self._send(build(self._entities.of(endpoint)))

    def features(self, endpoint: str) -> dict[str, str]:
        """The kind of each feature of an endpoint: ``numeric``, ``boolean`` or ``categorical``.

        Raises:
            UnknownEndpointError: nothing is deployed by that name.
        """
        return self._send(predict.list_features(endpoint))

    def status(self) -> ServiceStatus:
        """Replicas, rollouts and the epoch of the routing table."""
        return self._send(calls.get_status())

    def house(self) -> House:
        """What the page shows: live metrics, stages, pipelines, registry, runs, replicas, deployments, drift."""
        return self._send(calls.get_house())

    def rollouts(self) -> tuple[RolloutStatus, ...]:
        """The latest rollout of every endpoint."""
        return self._send(calls.list_rollouts())

    def rollout(self, endpoint: str) -> Rollout:
        """A handle of the endpoint's latest rollout. Sends nothing yet."""
        return Rollout(self, endpoint)

    def start_rollout(self, spec: RolloutSpec, *, force: bool = False) -> RolloutStatus:
        """Requests a rollout. ``force`` repeats a spec that was rolled back before."""
        return self._send(calls.start_rollout(spec, is_forced=force))

    def train(
        self,
        pipeline: str | Path,
        *,
        input_uri: str = "",
        today: dt.date | str | None = None,
        uses_ray: bool = True,
        deploy: bool = False,
    ) -> TrainedRun:
        """Runs a pipeline: reads the data, trains, validates and registers a version, as ``divisions run`` does.

        It runs on this machine, in a process of its own, with the client's home and the cluster that is up there.
        Progress goes to standard error.

        Args:
            pipeline: the path of the pipeline file.
            input_uri: raw events, in place of the file's input.
            today: the day of ``${today}``, a date or ``YYYY-MM-DD``; None means today, UTC.
            uses_ray: False runs every stage in that one process, without a cluster.
            deploy: whether to start a rollout of the version.

        Raises:
            GateRefusedError: the model did not pass a gate. The version is registered as failed, and is never served.
            DivisionsError: see `trainers.run.PipelineRun.run`.
        """
        order = jobs.train(pipeline, input_uri=input_uri, today=today, uses_ray=uses_ray, is_deployed=deploy)
        return processes.run(order, self._home)

    def register(self, source: TrainedRun | RegisteredVersion) -> RegisteredVersion:
        """The version that a run has registered. The bundle of a version is registered again, as a new version.

        Raises:
            RegistryError: the registry has no such version.
            GateRefusedError: the version did not pass its gates; a new number must not hide that.
        """
        return processes.run(jobs.register(source), self._home)

    def deploy(
        self,
        version: str | RegisteredVersion | TrainedRun = "staging",
        *,
        pipeline: str | Path = PIPELINE,
        target: str = "local",
        targets: str | Path = TARGETS,
        watch: bool = True,
        force: bool = False,
        force_conflicts: bool = False,
    ) -> Deployed:
        """Ships a registered version to a target, as ``divisions deploy`` does. Call it again to go on after a failure.

        Args:
            version: a version, or what names one: a label, a registry number, an alias.
            pipeline: the path of the pipeline file: what to serve, where, and how.
            target: a target of ``targets``, or ``local``.
            targets: the path of the file of targets.
            watch: whether to wait for the rollout's end.
            force: even if this very rollout was rolled back before.
            force_conflicts: take back what others have changed on the target.

        Raises:
            ConflictError: another deployment to this target is under way.
            DivisionsError: a step failed.
        """
        order = jobs.deploy(
            pipeline,
            version,
            target=target,
            targets=targets,
            is_forced=force,
            overrides_others=force_conflicts,
            is_watched=watch,
        )
        return processes.run(order, self._home)

    def models(self, model: str | None = None) -> tuple[RegisteredVersion, ...]:
        """The versions of the registry, newest first; of one model or of all.

        Raises:
            RegistryError: the registry does not answer.
        """
        return processes.run(jobs.models(model), self._home)

    def runs(self, pipeline: str | None = None, *, limit: int = 20) -> tuple[RunRecord, ...]:
        """The newest training runs of a pipeline, or of all, newest first; at most ``limit``.

        Raises:
            RegistryError: the registry does not answer.
        """
        return processes.run(jobs.runs(pipeline, limit), self._home)

    def _send(self, call: Call[T]) -> T:
        import httpx

        headers = self._peer.headers(call)
        try:
            response = self._http.request(call.method, call.path, content=call.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if self._peer.trusts_anew(error):
                return self._send(call)
            raise self._peer.failure(error) from None
        if response.status_code == UNAUTHORIZED and self._peer.has_key(call):
            return self._send(call)
        return calls.answer(call, response.status_code, response.headers, response.content)
