import pytest

from benchmarks.engines.crossover import Measurement, choose, crossover_rows


def at(device, rows, p50_ms, engine=None, p99_ms=None):
    name = engine or {"cpu": "onnxruntime-cpu", "gpu": "tensorrt"}[device]
    return Measurement(name, device, "fp32", rows, p50_ms, p99_ms or p50_ms, rows / p50_ms * 1e3, 100)


CPU = [at("cpu", 1, 0.01), at("cpu", 8, 0.08), at("cpu", 64, 0.6), at("cpu", 512, 4.0)]
GPU = [at("gpu", 1, 0.1), at("gpu", 8, 0.1), at("gpu", 64, 0.12), at("gpu", 512, 0.4)]


def test_the_crossover_is_where_the_gpu_is_ahead_for_good():
    assert crossover_rows(CPU + GPU) == 64
    assert crossover_rows(CPU) is None
    assert crossover_rows([at("cpu", 1, 1.0), at("gpu", 1, 1.0)]) is None
    # Ahead once, behind again: that was noise.
    assert crossover_rows([*CPU, at("gpu", 1, 0.005), at("gpu", 8, 0.09), at("gpu", 64, 0.1)]) == 64


def test_a_cpu_too_slow_to_be_measured_has_lost():
    skipped = Measurement("onnxruntime-cpu", "cpu", "fp32", 512, skipped="one run would take more than 2 s")
    assert crossover_rows([*CPU[:3], skipped, *GPU]) == 64


def test_of_two_engines_of_a_device_the_quicker_counts():
    slow = [at("gpu", one.rows, 50.0, "slow") for one in GPU]
    assert crossover_rows(CPU + slow + GPU) == 64


def test_the_choice_is_the_most_rows_a_second_within_half_of_the_deadline():
    choice = choose(CPU + GPU, 10.0)
    assert (choice.engine, choice.max_batch, choice.crossover_rows) == ("tensorrt", 512, 64)
    assert choice.buckets == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    assert choose(CPU, 8.0).max_batch == 512
    assert choose(CPU, 7.9).max_batch == 64


def test_tails_count_not_medians():
    assert choose([at("cpu", 1, 0.1), at("cpu", 8, 0.2, p99_ms=9.0)], 10.0).max_batch == 1


def test_a_deadline_that_nothing_meets_has_no_batch():
    choice = choose(CPU, 0.001)
    assert (choice.max_batch, choice.buckets, choice.rows_per_s, choice.engine) == (0, (), 0.0, "onnxruntime-cpu")


def test_what_no_replica_runs_is_measured_but_not_chosen():
    half = Measurement("onnxruntime-cpu", "cpu", "fp16", 512, 0.1, 0.1, 5e6, 100)
    choice = choose([*CPU, half, at("cpu", 512, 0.1, "torch-cpu")], 8.0)
    assert (choice.engine, choice.precision, choice.rows_per_s) == ("onnxruntime-cpu", "fp32", 128_000.0)


def test_nothing_measured_is_an_error():
    with pytest.raises(ValueError, match="nothing was measured"):
        choose([Measurement("e", "gpu", "fp32", 0, skipped="broken")], 10.0)
