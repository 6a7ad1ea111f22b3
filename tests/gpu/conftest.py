"""A real GPU, a model with the whole feature transform, and a report of what was measured.

Nothing here runs without a GPU. ``make gpu`` runs everything and writes the report; TensorRT, ONNX Runtime with CUDA
and PyTorch with CUDA take part as far as they are installed. The report is written whatever happens: it names the
engines that are not there, the tests that failed and those that were skipped, each with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.compile.opening import Models
from serving.engines.capabilities import Capabilities, probe_capabilities, versions
from serving.engines.cuda_driver import CudaDriver, probe_gpus
from tests.gpu.report import GpuReport
from tests.trainers.churn import SCHEMA, training_data

PROBE = probe_gpus()
REPORT = "--gpu-report"
NOTES = pytest.StashKey[GpuReport]()


class Outcomes:
    """Hears of each phase of each test, which a hook of the module could not tell to its session."""

    def __init__(self, report: GpuReport) -> None:
        self._report = report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "tests/gpu/" in report.nodeid:
            self._report.add_outcome(report.nodeid, report.when or "", report.outcome, report.longrepr)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(REPORT, type=Path, help="write what was measured on the GPU to this file, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = GpuReport()
    config.pluginmanager.register(Outcomes(config.stash[NOTES]))
    if config.getoption(REPORT, None) and not PROBE.gpus:
        pytest.exit(f"there is nothing to report on: {PROBE.reason}", returncode=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not PROBE.gpus:
                item.add_marker(pytest.mark.skip(reason=PROBE.reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption(REPORT, None)
    if path and PROBE.gpus:
        path.parent.mkdir(parents=True, exist_ok=True)
        missing = {str(engine): reason for engine, reason in probe_capabilities(1.0).missing.items()}
        text = session.config.stash[NOTES].markdown(PROBE.gpus[0], CudaDriver().rates(0), versions(), missing)
        path.write_text(text)


@pytest.fixture(scope="session")
def capabilities() -> Capabilities:
    return probe_capabilities(1.0)


@pytest.fixture(scope="session")
def models() -> Models:
    from divisions.pipeline.definition import Hyperparams
    from trainers.export.half_precision import half_precision
    from trainers.export.onnx_export import export_onnx
    from trainers.training.loop import train
    from trainers.training.model import build_model

    hyperparams = Hyperparams(hidden=(256, 256, 128), embedding_dim=8, epochs=5)
    data = training_data(3_000)
    model = build_model(SCHEMA, data.train_rows_NF, hyperparams)
    model.load_state_dict(train(model, data, hyperparams, lambda *_: None))
    model = model.eval()
    whole = export_onnx(model, SCHEMA, {})
    return Models(whole, half_precision(whole), SCHEMA.num_columns)


@pytest.fixture(scope="session")
def note(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Notes a figure for the report."""
    return request.config.stash[NOTES].note
