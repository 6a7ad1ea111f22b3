"""A gateway with the page, whose controller gives the answers that a test sets."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from divisions.errors import DivisionsError
from divisions.status import ControllerStatus, Evidence, Explanation, HistoryEntry, ReplicaStatus, RolloutStatus
from tests.builders import rollout_status
from tests.e2e.browser import Browser
from tests.router.gateway_world import World, minutes_score, world

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
EVIDENCE = Evidence(
    latency_log_e=2.34,
    error_log_e=-0.8,
    threshold=4.605,
    error_threshold=5.298,
    ticks=40,
    stable_requests=4_800,
    canary_requests=1_200,
    stable_errors=3,
    canary_errors=1,
    min_detectable=1.23,
    split_log_e=-1.2,
    split_threshold=6.908,
    input_drift=0.02,
    input_drift_feature="minutes",
)


EXPLANATION = Explanation(
    guard="latency",
    text="latency: 9.1% of the canary's 1,204 requests took longer than 14.9 ms",
    log_e=4.71,
    threshold=4.605,
    quantile=0.995,
    ratio=2.5,
    threshold_ms=14.9,
    stable_requests=4_800,
    canary_requests=1_204,
    stable_exceeded=48,
    canary_exceeded=110,
    stable_quantile_ms=13.4,
    canary_quantile_ms=None,
    window_s=30.0,
)


def rollout(**changes: Any) -> RolloutStatus:
    now_s = time.time()
    usual = rollout_status(
        generation=5,
        epoch=9,
        step_index=1,
        set_weight_bp=5_000,
        actual_weight_bp=5_000,
        message="1,200 of 5,500 requests judged",
        evidence=EVIDENCE,
        canary_requests=1_200,
        started_at_s=now_s - 200,
        phase_since_s=now_s - 31,
        history=(
            HistoryEntry(now_s - 200, "PENDING", 0, "created"),
            HistoryEntry(now_s - 31, "STEP", 5_000, "passed"),
        ),
        stable_replicas=2,
        canary_replicas=1,
        wanted_stable_replicas=2,
        wanted_canary_replicas=2,
    )
    return msgspec.structs.replace(usual, **changes)


REPLICAS = (
    ReplicaStatus(
        "churn-predictor-v3.1-x7k2p", True, "Running", 2, 3_725.0, "10.0.0.7", "ab" * 28, "T4/0.5", "3.1",
        "stable", 5_000, 4_711, "tensorrt",
    ),
    ReplicaStatus(
        "churn-predictor-v3.2-aa9qz", False, "Starting", 0, 5.0, "", "", "", "3.2", "canary", 5_000, 4_712,
        "onnxruntime-cpu", "tensorrt: no NVIDIA driver", "no memory left",
    ),
)  # fmt: skip


class Stage:
    """A gateway on its own thread, and the answers of its controller."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self.it: World
        self.commands: list[dict] = []
        self.refusal: DivisionsError | None = None
        self._thread.start()
        assert self._ready.wait(120)

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with world() as self.it:
            self.it.link.command = self._command
            self.say()
            await self.it.route([await self.it.replica("3.1", minutes_score)])
            self._ready.set()
            await self._over.wait()

    async def _command(self, command_json: bytes, actor: object) -> bytes:
        self.commands.append(msgspec.json.decode(command_json))
        if self.refusal is not None:
            raise self.refusal
        return msgspec.json.encode(rollout(phase="ROLLING_BACK"))

    def say(self, *rollouts: RolloutStatus, **others: Any) -> None:
        self.it.link.status_json = msgspec.json.encode(ControllerStatus(9, REPLICAS, rollouts, **others))

    def call(self, function: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(function)

    def cut_connections(self) -> None:
        self.call(lambda: [each._transport.abort() for each in list(self.it.gateway._http.connections)])

    def close(self) -> None:
        self.call(self._over.set)
        self._thread.join(30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.it.port}/"


def watch(browser: Browser, stage: Stage, *rollouts: RolloutStatus) -> None:
    """Opens the page with the token, and waits until it is live."""
    stage.say(*rollouts)
    browser.open(f"{stage.url}#token=secret")
    browser.wait_for_text("#connection", "live")


def field(browser: Browser, name: str) -> str:
    return browser.text(f'[data-field="{name}"]')
