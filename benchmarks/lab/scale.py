"""Scale: ``python -m benchmarks.scale --output json``.

It has two halves. Measured on this machine: throughput against gateway processes, replicas, batch size cap, model size
and placement, each with the others at their usual values, in interleaved rounds. Simulated: clusters of many nodes
(`benchmarks.lab.simulation`), calibrated by micro-benchmarks of this machine.

With ``--gpu`` a large model is served by the engines of a GPU as well. With ``--only-measured`` nothing is simulated.

With ``--hosts N`` it measures something else: several hosts, and the ways between them (`benchmarks.lab.hosts`).

The driver needs a core, too. So on a small machine more processes do not mean more throughput. The CPU time of one
request at the gateway and at the replica, which is reported beside it, says more.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import cpu_s
from benchmarks.lab.calibration import calibrate_costs
from benchmarks.lab.hosts import HostsResult, measure_hosts, render_hosts
from benchmarks.lab.lab import Arrangement, Lab, lab
from benchmarks.lab.micro_suite import MicroResult
from benchmarks.lab.saturation import Saturation, sweep_nodes
from benchmarks.lab.scaling import Measured, ScaleRow, render_scale, summarise_scale
from benchmarks.lab.simulation import Cluster, Costs
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from divisions.control import EngineChoice, Placement
from divisions.errors import EngineError
from serving.engines.capabilities import probe_capabilities

MODEL_SIZES: dict[str, tuple[int, ...]] = {
    "32-32": (32, 32),
    "256-256-128": (256, 256, 128),
    "1024-1024-512": (1024, 1024, 512),
}
USUAL_MODEL = "256-256-128"
LARGE_MODEL = "4176-4176-4176"
"""142 MB, as the product page's."""
LARGE_WIDTHS = (4176, 4176, 4176)
GPU_ENGINES = (EngineChoice.TENSORRT, EngineChoice.ONNXRUNTIME_CUDA, EngineChoice.TORCH)
WARM_UP_S = 1.0
_HEAVY = 20.0
"""How much more a row costs in the simulation's second series, in which replicas are what saturates."""


