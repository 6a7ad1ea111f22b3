"""The gateway: composes dispatcher, HTTP server and control API, and runs them on one event loop.

It follows the controller's routing table by long polls, and reports its counts every second. While the controller is
away, it serves by the table that it has.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

from divisions.clock import Clock
from divisions.control import RoutingTable
from divisions.errors import DivisionsError
from divisions.reports import GatewayReport
from divisions.settings import Settings
from router.explain.explainer import Explainer
from router.gateway import telemetry
from router.gateway.api import METRICS, ControlApi
from router.gateway.heap import keep_trimmed
from router.gateway.hot_routes import HotRoutes
from router.gateway.key_ring import KeyRing, believed_issuers, memory_of
from router.gateway.log_link import LogLink
from router.gateway.neighbours import OWN_METRICS, Neighbours
from router.gateway.own_port import OwnPort
from router.gateway.ports import allowed_hosts, certificate_of, listen
from router.gateway.probes import Probe
from router.gateway.reference_bins import ReferenceBins
from router.gateway.remote_link import RemoteLink
from router.gateway.token_book import TokenBook
from router.gateway.trace_link import TraceLink, buffer_of
from router.http.asgi import AsgiHandler
from router.http.connection import HttpServer
from router.http.limits import HttpLimits
from router.http.request import Handler
from router.http.tls_port import TlsPort
from router.oip.infer import InferHandler
from router.oip.models import Directory
from router.oip.routes import OipApi
from router.predict.answer_log import LogBuffer
from router.predict.callers import Callers
from router.predict.controller_link import ControllerLink
from router.predict.dispatcher import Dispatcher
from router.predict.front import Refusals
from router.predict.in_process import InProcessEngines, LoadedEngines, Loader
from router.predict.loads import LoadMeter
from router.predict.predict_handler import PredictHandler
from router.predict.remote_channels import RemoteChannels
from router.predict.stored_features import FeatureSource
from router.sagemaker.invocations import INVOCATIONS, Invocations

log = logging.getLogger(__name__)

POLL_S = 30.0
FIRST_TABLE_S = 1.0
"""How long a gateway waits for its first table before it listens without one, because the controller is away."""
SWEEP_S = 0.01
GRACE_S = 1.0
FAREWELL_S = 1.5
"""A connection that carries fewer requests is closed while it is idle; its caller may send one in that very moment."""
"""A second is reported this long after its end. Requests that are still pending then count with this age."""


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """The gateway's identity, and its secrets."""

    gateway_id: str
    node_id: str
    control_token: str
    channel_token: bytes
    number: int = 0
    """Among the gateways of its node, see `router.gateway.slot`."""


