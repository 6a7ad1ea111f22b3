"""Bad canaries on a real cluster under load: ``python -m benchmarks.live_rollouts --output json``.

A cluster of its own, by the product's own commands. One model is trained, and served by replicas that take 10 ms per
batch. Then the same bundle is rolled out several times, each time made bad in another way on purpose (`CASES` in
`benchmarks.canaries.live_result`), while open-loop load runs without a break. Each canary must be at weight zero within
15 s, no request may fail, and none may go to it later than 200 ms after the decision.

The analysis waits less than by default (warm-up, dwell, samples). It decides as by default.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.canaries.live_result import (
    AS_STABLE,
    CASES,
    LONGEST_ATTEMPT,
    PROMISED,
    Allowance,
    Case,
    LiveResult,
    Retries,
    broken_promises,
    render_live,
    sum_up,
)
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.probes import Periodically
from benchmarks.harness.product_cluster import ProductCluster
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.samples import Samples
from divisions.errors import ClusterError, UsageError
from divisions.status import RolloutStatus

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"
ENDPOINT, MODEL, FIRST = "churn", "churn-predictor", "3.1"
ANALYSIS = """
    # Added by the benchmark: shorter waits. The statistics stay as they are.
    analysis:
      min_dwell_s: 30
      min_samples: [1000, 1000]
      bake_s: 30
      warmup_s: 1
      warmup_requests: 20
      keep_stable_s: 5
      drain_s: DRAIN
"""
_ROLLOUT_S = 240.0
_BEFORE_S = 4.0
_AFTER_S = 3.0
_LOOK_S = 0.25
_RETRIES = re.compile(
    r'^divisions_retries_total\{endpoint="[^"]*",gateway="[^"]*",version="(?P<version>[^"]+)"\} (?P<count>\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Played:
    """A case that is over, and when its rollout was asked for (wall-clock)."""

    case: Case
    status: RolloutStatus
    from_s: float


class LiveCluster:
    """A cluster in ``work`` that serves the first version, and further versions to roll out."""

    def __init__(self, work: Path, say: Say, allowed: Allowance = PROMISED) -> None:
        from trainers.demo_data import FIRST_DAY, write_demo_data

        self._say = say
        self.allowed = allowed
        self._work = work
        data = write_demo_data(work / "data")
        self.holdout = data.holdout
        # Gateways count the canary's failed attempts until it is drained: long enough to see that none was made late.
        drain_s = allowed.grace_s + LONGEST_ATTEMPT * allowed.request_s + allowed.request_s + 1.0
        analysis = ANALYSIS.replace("DRAIN", f"{drain_s:.0f}")
        self._pipeline = work / "pipeline.yaml"
        self._pipeline.write_text(PIPELINE.read_text(encoding="utf-8").rstrip() + "\n" + analysis, encoding="utf-8")
        self._day = FIRST_DAY.isoformat()
        home = work / "home"
        home.mkdir()
        self._cluster = ProductCluster(home, say, work / "commands.log", is_quiet=True)
        self._cluster.environment["DIVISIONS_REQUEST_TIMEOUT_MS"] = f"{allowed.request_s * 1e3:.0f}"

    def up(self) -> None:
        """Starts the cluster, trains, and serves with 10 ms per batch."""
        self._cluster.up("--allow-faults")
        source = f"{self._work / 'data' / 'raw'}/partition=${{today}}"
        self._cluster.divisions("run", str(self._pipeline), "--input", source, "--today", self._day, "--no-deploy")
        self.start(FIRST, (AS_STABLE,))
        self._cluster.wait_for(ENDPOINT, FIRST, {"PROMOTED"}, _ROLLOUT_S, self._beat)

    def down(self) -> None:
        self._cluster.down()

    def look_at_retries(self, seen: list[Retries]) -> None:
        """Adds what the gateway has counted by now."""
        at_s = time.time()
        try:
            with urllib.request.urlopen(f"{self._cluster.url}/metrics", timeout=5.0) as answer:
                text = answer.read().decode()
        except OSError:
            return  # Looked at again in a moment.
        seen += [Retries(at_s, match["version"], float(match["count"])) for match in _RETRIES.finditer(text)]

    def load_process(self, rate_rps: float, seed: int, longest_s: float, samples: Path, log: Path) -> LoadProcess:
        """Begins load that gives a request up one second later than the gateway does."""
        url = f"{self._cluster.url}/api/v2/predict/{ENDPOINT}"
        wait_s = self.allowed.request_s + 1.0
        return LoadProcess(url, self.holdout, rate_rps, longest_s, samples, log, seed, deadline_s=wait_s)

    def start_load(self, rate_rps: float, seed: int, longest_s: float) -> LoadProcess:
        load = self.load_process(rate_rps, seed, longest_s, self.samples, self._work / "load.log")
        try:
            load.wait_until_running()
        except BaseException:
            load.close()
            raise
        return load

    @property
    def product(self) -> ProductCluster:
        return self._cluster

    @property
    def samples(self) -> Path:
        return self._work / "samples.npz"

    def play(self, case: Case) -> Played:
        """Rolls the first version's bundle out again, made bad, and waits until it is rolled back.

        Raises:
            RolloutError: the rollout ended in another way.
        """
        self._say(f"{case.name}: {case.what}")
        version = self.register()
        from_s = time.time()
        self.start(version, case.faults)
        status = self._cluster.wait_for(ENDPOINT, version, {"ROLLED_BACK"}, _ROLLOUT_S, self._beat)
        time.sleep(_AFTER_S)  # Failures while its replicas stop count against it, too.
        return Played(case, status, from_s)

    def register(self) -> str:
        """Registers the first version's bundle again; returns the new label."""
        command = [sys.executable, "-m", "divisions.cli", "models", "register", MODEL, "--from", FIRST]
        done = subprocess.run(
            [*command, "--output", "json"],
            env=self._cluster.environment,
            capture_output=True,
            text=True,
            timeout=_ROLLOUT_S,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"`divisions models register` failed: {done.stderr[-500:].strip()}")
        return str(json.loads(done.stdout)["version"])

    def start(self, version: str, faults: Sequence[str], pipeline: Path | None = None) -> None:
        """Begins the rollout of a version that was registered, made bad by ``faults``, by our pipeline or another."""
        options = [option for fault in faults for option in ("--fault", fault)]
        self._cluster.divisions(
            "rollout", "start", MODEL, "--version", version, "--pipeline", str(pipeline or self._pipeline), *options
        )

    def _beat(self, text: str) -> None:
        self._say(f"  {text}")


