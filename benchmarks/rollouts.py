"""Simulates rollouts and tells how often, and how fast, good and bad canaries are rolled back::

    python -m benchmarks.rollouts --rollouts 200 --seed 1 --rps 1000 --scenario all --output json

With ``--into docs/benchmarks/rollouts.json`` the rows are put into that file, its plots are drawn beside it, and
docs/rollouts-study.md and the promises in docs/rollouts.md are written anew from it; with ``--rollouts 0`` as well,
nothing is simulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.canaries.scenarios import SCENARIOS, choose_scenarios
from benchmarks.canaries.study import Row, Study, merge, run_scenario
from benchmarks.harness.interrupts import EXIT_INTERRUPTED, stop_on_sigterm
from benchmarks.harness.machine import describe_machine
from benchmarks.reports.rollout_page import put_promises, render_page, render_table
from benchmarks.reports.rollout_plots import draw_plots
from divisions.errors import DivisionsError, UsageError

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "rollouts-study.md"
GUIDE = ROOT / "docs" / "rollouts.md"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    stop_on_sigterm()
    try:
        study = _run(options)
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print(encode(study) if options.output == "json" else render_table(study.rows))
    return 0


def encode(study: Study) -> str:
    return msgspec.json.format(msgspec.json.encode(study), indent=1).decode()


def read_study(path: Path) -> Study:
    return msgspec.json.decode(path.read_bytes(), type=Study)


def _run(options: argparse.Namespace) -> Study:
    if options.rollouts < 0 or (options.rollouts == 0 and options.into is None):
        raise UsageError(f"--rollouts must be positive, got {options.rollouts}", remedy="200 take a minute or two")
    if not 1 <= options.rps <= 100_000:
        raise UsageError(f"--rps must lie between 1 and 100,000, got {options.rps:g}")
    rows: list[Row] = []
    for scenario in choose_scenarios(options.scenario) if options.rollouts else ():
        found = run_scenario(
            scenario, options.rps, options.rollouts, options.seed, _say, with_baselines=not options.without_baselines
        )
        rows += found
        if options.into is not None:
            save(options.into, found)
    if options.into is None:
        return Study(describe_machine(), tuple(rows))
    study = read_study(options.into)
    draw_plots(study.rows, options.into.parent)
    PAGE.write_text(render_page(study), encoding="utf-8")
    GUIDE.write_text(put_promises(GUIDE.read_text(encoding="utf-8"), study.rows), encoding="utf-8")
    return study


def save(path: Path, rows: Sequence[Row]) -> None:
    """Puts rows into the file of a study."""
    before = read_study(path).rows if path.exists() else ()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(encode(Study(describe_machine(), merge(before, rows))) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollouts", description="Simulates rollouts.")
    parser.add_argument("--rollouts", type=int, default=200, metavar="N", help="of each scenario")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--rps", type=float, default=1_000.0, metavar="R", help="mean requests per second")
    parser.add_argument("--scenario", default="all", metavar="NAME", help=f"all, or of {', '.join(SCENARIOS)}")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--into", type=Path, metavar="FILE", help="a study's JSON, to put the rows into")
    parser.add_argument("--without-baselines", action="store_true", help="simulate Divisions only")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