class ScaleResult(msgspec.Struct, frozen=True, tag="scale"):
    """``rows`` are measured, ``simulated`` are not. ``series`` says what the simulated clusters are made of."""

    machine: Machine
    seed: int
    connections: int
    seconds: float
    rounds: int
    rows: list[ScaleRow]
    costs: Costs | None
    simulated: dict[str, list[Saturation]]
    driver_threads: int = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of one axis."""

    axis: str
    value: str
    arrangement: Arrangement = field(default_factory=Arrangement)
    model: str = USUAL_MODEL


def settings_of(
    gateways: Sequence[int] = (1, 2), replicas: Sequence[int] = (1, 2, 4), caps: Sequence[int] = (1, 8, 32, 128, 256)
) -> list[Setting]:
    """Every point that is measured."""
    return [
        *[
            Setting("gateways x replicas", f"{count} x {number}", Arrangement(gateways=count, replicas=number))
            for count in gateways
            for number in replicas
        ],
        *[Setting("batch size cap", str(cap), Arrangement(max_batch=cap)) for cap in caps],
        *[Setting("model size", name, model=name) for name in MODEL_SIZES],
        *[Setting("placement", each.value, Arrangement(placement=each)) for each in Placement],
    ]


def engine_settings(engines: Sequence[EngineChoice]) -> list[Setting]:
    """The large model on the CPU, and by each of these engines on a GPU."""
    cpu = Setting(f"engine, {LARGE_MODEL}", "onnxruntime-cpu", model=LARGE_MODEL)
    return [
        cpu,
        *[Setting(cpu.axis, each.value, Arrangement(engine=each, num_gpus=1.0), LARGE_MODEL) for each in engines],
    ]


def measure_setting(running: Lab, script: Path, connections: int, seconds: float, threads: int) -> Measured:
    """One run against a lab that is up, with the CPU that it cost."""
    url = running.served.url
    run_wrk(script, url, connections, WARM_UP_S, threads)
    pids = (running.gateway_pids, running.replica_pids)
    before_s = [sum(map(cpu_s, each)) for each in pids]
    found = run_wrk(script, url, connections, seconds, threads)
    spent_s = [sum(map(cpu_s, each)) - before for each, before in zip(pids, before_s, strict=True)]
    requests = max(1, found.requests)
    return Measured(
        round(found.rps, 1),
        found.p50_us / 1e3,
        found.p99_us / 1e3,
        found.errors,
        round(spent_s[0] / requests * 1e6, 2),
        round(spent_s[1] / requests * 1e6, 2),
    )


def measure_scale(
    settings: Sequence[Setting],
    work: Path,
    seed: int,
    connections: int,
    seconds: float,
    rounds: int,
    threads: int,
    say: Say,
) -> list[ScaleRow]:
    """Medians over the rounds of every setting, in order."""
    workloads: dict[str, Workload] = {
        name: write_workload(work / f"bundle-{name}", seed=seed, widths=widths) for name, widths in MODEL_SIZES.items()
    }
    if any(setting.model == LARGE_MODEL for setting in settings):
        # It has a score for every row: a replica compares engines on rows with missing values.
        workloads[LARGE_MODEL] = write_workload(
            work / f"bundle-{LARGE_MODEL}", seed=seed, widths=LARGE_WIDTHS, takes_any=True
        )
    script = work / "request.lua"
    write_script(script, workloads[USUAL_MODEL].body)
    runs: dict[tuple[str, str], list[Measured]] = {}
    for number in range(1, rounds + 1):
        for index, setting in enumerate(settings):
            folder = work / f"{number}-{index}"
            folder.mkdir()
            try:
                with lab(workloads[setting.model], folder, setting.arrangement) as running:
                    found = measure_setting(running, script, connections, seconds, threads)
            except RuntimeError as error:
                if not setting.arrangement.num_gpus:
                    raise
                say(f"round {number}/{rounds}: {setting.axis} {setting.value} is left out: {error}")
                continue  # one engine that does not work here must not cost the other results
            runs.setdefault((setting.axis, setting.value), []).append(found)
            say(f"round {number}/{rounds}: {setting.axis} {setting.value}: {found.rps:,.0f} req/s")
    return summarise_scale(runs)


def simulate_clusters(
    costs: Costs, nodes: Sequence[int], requests_per_gateway: int, seed: int, say: Say
) -> dict[str, list[Saturation]]:
    """Three series: the design, the design without its preference for replicas of its own node, a heavy model."""
    heavy = msgspec.structs.replace(costs, replica_row_s=costs.replica_row_s * _HEAVY)
    usual = Cluster(1)
    series = {
        "benchmark model": (usual, costs),
        "benchmark model, replicas of any node alike": (msgspec.structs.replace(usual, prefers_local=False), costs),
        f"model of {_HEAVY:g} times the cost per row": (usual, heavy),
    }
    found = {}
    for name, (cluster, each) in series.items():
        say(f"simulating: {name}")
        found[name] = sweep_nodes(cluster, each, nodes, requests_per_gateway, seed, say)
    return found


def _short_micro(work: Path, seed: int) -> Path:
    """A short run of the micro-benchmarks in a process of its own; returns its result."""
    path = work / "micro.json"
    command = [sys.executable, "-m", "benchmarks.micro", "--samples", "9", "--sample-ms", "10", "--seed", str(seed)]
    subprocess.run([*command, "--out", str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def _gpu_engines() -> list[EngineChoice]:
    """Raises: EngineError: there is no GPU, or no engine for it."""
    capabilities = probe_capabilities(1.0)
    found = [engine for engine in GPU_ENGINES if engine not in capabilities.missing]
    if not found:
        reasons = "; ".join(dict.fromkeys(capabilities.missing.values()))
        raise EngineError(f"there is no engine of a GPU to measure: {reasons}", remedy="leave out --gpu")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("scale", "Throughput against processes, batches, models; many nodes simulated.")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measured run (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="threads of the driver (default 1)")
    parser.add_argument("--gateways", default="1,2", help="numbers of gateways (default 1,2)")
    parser.add_argument("--replicas", default="1,2,4", help="numbers of replicas (default 1,2,4)")
    parser.add_argument("--gpu", action="store_true", help="a model of 142 MB by the engines of a GPU, too")
    parser.add_argument("--nodes", default="1,2,4,8,16,32", help="sizes of the simulated clusters")
    parser.add_argument(
        "--requests", type=int, default=8_000, help="simulated requests for each gateway and step (default 8000)"
    )
    parser.add_argument("--micro", type=Path, help="result of benchmarks.micro, in place of a short run of its own")
    parser.add_argument(
        "--hosts", type=int, metavar="N", help="measure over N hosts and the ways between them, nothing else"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-simulation", action="store_true", help="measure nothing but the short micro run")
    only.add_argument("--only-measured", action="store_true", help="simulate nothing")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> ScaleResult:
        nodes = parse_counts("--nodes", options.nodes)
        machine = describe_machine()
        rows: list[ScaleRow] = []
        if not options.only_simulation:
            require_wrk()
            settings = settings_of(
                parse_counts("--gateways", options.gateways), parse_counts("--replicas", options.replicas)
            )
            rows = measure_scale(
                settings + (engine_settings(_gpu_engines()) if options.gpu else []),
                work,
                options.seed,
                options.connections,
                options.seconds,
                options.rounds,
                options.threads,
                say,
            )
        costs, simulated = (None, {}) if options.only_measured else simulate(work, nodes, say)
        return ScaleResult(
            machine,
            options.seed,
            options.connections,
            options.seconds,
            options.rounds,
            rows,
            costs,
            simulated,
            options.threads,
        )

    def simulate(work: Path, nodes: Sequence[int], say: Say) -> tuple[Costs, dict[str, list[Saturation]]]:
        micro = msgspec.json.decode((options.micro or _short_micro(work, options.seed)).read_bytes(), type=MicroResult)
        costs = calibrate_costs(micro.figures)
        return costs, simulate_clusters(costs, nodes, options.requests, options.seed, say)

    def measure_over_hosts(work: Path, say: Say) -> HostsResult:
        from benchmarks.lab.ray_controller_calls import controller_calls  # Ray, only where it is needed

        calls = controller_calls(options.seed, say)
        return measure_hosts(
            work, options.hosts, options.seed, options.connections, options.seconds, options.rounds, calls, say
        )

    if options.hosts:
        return run_benchmark(options, measure_over_hosts, render_hosts)
    return run_benchmark(options, measure, lambda found: render_scale(found.rows, found.simulated))


if __name__ == "__main__":
    sys.exit(main())
