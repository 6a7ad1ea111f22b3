"""Everything the product does, unattended: ``make demo``, or ``python -m benchmarks.demo``.

It trains and serves a first version. It trains a second version on the next day's data, and brings it to all traffic as
a canary. Then it deploys the same version slowed down by 10 ms per batch, and the evidence rolls it back. Open-loop
load runs all the time, and none of its requests may fail. Everything happens through the product's own commands, in a
home of its own under ``build/demo``. The result is in ``build/demo.json`` and ``build/demo-latency.png``.
``--stay`` leaves all of it running in the end, load included, until Enter is pressed: time to look at the page.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.canaries.rollback import zero_weight_at_s
from benchmarks.demo.demo_result import DemoReport, broken_promises, render_summary
from benchmarks.harness.product_cluster import ProductCluster
from benchmarks.load.charts import Event, plot_latency_over_time, plot_percentiles, render_text_chart
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.report import LoadResult
from benchmarks.load.rows import ENTITY, predict_body, read_rows
from benchmarks.load.samples import Samples
from divisions.errors import DivisionsError
from divisions.status import RolloutStatus

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"
ENDPOINT, MODEL, PIPELINE_NAME = "churn", "churn-predictor", "customer-churn-v3"
FIRST, SECOND, SLOWED = "3.1", "3.2", "3.3"
FIRST_DAY, SECOND_DAY = "2025-01-13", "2025-01-14"
SLOWER_BY_MS = 10

ANALYSIS = """
    # Added by the demo: minutes become seconds.
    analysis:
      min_dwell_s: 6
      min_samples: [100, 150]
      bake_s: 6
      warmup_s: 2
      warmup_requests: 50
      keep_stable_s: 20
"""

_LONGEST_LOAD_S = 900.0
_ROLLOUT_S = 180.0
_BEFORE_S = 4.0
_AFTER_S = 4.0
_BATCH_ROWS = 200


def write_pipeline(path: Path) -> None:
    """The pipeline file of this repository, with only the analysis shortened."""
    path.write_text(PIPELINE.read_text(encoding="utf-8").rstrip("\n") + "\n" + ANALYSIS, encoding="utf-8")


def holdout_auc(cluster: ProductCluster, holdout: Path) -> tuple[float, int]:
    """AUC of the endpoint's answers over HTTP for the whole hold-out, against its labels; and the number of rows."""
    from trainers.training.evaluate import auc

    rows = read_rows(holdout)
    labels = np.array([str(row["churn"]).lower() in {"yes", "true", "1"} for row in rows], dtype=np.float64)
    scores: list[float] = []
    with cluster.client() as client:
        for first in range(0, len(rows), _BATCH_ROWS):
            instances = [predict_body(row, ENTITY) for row in rows[first : first + _BATCH_ROWS]]
            scores += [one.probability for one in client.predict(ENDPOINT, instances=instances)]
    return auc(labels, np.array(scores)), len(rows)


