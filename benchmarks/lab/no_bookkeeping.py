"""The gateway without its counting, for one comparison only: what is all the bookkeeping of a canary worth in speed?

The product has no such switch, and compiled code cannot be patched while it runs. So the comparison's other side is a
copy of the gateway's source with the lines taken out that observe a request on behalf of a rollout: counts and
latencies by version and second, scores, customers and sampled rows of the split's watch, the breaker, the salts, the
reports. The split itself stays, so that both sides send the same requests to the same versions.
"""

from __future__ import annotations

from pathlib import Path

from deploy.compile_gateway import compile_package, copy_source
from router.gateway import native

_TALLIES = """\
        job.tally = pool.tally.at_unjudged(now_s) if job.is_pinned else pool.tally.at(now_s)
        job.tally.requests += 1
"""
_SWEEP = "    def sweep(self, now_s: float) -> None:\n"
_REPORTS = "        ticks: dict[int, list[EndpointReport]] = {}\n"
EDITS: dict[str, tuple[tuple[str, str], ...]] = {
    "predict/dispatcher": (
        (_TALLIES, ""),
        (_REPORTS, f"{_REPORTS}        if ticks == {{}}:\n            return ticks\n"),
    ),
    "predict/endpoint": ((_SWEEP, f"{_SWEEP}        if now_s > 0.0:\n            return\n"),),
    "predict/pool": (("if self.keeps_scores and ", "if not self and "),),
    "predict/split_monitor": (("if self.mask and digest & self.mask:", "if digest >= 0:"),),
}
"""What is taken out, by module of `router`: each text must be there once, and what stands in its place."""


def write_package(target: Path) -> Path:
    """Writes the gateway's source without its bookkeeping into ``target``; returns the package's folder.

    Raises:
        ValueError: the source has changed and `EDITS` no longer fits it.
    """
    package = copy_source(native.PACKAGE, target)
    for module, edits in EDITS.items():
        path = package / f"{module}.py"
        text = path.read_text("utf-8")
        for old, new in edits:
            if text.count(old) != 1:
                raise ValueError(f"{path.name} must hold this text once, for the comparison to take it out: {old!r}")
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
    return package


def build_without_bookkeeping(target: Path) -> Path:
    """The same, compiled where the product's own gateway is; returns the folder to put on Python's path.

    Raises:
        ClusterError: the product is compiled here, and this cannot be.
    """
    package = write_package(target)
    if native.folder().is_dir():
        compile_package(package)
    return target
