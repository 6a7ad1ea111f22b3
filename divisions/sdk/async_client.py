"""`AsyncClient`: `divisions.sdk.client.Client` for asyncio."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from divisions.control import RolloutSpec
from divisions.errors import ClusterError, DeadlineExceededError, DivisionsError, InvalidFeaturesError
from divisions.house import House
from divisions.sdk import calls, jobs, predict, processes
from divisions.sdk.calls import Call, ServiceStatus, Watch
from divisions.sdk.explanations import DEFAULT_TOP
from divisions.sdk.jobs import PIPELINE, TARGETS, Deployed, TrainedRun
from divisions.sdk.peer import UNAUTHORIZED, Authorities, Peer
from divisions.sdk.predict import Prediction
from divisions.status import RolloutStatus
from divisions.versions import RegisteredVersion, RunRecord

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited. See there for the arguments."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        home: str | Path | None = None,
        entity: str | None = None,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
        ca: Authorities = None,
    ) -> None:
        import httpx

        self._home = None if home is None else Path(home)
        self._peer = Peer(base_url, token, self._home, timeout_s, ca)
        self._entities = predict.Entities(entity)
        self._http = httpx.AsyncClient(transport=transport, **self._peer.options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        await self._http.aclose()

    @overload
    async def predict(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        version: str = "",
    ) -> Prediction: ...

    @overload
    async def predict(self, endpoint: str, *, instances: Any, version: str = "") -> list[Prediction]: ...

    async def predict(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        instances: Any = None,
        version: str = "",
    ) -> Prediction | list[Prediction]:
        """See `Client.predict`."""
        if instances is None:
            return await self._predict(
                endpoint, lambda entity: predict.predict_one(endpoint, entity, customer_id, features, version)
            )
        predict.check_alone(customer_id, features)
        rows = list(instances) if isinstance(instances, Iterator) else instances
        return await self._predict(endpoint, lambda entity: predict.predict_many(endpoint, entity, rows, version))

    @overload
    async def explain(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        top: int = DEFAULT_TOP,
        version: str = "",
    ) -> Prediction: ...

    @overload
    async def explain(
        self, endpoint: str, *, instances: Any, top: int = DEFAULT_TOP, version: str = ""
    ) -> list[Prediction]: ...

    async def explain(
        self,
        endpoint: str,
        *,
        customer_id: str | int | None = None,
        features: Mapping[str, object] | None = None,
        instances: Any = None,
        top: int = DEFAULT_TOP,
        version: str = "",
    ) -> Prediction | list[Prediction]:
        """See `Client.explain`."""
        if instances is None:
            return await self._predict(
                endpoint, lambda entity: predict.predict_one(endpoint, entity, customer_id, features, version, top)
            )
        predict.check_alone(customer_id, features)
        rows = list(instances) if isinstance(instances, Iterator) else instances
        return await self._predict(endpoint, lambda entity: predict.predict_many(endpoint, entity, rows, version, top))

    async def _predict(self, endpoint: str, build: Callable[[str], Call[T]]) -> T:
        """Sends a prediction. If the gateway refuses it and the entity is not known yet, learns it and sends again."""
        call = build(self._entities.of(endpoint))
        try:
            return await self._send(call)
        except InvalidFeaturesError as error:
            if not self._entities.may_learn(endpoint):
                raise
            try:
                known = await self._send(predict.list_entities())
            except DivisionsError:
                raise error from None
            if not self._entities.learn(endpoint, known):
                raise
        return await self._send(build(self._entities.of(endpoint)))

    async def features(self, endpoint: str) -> dict[str, str]:
        """The kind of each feature of an endpoint: ``numeric``, ``boolean`` or ``categorical``.

        Raises:
            UnknownEndpointError: nothing is deployed by that name.
        """
        return await self._send(predict.list_features(endpoint))

    async def status(self) -> ServiceStatus:
        """See `Client.status`."""
        return await self._send(calls.get_status())

    async def house(self) -> House:
        """See `Client.house`."""
        return await self._send(calls.get_house())

    async def rollouts(self) -> tuple[RolloutStatus, ...]:
        """See `Client.rollouts`."""
        return await self._send(calls.list_rollouts())

    def rollout(self, endpoint: str) -> AsyncRollout:
        """See `Client.rollout`."""
        return AsyncRollout(self, endpoint)

    async def start_rollout(self, spec: RolloutSpec, *, force: bool = False) -> RolloutStatus:
        """See `Client.start_rollout`."""
        return await self._send(calls.start_rollout(spec, is_forced=force))

    async def train(
        self,
        pipeline: str | Path,
        *,
        input_uri: str = "",
        today: dt.date | str | None = None,
        uses_ray: bool = True,
        deploy: bool = False,
    ) -> TrainedRun:
        """See `Client.train`."""
        order = jobs.train(pipeline, input_uri=input_uri, today=today, uses_ray=uses_ray, is_deployed=deploy)
        return await processes.run_async(order, self._home)

    async def register(self, source: TrainedRun | RegisteredVersion) -> RegisteredVersion:
        """See `Client.register`."""
        return await processes.run_async(jobs.register(source), self._home)

    async def deploy(
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
        """See `Client.deploy`."""
        order = jobs.deploy(
            pipeline,
            version,
            target=target,
            targets=targets,
            is_forced=force,
            overrides_others=force_conflicts,
            is_watched=watch,
        )
        return await processes.run_async(order, self._home)

    async def models(self, model: str | None = None) -> tuple[RegisteredVersion, ...]:
        """See `Client.models`."""
        return await processes.run_async(jobs.models(model), self._home)

    async def runs(self, pipeline: str | None = None, *, limit: int = 20) -> tuple[RunRecord, ...]:
        """See `Client.runs`."""
        return await processes.run_async(jobs.runs(pipeline, limit), self._home)

    async def _send(self, call: Call[T]) -> T:
        import httpx

        headers = self._peer.headers(call)
        try:
            response = await self._http.request(call.method, call.path, content=call.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if self._peer.trusts_anew(error):
                return await self._send(call)
            raise self._peer.failure(error) from None
        if response.status_code == UNAUTHORIZED and self._peer.has_key(call):
            return await self._send(call)
        return calls.answer(call, response.status_code, response.headers, response.content)


class AsyncRollout:
    """`Rollout` for asyncio."""

    def __init__(self, client: AsyncClient, endpoint: str) -> None:
        self._client = client
        self.endpoint = endpoint

    async def status(self) -> RolloutStatus:
        return await self._client._send(calls.get_rollout(self.endpoint))

    async def pause(self, *, generation: int | None = None) -> RolloutStatus:
        return await self._command("pause", generation)

    async def resume(self, *, generation: int | None = None) -> RolloutStatus:
        return await self._command("resume", generation)

    async def promote(self, *, break_glass: str = "", generation: int | None = None) -> RolloutStatus:
        """See `Rollout.promote`."""
        return await self._command("promote", generation, reason=break_glass, breaks_glass=bool(break_glass))

    async def abort(self, *, reason: str = "", generation: int | None = None) -> RolloutStatus:
        return await self._command("abort", generation, reason=reason)

    async def rollback(
        self, to: str | None = None, *, reason: str = "", generation: int | None = None
    ) -> RolloutStatus:
        """See `Rollout.rollback`."""
        return await self._command("rollback", generation, to, reason=reason)

    async def scale(
        self, replicas: int, *, version: str | None = None, force: bool = False, generation: int | None = None
    ) -> RolloutStatus:
        """See `Rollout.scale`."""
        call = calls.scale(self.endpoint, replicas, version=version, is_forced=force, generation=generation)
        return await self._client._send(call)

    async def watch(self, *, poll_s: float = 1.0, patience: int = 30) -> AsyncIterator[RolloutStatus]:
        """See `Rollout.watch`."""
        import asyncio  # here, so that programs that use only `Client` need not import it

        watch = Watch(patience)
        while not watch.is_over:
            try:
                status = await self.status()
            except (ClusterError, DeadlineExceededError) as error:
                watch.failed(error)
            else:
                if watch.changed(status):
                    yield status
            if not watch.is_over:
                await asyncio.sleep(poll_s)

    async def _command(
        self,
        action: str,
        generation: int | None,
        to: str | None = None,
        *,
        reason: str = "",
        breaks_glass: bool = False,
    ) -> RolloutStatus:
        call = calls.command(
            self.endpoint, action, generation=generation, to=to, reason=reason, breaks_glass=breaks_glass
        )
        return await self._client._send(call)
