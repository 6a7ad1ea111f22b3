"""A seeded sample of mutants: ``make mutants``, or ``python -m benchmarks.mutants --seed 7 --count 100 --output json``.

Each mutant is one small change to a module of `router` or `divisions`, such as ``<`` for ``<=``. The module's own tests
run against it, then its neighbours'. A mutant that all of them pass has *survived*: a test is missing, or the change is
equivalent (then it goes into ``equivalent.toml``, with the reason).
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import tempfile
import threading
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.mutants.runner import Baselines, Fate, Runner, Verdict
from benchmarks.mutants.targets import Mutant, every_mutant, sample

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
WANTED = 0.9
"""The share of mutants that tests should kill, of those that are not equivalent."""


def equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str], str]:
    """The reasons why mutants are equivalent, by module, text of the line and change."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    return {(each["module"], each["line"], each["change"]): each["why"] for each in entries}


def identity(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.module, mutant.source_line, mutant.mutation.change


def judge_all(mutants: Sequence[Mutant], jobs: int, work: Path) -> list[Verdict]:
    """Runs the mutants in ``jobs`` copies of the tree, and tells each verdict on standard error."""
    runners: queue.Queue[Runner] = queue.Queue()
    baselines = Baselines()
    for number in range(jobs):
        runners.put(Runner(ROOT, work / str(number), baselines))
    lock, done = threading.Lock(), 0

    def judge(mutant: Mutant) -> Verdict:
        nonlocal done
        runner = runners.get()
        try:
            verdict = runner.verdict(mutant)
        finally:
            runners.put(runner)
        with lock:
            done += 1
            told = f"{verdict.fate:<9} {mutant.where} {mutant.mutation.change}"
            print(f"{done}/{len(mutants)} {told}", file=sys.stderr, flush=True)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(judge, mutants))


def report(verdicts: Sequence[Verdict], seed: int, skipped: Sequence[Mutant]) -> dict[str, object]:
    """The result as JSON: counts, the share that was killed, and every survivor."""
    killed = sum(verdict.fate in {Fate.KILLED, Fate.TIMED_OUT} for verdict in verdicts)
    unknown = [verdict for verdict in verdicts if verdict.fate is Fate.UNKNOWN]
    survivors = [verdict.mutant for verdict in verdicts if verdict.fate is Fate.SURVIVED]
    return {
        "seed": seed,
        "sampled": len(verdicts) + len(skipped),
        "equivalent": len(skipped),
        "killed": killed,
        "timed_out": sum(verdict.fate is Fate.TIMED_OUT for verdict in verdicts),
        "killed_share": round(killed / max(1, len(verdicts) - len(unknown)), 4),
        "broken_tests": sorted({test for verdict in unknown for test in verdict.by}),
        "survived": [
            {"where": each.where, "change": each.mutation.change, "line": each.source_line} for each in survivors
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description="Which changes no test notices.")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other mutants (default 0)")
    parser.add_argument("--count", type=int, default=60, help="number of mutants (default 60)")
    parser.add_argument("--only", action="append", default=[], metavar="PATH", help="only modules below this path")
    parser.add_argument("--again", type=Path, metavar="JSON", help="only those that survived in this earlier result")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (default 2)")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args(arguments)
    known = equivalents()
    mutants = sample(ROOT, options.count, options.seed, options.only)
    if options.again is not None:
        before = json.loads(options.again.read_text(encoding="utf-8"))["survived"]
        wanted = {(each["where"].partition(":")[0], each["line"], each["change"]) for each in before}
        mutants = [each for each in every_mutant(ROOT, options.only) if identity(each) in wanted]
    skipped = [each for each in mutants if identity(each) in known]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        verdicts = judge_all([each for each in mutants if identity(each) not in known], options.jobs, Path(folder))
    found = report(verdicts, options.seed, skipped)
    if options.output == "json":
        print(json.dumps(found, indent=2))
    else:
        for test in found["broken_tests"] if isinstance(found["broken_tests"], list) else []:
            print(f"warning: {test} fails without a mutation; mend it first", file=sys.stderr)
        for verdict in verdicts:
            if verdict.fate is Fate.SURVIVED:
                mutant = verdict.mutant
                print(f"survived  {mutant.where}  {mutant.mutation.change}\n            {mutant.source_line}")
        print(
            f"seed {options.seed}: {found['killed']} of {len(verdicts)} killed ({found['killed_share']:.0%}), "
            f"{len(skipped)} equivalent"
        )
    return 0 if float(str(found["killed_share"])) >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
