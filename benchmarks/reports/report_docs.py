"""``docs/benchmarks.md`` and other pages from results: ``python -m benchmarks.report_docs``.

Each section of a page between ``<!-- result: NAME -->`` and ``<!-- end -->`` is rendered from
``docs/benchmarks/NAME.json``, and from nothing else. Where there is no such file the section says how to make it. A
test holds the pages to their files.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.lab.autoscale import AutoscaleResult
from benchmarks.lab.bookkeeping import BookkeepingResult
from benchmarks.lab.drift import DriftResult
from benchmarks.lab.explaining import ExplainingResult
from benchmarks.lab.hosts import HostsResult
from benchmarks.lab.kinds import KindsResult
from benchmarks.lab.micro_suite import MicroResult
from benchmarks.lab.online_store import OnlineStoreResult
from benchmarks.lab.outcomes import OutcomesResult
from benchmarks.lab.prediction_log import PredictionLogResult
from benchmarks.lab.scale import ScaleResult
from benchmarks.lab.watching import WatchingResult
from benchmarks.peers.binary import BinaryResult
from benchmarks.peers.comparison import Comparison
from benchmarks.preparation.growth import PreparationResult
from benchmarks.reports.doc_tables import (
    autoscale_section,
    binary_section,
    bookkeeping_section,
    comparison_section,
    drift_section,
    explaining_section,
    hosts_section,
    kinds_section,
    micro_section,
    online_store_section,
    outcomes_section,
    preparation_section,
    scale_section,
    watching_section,
)
from benchmarks.reports.stress_tables import (
    chaos_section,
    fuzz_section,
    keys_section,
    losses_section,
    overload_section,
    prediction_log_section,
    slow_section,
    steady_section,
)
from benchmarks.stress.chaos_result import ChaosResult
from benchmarks.stress.fuzz import FuzzResult
from benchmarks.stress.keys import KeysResult
from benchmarks.stress.loss_result import LossesResult
from benchmarks.stress.overload import OverloadResult
from benchmarks.stress.slow import SlowResult
from benchmarks.stress.steady import SteadyResult
from divisions.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs"
RESULTS = ROOT / "docs" / "benchmarks"
_MARKED = re.compile(r"(<!-- result: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of result: how it is read and rendered, the command that makes it, and the page that shows it."""

    kind: type[msgspec.Struct]
    render: Callable[[Any], str]
    command: str
    page: str = "benchmarks.md"