class Gateway:
    """See the module. Build it inside the loop that it will run on.

    Only a benchmark turns ``has_bookkeeping`` off; see `router.predict.dispatcher`.
    """

    def __init__(
        self,
        settings: Settings,
        identity: GatewayIdentity,
        link: ControllerLink,
        stored: FeatureSource,
        clock: Clock,
        load: Loader,
        has_bookkeeping: bool = True,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._link = link
        self._now_s = clock.monotonic_s
        self._heard_s = self._now_s()
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[asyncio.Server | TlsPort] = []
        self._clock = clock
        self._is_back = asyncio.Event()
        """Set when the controller takes a report again, after it did not."""
        self._bins = ReferenceBins(settings.home, link, self._now_s)
        loaded: LoadedEngines = {}
        remote = RemoteChannels(settings.channel_tls)
        log_buffer = LogBuffer()
        self._log = LogLink(log_buffer, identity.gateway_id, clock)
        self._remote = RemoteLink(remote, link, identity.gateway_id, clock)
        self.dispatcher = Dispatcher(
            self._now_s,
            identity.channel_token,
            identity.node_id,
            self._bins.read,
            loaded.get,
            has_bookkeeping,
            remote,
            log_buffer,
            settings.require_key,
        )
        self._hosting = InProcessEngines(
            load, link, identity.gateway_id, identity.node_id, clock, loaded, self.dispatcher.hosted_loaded
        )
        self._tokens = TokenBook(identity.control_token, clock.wall_s)
        self._issuers = believed_issuers(settings, self._now_s)
        self._keys = KeyRing(self._tokens, memory_of(self._issuers, clock))
        self._callers = Callers(self._keys, self._now_s)
        refusals = Refusals(self._now_s)
        self._stored = stored
        self._explainer = Explainer(self.dispatcher.routes, self._bins.read, self._now_s)
        self._predict = PredictHandler(
            self.dispatcher,
            stored,
            settings.request_timeout_ms / 1000,
            f"{identity.gateway_id}-",
            self._now_s,
            clock.wall_s,
            self._callers,
            refusals,
            self._explainer,
        )
        directory = Directory(self.dispatcher)
        infer = InferHandler(
            self.dispatcher,
            directory,
            stored,
            settings.request_timeout_ms / 1000,
            f"{identity.gateway_id}-t",
            self._now_s,
            clock.wall_s,
            self._callers,
            refusals,
        )
        collector = telemetry.GatewayCollector(
            self.dispatcher, refusals.counts, self._callers.counts, self._vitals, str(identity.number)
        )
        api = ControlApi(
            self.dispatcher,
            link,
            self._tokens,
            lambda: telemetry.render(collector),
            identity.gateway_id,
            identity.number,
            Neighbours(settings.home, identity.number, is_encrypted=bool(settings.tls_cert)),
            clock,
            stored.health,
            settings.max_body_bytes,
            self._keys.jwts,
            settings.public_sections,
            bool(settings.tls_cert),
        )
        self._feed = api.feed
        self._refused = api.refused
        oip = OipApi(directory, clock)
        traces = buffer_of(settings, clock)
        self._traces = None if traces is None else TraceLink(traces, clock)
        self._beside = [link for link in (self._log, self._traces) if link is not None]
        self.dispatcher.routes.is_traced = traces is not None
        self._predict.traces = infer.traces = traces
        probes: dict[bytes, Handler] = {
            path.encode(): Probe(check) for path, check in (api.checks() | oip.checks()).items()
        }
        self._asgi = AsgiHandler(api.application(oip.routes()))
        self._certificate = certificate_of(settings, clock)
        limits = HttpLimits(
            max_body_bytes=settings.max_body_bytes,
            idle_s=settings.idle_timeout_s,
            allowed_hosts=allowed_hosts(settings, () if self._certificate is None else self._certificate.names),
            any_host_targets=frozenset({*probes, METRICS.encode(), OWN_METRICS.encode()}),
        )
        self._loads = LoadMeter(self._now_s())
        invocations = Invocations(
            self.dispatcher,
            self._predict,
            self._callers,
            settings.request_timeout_ms / 1000,
            f"{identity.gateway_id}-s",
            self._now_s,
        )
        posts: dict[bytes, Handler] = {INVOCATIONS.encode(): invocations}
        routes = HotRoutes(self._predict, infer, probes, posts, self._asgi)
        self._http = HttpServer(routes, limits, self._now_s)
        own = dict.fromkeys((METRICS.encode(), OWN_METRICS.encode()), AsgiHandler(api.own_metrics()))
        self._own_http = HttpServer(OwnPort(own, routes), limits, self._now_s)
        self._http_servers = (self._http, self._own_http)

    async def start(self) -> int:
        """Begins to follow the controller, and listens; returns the port.

        It listens only when it has a table. Until then it would refuse requests that other gateways on the port can
        answer, or that itself can answer a moment later, after a crash.
        """
        loop = asyncio.get_running_loop()
        self._stored.start()
        await self._take_first_table()
        port = await self._listen(self._http, self._settings.hosts, self._settings.port, is_shared=True)
        works = [self._follow_table, self._report, self._sweep, self._remote.report_lost, self._remote.keep_certified]
        works += [] if self._certificate is None else [self._certificate.follow, keep_trimmed]
        for work in (*works, *(keys.keep for keys in self._issuers)):
            self._tasks.append(loop.create_task(work()))
        return port

    async def listen_alone(self) -> int:
        """Listens on a port of this gateway's own too, for scrapes; returns it."""
        base = self._settings.metrics_port
        port = base + self._identity.number if base else 0
        return await self._listen(self._own_http, self._settings.hosts[-1:], port, is_shared=False)

    async def _listen(self, http: HttpServer, hosts: tuple[str, ...], port: int, *, is_shared: bool) -> int:
        server, found = await listen(http, hosts, port, self._certificate, self._clock, is_shared=is_shared)
        self._servers.append(server)
        return found

    async def stop(self, grace_s: float = 5.0) -> None:
        """Stops listening, lets requests in progress finish for up to ``grace_s``, then closes.

        Callers that keep a connection are told with the next reply, for up to `FAREWELL_S`. Only then it is closed.
        """
        for server in self._servers:
            server.close()
        self._feed.close()  # Streams never end by themselves.
        end_s = self._now_s() + grace_s
        for http in self._http_servers:
            http.end_with_replies()
        await self._until_alone(min(self._now_s() + FAREWELL_S, end_s))
        for http in self._http_servers:
            http.close_idle()
        await self._until_alone(end_s)
        for server in self._servers:
            if isinstance(server, TlsPort):
                server.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.dispatcher.close()
        self._stored.close()
        self._keys.close()
        await asyncio.gather(*[link.close() for link in self._beside])
        self._hosting.close()

    async def _until_alone(self, end_s: float) -> None:
        while self._num_connections and self._now_s() < end_s:
            await asyncio.sleep(0.02)

    @property
    def is_alive(self) -> bool:
        """Whether every background task still runs."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    @property
    def _num_connections(self) -> int:
        return len(self._http.connections) + len(self._own_http.connections)

    def _vitals(self) -> telemetry.Vitals:
        return telemetry.Vitals(
            connections=self._num_connections,
            event_streams=self._feed.num_watchers,
            controller_silent_s=self._now_s() - self._heard_s,
            store=self._stored.health(),
            log=self._log.health(),
            traces=None if self._traces is None else self._traces.health(),
            certificate=None if self._certificate is None else self._certificate.health(),
        )

    async def _take_first_table(self) -> None:
        try:
            async with asyncio.timeout(FIRST_TABLE_S):
                self._take(await self._link.poll_table(-1, FIRST_TABLE_S, self._tokens.stamp))
        except (DivisionsError, TimeoutError) as error:
            log.warning("no routing table yet, the controller does not answer; listening without: %s", error)
        except Exception:  # `_follow_table` goes on trying.
            log.exception("the first routing table could not be applied")

    def _take(self, table: RoutingTable) -> None:
        self._heard_s = self._now_s()
        if self._tokens.take(table.access):
            self._callers.changed(self._keys.names())
        if self.dispatcher.apply(table):
            self._hosting.want(table.hosted)
            self._log.follow(table)
            log.info("routing table %d in force", table.epoch)

    async def _follow_table(self) -> None:
        while True:
            try:
                await self._take_next()
            except DivisionsError as error:
                log.warning("the controller does not answer; going on by table %d: %s", self.dispatcher.epoch, error)
                await asyncio.sleep(0.25)
            except Exception:  # The edge of a loop: a bad table must not end the following.
                log.exception("routing table could not be applied")
                await asyncio.sleep(1.0)

    async def _take_next(self) -> None:
        """Waits for the next table. A poll that was begun before we were cut off may never end, so another follows."""
        self._is_back.clear()
        poll = asyncio.ensure_future(self._link.poll_table(self.dispatcher.epoch, POLL_S, self._tokens.stamp))
        back = asyncio.ensure_future(self._is_back.wait())
        try:
            await asyncio.wait((poll, back), return_when=asyncio.FIRST_COMPLETED)
            if poll.done():
                self._take(poll.result())
        finally:
            poll.cancel()
            back.cancel()

    async def _report(self) -> None:
        is_cut_off = False
        while True:
            now_s = self._now_s()
            await asyncio.sleep(1.0 - now_s % 1.0 + 0.005)
            before_tick = int(self._now_s() - GRACE_S)
            try:
                await self._hosting.beat()
                await self._send_reports(before_tick)
                if is_cut_off:
                    is_cut_off = False
                    self._is_back.set()
                self.dispatcher.seek_bins()
                await self._bins.ask()
            except DivisionsError as error:
                is_cut_off = True
                log.warning("a report was lost: %s", error)
            except Exception:  # The edge of a loop: one bad report must not end the reporting.
                log.exception("a report failed")

    async def _send_reports(self, before_tick: int) -> None:
        epoch = self.dispatcher.epoch
        settle_tick = before_tick - math.ceil(self._settings.request_timeout_ms / 1000)
        reports = self.dispatcher.take_reports(before_tick, GRACE_S, settle_tick)
        # A second without requests is reported too, so that the controller does not wait for it.
        reports.setdefault(before_tick - 1, [])
        now_s = self._now_s()
        refused = self._refused.due(now_s)
        loads, span_s = self._loads.take(self.dispatcher.endpoints.values(), now_s)
        for tick, endpoints in sorted(reports.items()):
            is_last = tick == max(reports)
            report = GatewayReport(
                self._identity.gateway_id,
                epoch,
                tick,
                tuple(endpoints),
                self._num_connections,
                loads if is_last else (),
                span_s if is_last else 0.0,
                tuple(sorted({*self._tokens.take_used(), *self._callers.take_used()})) if is_last else (),
                self._log.counts() if is_last else (),
                self._callers.take_asked() if is_last else (),
                refused if is_last else (),
            )
            self._callers.take_shares(await self._link.report(report))
            self._heard_s = self._now_s()
        if refused:
            self._refused.sent(refused, now_s)

    async def _sweep(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self.dispatcher.expire()
                self.dispatcher.sweep()
                self._stored.sweep()
                for link in self._beside:
                    link.sweep()
                self._explainer.sweep()
                turns += 1
                if turns % 100 == 0:
                    if self._keys.has_ended():
                        self._callers.changed(self._keys.names())
                    for http in self._http_servers:
                        http.sweep()
            except Exception:  # The edge of a loop: deadlines must go on being kept.
                log.exception("the sweep failed")
