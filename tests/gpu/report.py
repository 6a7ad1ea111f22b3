"""What a run on a GPU found, as Markdown. Knows neither pytest nor a GPU."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime

from benchmarks.engines.roofline import gpu_peak
from serving.engines.cuda_driver import GpuInfo, GpuRates


class GpuReport:
    """Gathers figures and outcomes while tests run."""

    def __init__(self) -> None:
        self._sections: dict[str, list[str]] = {}
        self._outcomes: dict[str, tuple[str, str]] = {}

    def note(self, section: str, line: str) -> None:
        self._sections.setdefault(section, []).append(line)

    def add_outcome(self, test: str, when: str, outcome: str, why: object) -> None:
        """One phase of a test: the first that did not pass decides. ``why`` is pytest's: of a skip
        ``(file, line, reason)``, of a failure a text in which the lines of the error begin with an E."""
        if self._outcomes.get(test, ("passed", ""))[0] == "passed" and (when == "call" or outcome != "passed"):
            if isinstance(why, tuple):
                reason = str(why[2]).removeprefix("Skipped: ")
            else:
                reason = next((line[1:].strip() for line in str(why or "").splitlines() if line.startswith("E ")), "")
            self._outcomes[test] = (outcome, reason)

    def markdown(self, gpu: GpuInfo, rates: GpuRates, versions: Mapping[str, str], missing: Mapping[str, str]) -> str:
        major, minor = gpu.compute_capability
        peak = gpu_peak(gpu.compute_capability, rates)
        flops = ", ".join(f"{value / 1e12:,.0f} TFLOP/s in {name}" for name, value in peak.flops_per_s.items())
        lines = [
            f"# {gpu.name}, {datetime.now(UTC):%Y-%m-%d}",
            "",
            f"sm_{major}{minor}, {gpu.memory_bytes / 1e9:.1f} GB, CUDA {gpu.driver} (driver), {platform.machine()}, "
            f"Python {platform.python_version()}. At best {peak.bytes_per_s / 1e9:,.0f} GB/s"
            f"{', ' if flops else ''}{flops} ({peak.source}).",
            "",
            *(f"- {name} {version}" for name, version in versions.items()),
        ]
        for section, entries in self._sections.items():
            lines += _section(section, entries)
        lines += _section("Engines that are not here", [f"{name}: {reason}" for name, reason in missing.items()])
        told = {outcome: [] for outcome in ("passed", "failed", "skipped")}
        for test, (outcome, reason) in self._outcomes.items():
            told[outcome].append(f"{test.rpartition('::')[2]}: {reason}")
        lines += ["", "## Tests", "", ", ".join(f"{len(tests)} {outcome}" for outcome, tests in told.items()) + "."]
        for outcome in ("failed", "skipped"):
            lines += _section(outcome.capitalize(), told[outcome])
        return "\n".join(lines) + "\n"


def _section(title: str, entries: list[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {entry}" for entry in entries)] if entries else []