SECTIONS: dict[str, Section] = {
    "compare": Section(
        Comparison,
        comparison_section,
        "python -m benchmarks.compare --seconds 10 --out docs/benchmarks/compare.json",
    ),
    "micro": Section(MicroResult, micro_section, "python -m benchmarks.micro --out docs/benchmarks/micro.json"),
    "scale": Section(
        ScaleResult,
        scale_section,
        "python -m benchmarks.scale --micro docs/benchmarks/micro.json --out docs/benchmarks/scale.json",
    ),
    "kinds": Section(
        KindsResult, kinds_section, "python -m benchmarks.kinds --out docs/benchmarks/kinds.json", "models.md"
    ),
    "autoscale": Section(
        AutoscaleResult, autoscale_section, "python -m benchmarks.autoscale --out docs/benchmarks/autoscale.json"
    ),
    "hosts": Section(
        HostsResult, hosts_section, "python -m benchmarks.scale --hosts 3 --out docs/benchmarks/hosts.json"
    ),
    "steady": Section(SteadyResult, steady_section, "python -m benchmarks.steady --out docs/benchmarks/steady.json"),
    "overload": Section(
        OverloadResult, overload_section, "python -m benchmarks.overload --out docs/benchmarks/overload.json"
    ),
    "binary": Section(BinaryResult, binary_section, "python -m benchmarks.binary --out docs/benchmarks/binary.json"),
    "bookkeeping": Section(
        BookkeepingResult,
        bookkeeping_section,
        "python -m benchmarks.bookkeeping --out docs/benchmarks/bookkeeping.json",
    ),
    "watching": Section(
        WatchingResult, watching_section, "python -m benchmarks.watching --out docs/benchmarks/watching.json"
    ),
    "explaining": Section(
        ExplainingResult,
        explaining_section,
        "python -m benchmarks.explaining --out docs/benchmarks/explaining.json",
    ),
    "online-store": Section(
        OnlineStoreResult,
        online_store_section,
        "python -m benchmarks.online_store --out docs/benchmarks/online-store.json",
    ),
    "preparation": Section(
        PreparationResult,
        preparation_section,
        "python -m benchmarks.preparation --out docs/benchmarks/preparation.json"
        " --plot docs/benchmarks/preparation.svg",
    ),
    "chaos": Section(ChaosResult, chaos_section, "python -m benchmarks.chaos --out docs/benchmarks/chaos.json"),
    "drift": Section(
        DriftResult,
        drift_section,
        "python -m benchmarks.drift --months 20 --runs 4 --out docs/benchmarks/drift.json",
        "drift.md",
    ),
    "outcomes": Section(
        OutcomesResult,
        outcomes_section,
        "python -m benchmarks.outcomes --out docs/benchmarks/outcomes.json",
        "prediction-log.md",
    ),
    "prediction-log-rate": Section(
        PredictionLogResult,
        prediction_log_section,
        "python -m benchmarks.prediction_log --requests 300000 --rps 1500 --seconds 10"
        " --out docs/benchmarks/prediction-log-rate.json",
        "prediction-log.md",
    ),
    "prediction-log-full": Section(
        PredictionLogResult,
        prediction_log_section,
        "python -m benchmarks.prediction_log --requests 1000000 --seconds 10"
        " --out docs/benchmarks/prediction-log-full.json",
        "prediction-log.md",
    ),
    "prediction-log-sample": Section(
        PredictionLogResult,
        prediction_log_section,
        "python -m benchmarks.prediction_log --sample 5 --requests 200000"
        " --out docs/benchmarks/prediction-log-sample.json",
        "prediction-log.md",
    ),
    "keys": Section(
        KeysResult,
        keys_section,
        "python -m benchmarks.keys --rate 4000 --seconds 6 --rounds 5 --out docs/benchmarks/keys.json",
        "limits.md",
    ),
    "fuzz": Section(
        FuzzResult,
        fuzz_section,
        "python -m benchmarks.fuzz --keys --clients 48 --seed 21 --out docs/benchmarks/fuzz.json",
    ),
    "fuzz-tls": Section(
        FuzzResult,
        fuzz_section,
        "python -m benchmarks.fuzz --keys --tls --clients 48 --seed 21 --out docs/benchmarks/fuzz-tls.json",
    ),
    "slow": Section(SlowResult, slow_section, "python -m benchmarks.slow --seconds 10 --out docs/benchmarks/slow.json"),
    "losses": Section(
        LossesResult,
        losses_section,
        "python -m pytest tests/cluster/test_shows.py --long --losses docs/benchmarks/losses.json",
        "cluster.md",
    ),
}


def pages() -> tuple[str, ...]:
    """The pages that show results."""
    return tuple(sorted({section.page for section in SECTIONS.values()}))


def read_sections(results: Path, page: str) -> dict[str, str]:
    """The text of every section of a page, rendered from the files in ``results``.

    Raises:
        InputError: a file is not a result of its benchmark.
    """
    return {
        name: _read_section(name, section, results / f"{name}.json")
        for name, section in SECTIONS.items()
        if section.page == page
    }


def _read_section(name: str, section: Section, path: Path) -> str:
    if not path.is_file():
        return f"Not measured yet:\n\n    {section.command}\n"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=section.kind)
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{path} is no result of `{section.command.split()[2]}`: {error}",
            remedy=f"make it again: {section.command}",
        ) from None
    return section.render(found)


def fill_page(page: str, sections: Mapping[str, str]) -> str:
    """The page with every marked section replaced.

    Raises:
        InputError: the page marks a section that does not exist, or lacks one that does.
    """
    marked = [match["name"] for match in _MARKED.finditer(page)]
    if sorted(marked) != sorted(sections):
        raise InputError(
            f"the page marks {', '.join(sorted(marked)) or 'nothing'}, results are of {', '.join(sorted(sections))}",
            remedy="write `<!-- result: NAME -->` and `<!-- end -->` once for each",
        )
    return _MARKED.sub(lambda match: f"{match[1]}\n{sections[match['name']].strip()}\n\n{match[3]}", page)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report_docs", description="The tables of the documents anew."
    )
    parser.add_argument("--pages", type=Path, default=PAGES, help="folder of the pages")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON results")
    options = parser.parse_args(arguments)
    try:
        filled = {
            path: fill_page(path.read_text(encoding="utf-8"), read_sections(options.results, path.name))
            for path in (options.pages / name for name in pages())
        }
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in filled.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
