import pytest

from benchmarks.engines.roofline import Peak, gpu_peak, roofline_ms
from serving.engines.cuda_driver import GpuRates

PEAK = Peak("gpu", 1e9, {"fp32": 1e12}, "")


def test_a_few_rows_cost_their_weights_bytes_and_many_their_operations():
    assert roofline_ms(PEAK, "fp32", 1_000_000, 5e5, 1, 9) == pytest.approx((1_000_000 + 40) / 1e9 * 1e3)
    assert roofline_ms(PEAK, "fp32", 1_000_000, 5e5, 10_000, 9) == pytest.approx(10_000 * 5e5 / 1e12 * 1e3)


def test_a_precision_without_a_figure_is_bounded_by_its_bytes_alone():
    assert roofline_ms(PEAK, "fp16", 1_000_000, 5e5, 10_000, 9) == pytest.approx((1_000_000 + 400_000) / 1e9 * 1e3)


def test_a_t4s_and_an_h200s_clocks_give_what_their_makers_say():
    t4 = gpu_peak((7, 5), GpuRates(5_001e6, 256, 1_590e6, 40))
    assert t4.bytes_per_s == pytest.approx(320e9, rel=0.01)
    assert t4.flops_per_s == pytest.approx({"fp32": 8.1e12, "fp16": 65e12}, rel=0.02)
    h200 = gpu_peak((9, 0), GpuRates(3_201e6, 6_144, 1_830e6, 132))
    assert h200.bytes_per_s == pytest.approx(4.9e12, rel=0.01)
    assert h200.flops_per_s == pytest.approx({"fp32": 62e12, "fp16": 990e12}, rel=0.02)


def test_an_unknown_gpu_is_bounded_by_its_memory():
    assert gpu_peak((99, 0), GpuRates(1e9, 512, 1e9, 10)) == Peak("gpu", 128e9, {}, "the driver's clocks")