class Demo:
    """One run of the demo, in ``build``."""

    def __init__(self, build: Path, rate_rps: float, seed: int, stays: bool = False) -> None:
        self._build = build
        self._stays = stays
        self._rate_rps = rate_rps
        self._seed = seed
        self._began_s = time.monotonic()
        self._work = build / "demo"
        shutil.rmtree(self._work, ignore_errors=True)
        (self._work / "home").mkdir(parents=True)
        self._pipeline = self._work / "ml_training.yaml"
        self._samples = self._work / "samples.npz"
        self._cluster = ProductCluster(self._work / "home", self.say, self._work / "commands.log")
        self._events: list[Event] = []

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began_s:5.0f} s] {text}", flush=True)

    def run(self) -> list[str]:
        """Runs all steps; returns the promises that were broken.

        Raises:
            DivisionsError: a command failed, or a rollout ended in another way than expected.
            RuntimeError: the load generator failed.
        """
        load: LoadProcess | None = None
        try:
            data = self._write_data()
            self.say("Start a cluster, train and serve a first version")
            self._cluster.up("--allow-faults")
            self._schedule_pipeline()
            self._run_pipeline(FIRST_DAY)
            self._cluster.wait_for(ENDPOINT, FIRST, {"PROMOTED"}, _ROLLOUT_S, self._report)
            load = self._start_load(data)
            time.sleep(_BEFORE_S)
            self._mark("training v3.2 begins")
            promoted = self._promote_second()
            rolled_back = self._roll_back_slowed()
            time.sleep(_AFTER_S)
            if self._stays:
                self._stay()
            result = load.stop()
            self.say("Ask the endpoint about customers that no model has seen")
            auc, rows = holdout_auc(self._cluster, data)
        finally:
            if load is not None:
                load.close()
            self._cluster.down()
        return self._summarise(auc, rows, result, promoted, rolled_back)

    def _write_data(self) -> Path:
        from trainers.demo_data import write_demo_data

        self.say("Write real telecom customers as the raw events of two days")
        data = write_demo_data(self._work / "data")
        write_pipeline(self._pipeline)
        return data.holdout

    def _schedule_pipeline(self) -> None:
        """The page shows the file. Its trigger reads from S3, where the demo has no data, so its times pass."""
        self._cluster.divisions("schedule", "add", str(self._pipeline), is_quiet=True)
        self._cluster.divisions("schedule", "pause", PIPELINE_NAME, is_quiet=True)

    def _run_pipeline(self, day: str, *options: str) -> None:
        # `${today}` is a variable of the pipeline file; the run replaces it.
        source = f"{self._work / 'data' / 'raw'}/partition=${{today}}"
        self._cluster.divisions("run", str(self._pipeline), "--input", source, "--today", day, *options)

    def _start_load(self, holdout: Path) -> LoadProcess:
        self.say(f"Start open-loop load: {self._rate_rps:g} requests/s of hold-out customers, until the end")
        url = f"{self._cluster.url}/api/v2/predict/{ENDPOINT}"
        log = self._work / "load.log"
        load = LoadProcess(url, holdout, self._rate_rps, _LONGEST_LOAD_S, self._samples, log, self._seed)
        try:
            load.wait_until_running()
        except BaseException:
            load.close()
            raise
        return load

    def _promote_second(self) -> RolloutStatus:
        self.say("Train on the next day's data under load, and deploy the new version as a canary")
        self._run_pipeline(SECOND_DAY, "--no-deploy")
        self._cluster.divisions("deploy", "--pipeline", str(self._pipeline), "--target", "local", "--version", SECOND)
        status = self._cluster.wait_for(ENDPOINT, SECOND, {"PROMOTED"}, _ROLLOUT_S, self._report)
        self._mark_weights(status, SECOND)
        return status

    def _roll_back_slowed(self) -> RolloutStatus:
        self.say(f"Deploy the same model again, slowed down by {SLOWER_BY_MS} ms in every batch")
        self._cluster.divisions("models", "register", MODEL, "--from", SECOND, is_quiet=True)
        fault = f"batch_delay_ms={SLOWER_BY_MS}"
        start = ("rollout", "start", MODEL, "--version", SLOWED, "--fault", fault, "--pipeline", str(self._pipeline))
        self._cluster.divisions(*start, is_quiet=True)
        status = self._cluster.wait_for(ENDPOINT, SLOWED, {"ROLLED_BACK"}, _ROLLOUT_S, self._report)
        self._mark_weights(status, SLOWED)
        return status

    def _stay(self) -> None:
        began_s = time.monotonic()
        self.say(f"Everything stays as it is until you press Enter: {self._cluster.url}/")
        sys.stdin.readline()
        self._began_s += time.monotonic() - began_s  # a reader's time is not the demo's

    def _summarise(
        self, auc: float, rows: int, result: LoadResult, promoted: RolloutStatus, rolled_back: RolloutStatus
    ) -> list[str]:
        slowed = result.versions.get(SLOWED)
        if slowed is None:
            return [f"v{SLOWED} never answered a request, so its rollback proves nothing"]
        decision_s = zero_weight_at_s(rolled_back)
        report = DemoReport(
            auc=round(auc, 4),
            promoted_version=rolled_back.stable_version or "",
            rolled_back_version=rolled_back.canary_version or "",
            rollback_reason=rolled_back.rollback_reason,
            time_to_rollback_s=round(max(decision_s, slowed.last_request_at_s) - slowed.first_request_at_s, 3),
            requests=result.requests,
            failed_requests=result.requests - result.ok,
            wall_s=round(time.monotonic() - self._began_s, 1),
            decision_after_s=round(decision_s - slowed.first_request_at_s, 3),
            slow_requests=slowed.answers,
            holdout_rows=rows,
            load=result,
        )
        (self._build / "demo.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        samples = Samples.load(self._samples)
        title = f"make demo: {self._rate_rps:g} requests/s, Poisson arrivals, no retries"
        plot_latency_over_time(samples, self._events, self._build / "demo-latency.png", title)
        plot_percentiles(samples, self._build / "demo-percentiles.png", title)
        outcomes = [
            (FIRST, "trained, passed its gates, served"),
            (SECOND, f"canaried {' → '.join(f'{bp / 100:g} %' for bp in promoted.steps_bp)}, promoted"),
            (SLOWED, f"v{SECOND} + {SLOWER_BY_MS} ms per batch: rolled back"),
        ]
        print(f"\n{render_text_chart(samples)}\n\n{render_summary(report, outcomes)}\n")
        print(f"{self._build / 'demo.json'}, {self._build / 'demo-latency.png'}")
        return broken_promises(report, SECOND, SLOWED)

    def _report(self, text: str) -> None:
        self.say(f"  {text}")

    def _mark(self, label: str) -> None:
        self._events.append(Event(time.time(), label))

    def _mark_weights(self, status: RolloutStatus, version: str) -> None:
        weight_bp = 0
        for entry in status.history:
            if entry.weight_bp != weight_bp:
                is_bad = entry.weight_bp < weight_bp
                label = f"v{version} rolled back" if is_bad else f"v{version} {entry.weight_bp / 100:g} %"
                self._events.append(Event(entry.at_s, label, is_bad))
                weight_bp = entry.weight_bp


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo", description="Everything the product does, unattended."
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="folder to write into")
    parser.add_argument("--rps", type=float, default=200.0, help="mean requests per second (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the load (default 0)")
    parser.add_argument("--stay", action="store_true", help="in the end leave everything running until Enter")
    options = parser.parse_args(arguments)
    return _guarded(lambda: Demo(options.build.absolute(), options.rps, options.seed, options.stay).run())


def _guarded(run: Callable[[], list[str]]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a stopped demo stops its cluster too
    try:
        broken = run()
    except (DivisionsError, RuntimeError, ValueError, OSError) as error:
        print(f"\nerror: the demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nerror: interrupted", file=sys.stderr)
        return 130
    for promise in broken:
        print(f"broken promise: {promise}", file=sys.stderr)
    if not broken:
        print("Every promise was kept.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
