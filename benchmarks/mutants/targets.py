"""Which modules are mutated, and which tests should notice. Pure, but for looking which files exist."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.operators import Mutation, mutations

PACKAGES = ("router", "divisions")
EXCLUDED = (
    "router/control/ray_",  # need Ray
    "router/gateway/bridge.py",  # need processes
    "router/gateway/child.py",
    "router/gateway/lifecycle.py",
    "router/gateway/process.py",
    "router/gateway/ray_gateway.py",
    "router/gateway/native.py",
    "divisions/cli.py",
    "divisions/commands/",
    "divisions/registry.py",  # needs MLflow
    "divisions/registry_run.py",  # as well
)
"""Thin shells: their tests start processes, or heavy libraries. Everything else is fair game."""

SLOW = ("tests/router/control/test_controller_machine.py", "tests/router/control/test_kills.py")
"""Tests that take more than a minute: they are left out."""

NEIGHBOURS = {
    "router/evidence/": ("tests/router/evidence", "tests/router/control/test_controller_guards.py"),
    "router/rollouts/": ("tests/router/rollouts", "tests/router/control/test_controller.py",
                         "tests/router/control/test_controller_guards.py", "tests/router/control/test_gates_agree.py",
                         "tests/router/control/test_approvals.py"),
    "router/control/": ("tests/router/control",),
    "router/journal/": ("tests/router/journal", "tests/router/control/test_journal_away.py"),
    "router/drift/": ("tests/router/drift", "tests/router/control/test_drift_watch.py"),
    "router/prediction_log/": ("tests/router/prediction_log", "tests/router/gateway/test_prediction_log.py"),
    "router/traces/": ("tests/router/traces", "tests/router/gateway/test_traces.py"),
    "router/house/": ("tests/router/house", "tests/router/control/test_house_keeper.py",
                      "tests/router/control/test_chronicle.py"),
    "router/scaling/": ("tests/router/scaling", "tests/router/control/test_sizing.py",
                        "tests/router/control/test_spreading.py"),
    "router/http/": ("tests/router/http", "tests/router/gateway/test_events.py"),
    "router/predict/": ("tests/router/predict", "tests/router/gateway/test_gateway.py",
                        "tests/router/gateway/test_gateway_rollouts.py",
                        "tests/router/gateway/test_remote_channels.py"),
    "router/oip/": ("tests/router/oip", "tests/router/predict/test_customer_look_up.py",
                    "tests/router/predict/test_front.py"),
    "router/sagemaker/": ("tests/router/sagemaker",),
    "router/explain/": ("tests/router/explain",),
    "router/openapi/": ("tests/router/openapi", "tests/router/gateway/test_api_document.py"),
    "router/gateway/": ("tests/router/gateway", "tests/router/http/test_static_files.py"),
    "divisions/pipeline/": ("tests/divisions/pipeline",),
    "divisions/schedule/": ("tests/divisions/schedule", "tests/deploy/schedule",
                            "tests/divisions/test_cli_schedule.py"),
    "divisions/access/": ("tests/divisions/access", "tests/router/control/test_token_desk.py",
                          "tests/router/gateway/test_policy.py"),
    "divisions/policy/": ("tests/divisions/policy", "tests/divisions/test_cli_policy.py"),
    "divisions/notify/": ("tests/divisions/notify", "tests/router/control/test_notices.py"),
    "divisions/logs/": ("tests/divisions/logs", "tests/divisions/test_cli_logs.py"),
    "divisions/sdk/": ("tests/divisions/sdk",),
    "divisions/": ("tests/divisions", "tests/router/rollouts"),
}  # fmt: skip
"""Tests that run when a module's own tests did not notice: those of its wing, and those that drive it as a whole."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutation of one module, by its path below the root."""

    module: str
    mutation: Mutation
    source_line: str

    @property
    def where(self) -> str:
        return f"{self.module}:{self.mutation.line}"


def modules(root: Path, only: Sequence[str] = ()) -> list[str]:
    """The modules that are mutated, sorted; ``only`` keeps those whose path starts with one of these."""
    found = (str(path.relative_to(root)) for package in PACKAGES for path in (root / package).rglob("*.py"))
    return sorted(
        name
        for name in found
        if not name.startswith(EXCLUDED)
        and not name.endswith("__init__.py")
        and "/_native/" not in name
        and (not only or name.startswith(tuple(only)))
    )


def sample(root: Path, count: int, seed: int, only: Sequence[str] = ()) -> list[Mutant]:
    """``count`` mutants, each mutation of each module with the same chance; the same seed gives the same ones."""
    every = every_mutant(root, only)
    return random.Random(seed).sample(every, min(count, len(every)))


def every_mutant(root: Path, only: Sequence[str] = ()) -> list[Mutant]:
    """All mutants of all modules, in order of place."""
    every = []
    for module in modules(root, only):
        source = (root / module).read_bytes()
        lines = source.decode().splitlines()
        every += [Mutant(module, each, lines[each.line - 1].strip()) for each in mutations(source)]
    return every


def own_tests(root: Path, module: str) -> tuple[str, ...]:
    """The tests that mirror a module: ``tests/<package>/<wing>/test_<module>.py``, and its variants."""
    path = Path(module)
    folder = root / "tests" / path.parent
    found = [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_{path.stem}_*.py")]
    return tuple(sorted({str(each.relative_to(root)) for each in found} - set(SLOW)))


def neighbouring_tests(root: Path, module: str) -> tuple[str, ...]:
    """The tests around a module, by the longest prefix in `NEIGHBOURS`."""
    prefix = max((each for each in NEIGHBOURS if module.startswith(each)), key=len)
    return tuple(each for each in NEIGHBOURS[prefix] if (root / each).exists())
