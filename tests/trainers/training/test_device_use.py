"""What ``nvidia-smi`` tells of a GPU, and what a run keeps of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.device_use import DeviceUse, GpuSample, parse_sample

PERCENT = st.none() | st.floats(0.0, 100.0)
GB = st.none() | st.floats(0.0, 200.0)


@given(st.lists(st.tuples(PERCENT, GB), max_size=20))
def test_a_use_is_the_mean_of_the_percentages_and_the_highest_memory_of_those_that_were_told(samples):
    use = DeviceUse(precision="float32")
    for percent, memory_gb in samples:
        use = use.with_sample(GpuSample("T4", percent, memory_gb, 16.0))
    percents = [percent for percent, _ in samples if percent is not None]
    memories = [memory_gb for _, memory_gb in samples if memory_gb is not None]
    assert use.utilization_percent == (pytest.approx(sum(percents) / len(percents)) if percents else None)
    assert use.memory_gb == max(memories, default=None)
    assert use.tags == {"training_device": "T4" if samples else "CPU", "training_precision": "float32"}
    assert ("gpu_utilization_percent" in use.metrics) is bool(percents)
    assert ("gpu_memory_gb" in use.metrics) is bool(memories)


def test_a_training_on_the_cpu_has_no_numbers_of_a_gpu():
    assert DeviceUse().metrics == {}
    assert DeviceUse().tags == {"training_device": "CPU"}


def test_a_name_may_have_a_comma_and_a_number_may_be_missing():
    sample = parse_sample("Card, 16 GB, [N/A], 1024, [Not Supported]\n")
    assert sample == GpuSample("Card, 16 GB", None, 1.0, None)


@pytest.mark.parametrize("line", ["", "\n", "No devices were found", ", 1, 2, 3", "Failed to initialize NVML: a, b"])
def test_other_texts_are_no_sample(line):
    assert parse_sample(line) is None


@given(st.text(max_size=80))
def test_no_text_is_an_error(line):
    parse_sample(line)
