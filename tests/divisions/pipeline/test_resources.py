import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import PipelineError
from divisions.pipeline import resources
from divisions.pipeline.definition import Device, Resources, Runtime
from divisions.pipeline.trigger import parse_trigger, parse_zone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2vCPU, 8GB RAM", Resources(num_cpus=2, memory_gb=8)),
        ("T4-GPU, 16GB VRAM", Resources(num_gpus=1, accelerator_type="T4", vram_gb=16)),
        ("0.5 vcpus,512MB RAM", Resources(num_cpus=0.5, memory_gb=0.5)),
        ("2x A100-GPU, 8vCPU", Resources(num_cpus=8, num_gpus=2, accelerator_type="A100")),
        ("t4-gpu", Resources(num_gpus=1, accelerator_type="T4")),
        ("RTX-PRO-6000-GPU", Resources(num_gpus=1, accelerator_type="RTX-PRO-6000")),
    ],
)
def test_resources(text, expected):
    assert resources.parse_resources(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "2vCPU,", "8GB", "2vCPU 8GB RAM", "2vCPU, 4vCPU", "0vCPU", "16GB VRAM", "-1vCPU", "0x T4-GPU"),
        *("GPU", "1vCPU" + " " * 200 + ", nonsense"),
    ],
)
def test_what_is_no_resource_is_refused(text):
    with pytest.raises(PipelineError):
        resources.parse_resources(text)


def test_runtimes():
    assert resources.parse_runtime("python:3.11-gpu") == Runtime("3.11", Device.GPU)
    assert resources.parse_runtime("python:3.12-cpu") == Runtime("3.12", Device.CPU)


@pytest.mark.parametrize("text", ["", "python", "python:3.11", "python:2.7-cpu", "ruby:3.11-cpu", "python:3.11-tpu"])
def test_what_is_no_runtime_is_refused(text):
    with pytest.raises(PipelineError, match="is not a runtime"):
        resources.parse_runtime(text)


@pytest.mark.parametrize(
    ("text", "steps_bp"),
    [
        ("canary: 20% → 50% → 100%", (2_000, 5_000, 10_000)),
        ("canary: 20% -> 50% -> 100%", (2_000, 5_000, 10_000)),
        ("canary:0.01%→2.5%->100%", (1, 250, 10_000)),
        ("canary: 100%", (10_000,)),
    ],
)
def test_strategies(text, steps_bp):
    assert resources.parse_strategy(text) == steps_bp


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20% → 100%", "not a strategy"),
        ("bluegreen: 100%", "not a strategy"),
        ("canary: 20% → 50%", "not 100%"),
        ("canary: 50% → 20% → 100%", "do not rise"),
        ("canary: 50% → 50% → 100%", "do not rise"),
        ("canary: 0% → 100%", "above 0%"),
        ("canary: 20% → 101%", "above 0% and up to 100%"),
        ("canary: 20 → 100", "not a percentage"),
        ("canary: 20% → → 100%", "not a percentage"),
        ("canary: 0.001% → 100%", "finer"),
        ("canary: " + " → ".join(f"{n}%" for n in range(1, 40)), "more than"),
    ],
)
def test_what_is_no_strategy_is_refused(text, message):
    with pytest.raises(PipelineError, match=message):
        resources.parse_strategy(text)


@given(st.sets(st.integers(1, 9_999), max_size=19))
def test_every_rising_list_of_weights_is_read_exactly(weights_bp):
    steps_bp = (*sorted(weights_bp), 10_000)
    text = " → ".join(f"{weight_bp / 100:.2f}%" for weight_bp in steps_bp)
    assert resources.parse_strategy(f"canary: {text}") == steps_bp


def test_endpoints():
    assert resources.parse_endpoint("/api/v2/predict/churn") == "churn"


@pytest.mark.parametrize(
    "name", ["", "Churn", "a/b", "..", "a..b", ".a", "-a", "a b", "a\n", "ä", "a" * 65, "churn/", "%2e", "${today}"]
)
def test_names_that_could_escape_a_path_or_url_are_refused(name):
    with pytest.raises(PipelineError):
        resources.parse_endpoint(f"/api/v2/predict/{name}")


@pytest.mark.parametrize("path", ["churn", "/api/v1/predict/churn", "http://x/api/v2/predict/churn"])
def test_an_endpoint_is_a_path_of_the_api(path):
    with pytest.raises(PipelineError, match="is not an endpoint"):
        resources.parse_endpoint(path)


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("60s", 60), ("10m", 600), ("1.5h", 5_400)])
def test_durations(text, seconds):
    assert resources.parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "60", "s", "-1s", "1w", "1 0s", "1e3s", "infs"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(PipelineError, match="is not a duration"):
        resources.parse_duration_s(text)


@given(st.text())
def test_any_text_is_read_or_a_pipeline_error(text):
    for prefix in ("", "canary: ", "schedule: ", "/api/v2/predict/", "python:"):
        for parse in (
            parse_trigger,
            parse_zone,
            resources.parse_runtime,
            resources.parse_resources,
            resources.parse_strategy,
            resources.parse_endpoint,
            resources.parse_duration_s,
            resources.parse_percent_bp,
        ):
            try:
                parse(prefix + text)
            except PipelineError:
                continue
