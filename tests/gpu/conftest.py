"""A real GPU, a model with the whole feature transform, and a report of what was measured.

Nothing here runs without a GPU. ``make gpu`` runs everything and writes the report; TensorRT, ONNX Runtime with CUDA
and PyTorch with CUDA take part as far as they are installed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.engines.capabilities import Capabilities, probe_capabilities, versions
from serving.engines.cuda_driver import probe_gpus
from serving.opening import Models
from tests.trainers.churn import SCHEMA, rows_and_labels

PROBE = probe_gpus()
REPORT = "--gpu-report"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(REPORT, type=Path, help="write what was measured on the GPU to this file, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(REPORT, None) and not PROBE.gpus:
        pytest.exit(f"there is nothing to report on: {PROBE.reason}", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not PROBE.gpus:
                item.add_marker(pytest.mark.skip(reason=PROBE.reason))


@pytest.fixture(scope="session")
def capabilities() -> Capabilities:
    return probe_capabilities(1.0)


@pytest.fixture(scope="session")
def models() -> Models:
    from divisions.pipeline import Hyperparams
    from trainers.export import export_onnx
    from trainers.half_precision import half_precision
    from trainers.model import build_model

    hyperparams = Hyperparams(hidden=(256, 256, 128), embedding_dim=8)
    model = build_model(SCHEMA, rows_and_labels()[0], hyperparams).eval()
    whole = export_onnx(model, SCHEMA, {})
    return Models(whole, half_precision(whole), SCHEMA.num_columns)


@pytest.fixture(scope="session")
def note(request: pytest.FixtureRequest) -> Iterator[Callable[[str, object], None]]:
    """Notes a figure for the report."""
    noted: dict[str, list[object]] = {}
    yield lambda section, line: noted.setdefault(section, []).append(line)
    path = request.config.getoption(REPORT, None)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_markdown(noted))


def _markdown(noted: dict[str, list[object]]) -> str:
    (gpu, *_) = PROBE.gpus
    major, minor = gpu.compute_capability
    lines = [
        f"# {gpu.name}, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"sm_{major}{minor}, {gpu.memory_bytes / 1e9:.1f} GB, CUDA {gpu.driver} (driver), {platform.machine()}, "
        f"Python {platform.python_version()}",
        "",
        *(f"- {name} {version}" for name, version in versions().items()),
    ]
    for section, entries in noted.items():
        lines += [
            "",
            f"## {section}",
            "",
            *(f"- {one if isinstance(one, str) else json.dumps(one)}" for one in entries),
        ]
    return "\n".join(lines) + "\n"
