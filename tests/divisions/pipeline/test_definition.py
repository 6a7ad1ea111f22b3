"""What the parts of a pipeline file are without the file: the defaults of the documentation's tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from divisions.control import FULL_BP
from divisions.pipeline.definition import GUESSING_GATE, Comparison, Deployment, Gate
from divisions.pipeline.file import parse_pipeline

DOCS = Path(__file__).parents[3] / "docs"
SMALLEST = """\
pipeline: plain
stages:
  data_prep:
    input: data
  deployment:
    endpoint: /api/v2/predict/churn
"""
GPU = "  training:\n    resources: 1vCPU, T4-GPU, 16GB VRAM\n"


def table(document: str, heading: str) -> dict[str, str]:
    """The first table behind a heading or a line: the default by key, without code marks."""
    text = (DOCS / document).read_text()
    _, found, rest = text.partition(f"\n{heading}")
    assert found, f"{document} has no {heading!r}"
    rows = {}
    for line in rest[rest.index("\n| `") + 1 :].splitlines():
        if not line.startswith("| `"):
            break
        key, default, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        rows |= dict(zip(re.findall("`([^`]+)`", key), [default.replace("`", "")] * 9, strict=False))
    return rows


def shown(value: object) -> str:
    """A default as the tables show it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(
    ("heading", "path"),
    [
        ("`hyperparams` depend", "training.hyperparams"),
        ("## `stages.training`", "training"),
        ("## `serving`", "serving"),
        ("## `features`", "features"),
        ("`analysis`. Durations", "deployment.analysis"),
    ],
)
def test_a_key_without_a_value_has_the_default_of_the_documentation(heading, path):
    section = parse_pipeline(SMALLEST)
    for name in path.split("."):
        section = getattr(section, name)
    rows = table("pipeline.md", heading)
    checked = 0
    for key, documented in rows.items():
        if re.match(r"[\d.]+$|\[", documented):
            assert shown(getattr(section, key)) == documented, key
            checked += 1
    assert checked > 0


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("Where `tabm` differs", "tabm"), ("Those of `grad", "gradient_boosting")],
)
def test_every_kind_has_the_defaults_of_the_documentation(heading, kind):
    hyperparams = parse_pipeline(f"model: {{kind: {kind}}}\n{SMALLEST}").training.hyperparams
    for key, documented in table("pipeline.md", heading).items():
        if documented != "as above":
            assert shown(getattr(hyperparams, key)) == documented, key


def test_the_tuning_table_of_rollouts_has_the_same_defaults():
    analysis = parse_pipeline(SMALLEST).deployment.analysis
    for key, documented in table("rollouts.md", "## Tuning").items():
        if not key.startswith("warmup"):
            assert shown(getattr(analysis, key)).strip("[]") == documented, key
    assert table("rollouts.md", "## Tuning")["warmup_s"] == f"{analysis.warmup_s:g}, {analysis.warmup_requests}"


def test_a_file_of_required_keys_alone_is_the_documented_pipeline():
    pipeline = parse_pipeline(SMALLEST)
    assert (pipeline.model_name, pipeline.model.major, pipeline.label) == ("churn-predictor", 1, "churn")
    assert pipeline.trigger is None
    assert pipeline.features.entity == "customer_id"
    assert pipeline.features.event_time == "event_time"
    prepared = pipeline.data_prep
    assert (str(prepared.resources.num_cpus), prepared.resources.num_gpus) == ("1.0", 0)
    assert (prepared.runtime.python, prepared.runtime.device.value) == ("", "cpu")
    documented = table("pipeline.md", "## `stages.deployment`")["strategy"]
    assert [f"{step // 100}%" for step in pipeline.deployment.steps_bp] == re.findall(r"\d+%", documented)
    assert pipeline.deployment.steps_bp == Deployment("other").steps_bp
    assert pipeline.deployment.steps_bp[-1] == FULL_BP
    drift = table("pipeline.md", "## `stages.validation`")["drift_threshold"]
    assert pipeline.validation.gates == (GUESSING_GATE, Gate("drift_score", Comparison.LESS, float(drift)))


def test_what_training_has_serving_has_by_default():
    on_gpu = parse_pipeline(SMALLEST.replace("  deployment:", GPU + "  deployment:")).serving
    assert (on_gpu.num_gpus, on_gpu.canary_num_gpus) == (1, 0.5)
    assert (on_gpu.accelerator_type, on_gpu.vram_gb) == ("T4", 16)
    on_cpu = parse_pipeline(SMALLEST).serving
    assert (on_cpu.num_gpus, on_cpu.canary_num_gpus, on_cpu.accelerator_type, on_cpu.vram_gb) == (0, 0, None, None)


def test_a_gate_is_written_as_it_was_read():
    assert str(Gate("auc", Comparison.GREATER_EQUAL, 0.85)) == "auc >= 0.85"