def run_cases(cluster: LiveCluster, cases: Sequence[Case], rate_rps: float, seed: int) -> LiveResult:
    """Plays the cases one after the other under one load, on a cluster that is up."""
    machine = describe_machine()
    retries: list[Retries] = []
    load = cluster.start_load(rate_rps, seed, 60.0 + len(cases) * 2 * _ROLLOUT_S)
    try:
        time.sleep(_BEFORE_S)
        with Periodically(lambda: cluster.look_at_retries(retries), _LOOK_S):
            played = [cluster.play(case) for case in cases]
        ended_s = time.time()
        result = load.stop()
    finally:
        load.close()
    samples = Samples.load(cluster.samples)
    ends_s = [*(one.from_s for one in played[1:]), ended_s]
    return LiveResult(
        machine=machine,
        seed=seed,
        rate_rps=rate_rps,
        load_average_end=round(os.getloadavg()[0], 2),
        requests=result.requests,
        failed_requests=result.requests - result.ok,
        reasons=result.reasons,
        generator_saturated=result.generator_saturated,
        cases=tuple(
            sum_up(one.case, one.status, samples, retries, one.from_s, until_s, cluster.allowed)
            for one, until_s in zip(played, ends_s, strict=True)
        ),
    )


def choose(names: str) -> tuple[Case, ...]:
    """The cases with these comma-separated names; ``all`` is every case.

    Raises:
        UsageError: there is no case of that name.
    """
    if names == "all":
        return CASES
    known = {case.name: case for case in CASES}
    wanted = names.split(",")
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no case {name!r}", remedy=f"cases are {', '.join(known)}")
    return tuple(known[name] for name in wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("live_rollouts", "Bad canaries on a real cluster under load.")
    parser.add_argument("--rps", type=float, default=150.0, help="mean requests per second (default 150)")
    parser.add_argument("--cases", default="all", help=f"of {', '.join(case.name for case in CASES)} (default all)")
    options = parser.parse_args(arguments)
    broken: list[str] = []

    def measure(work: Path, say: Say) -> LiveResult:
        cases = choose(options.cases)
        cluster = LiveCluster(work, say)
        try:
            cluster.up()
            found = run_cases(cluster, cases, options.rps, options.seed)
        finally:
            cluster.down()
        broken.extend(broken_promises(found.cases))
        for promise in broken:
            say(f"broken promise: {promise}")
        return found

    return run_benchmark(options, measure, render_live) or int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
