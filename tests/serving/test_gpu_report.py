"""The report of a run on a GPU, without one: complete also where engines are missing and tests fail."""

from serving.engines.cuda_driver import GpuRates
from tests.gpu.report import GpuReport
from tests.serving.fake_cuda import T4

RATES = GpuRates(5_001e6, 256, 1_590e6, 40)


def test_it_has_figures_outcomes_and_what_is_missing():
    report = GpuReport()
    report.note("CUDA graphs", "torch fp32: with 20 us, without 90 us")
    report.add_outcome("tests/gpu/t.py::test_a", "setup", "passed", None)
    report.add_outcome("tests/gpu/t.py::test_a", "call", "passed", None)
    report.add_outcome("tests/gpu/t.py::test_b[tensorrt]", "setup", "passed", None)
    report.add_outcome("tests/gpu/t.py::test_b[tensorrt]", "call", "skipped", ("t.py", 3, "Skipped: not installed"))
    report.add_outcome(
        "tests/gpu/t.py::test_c",
        "call",
        "failed",
        "long\n>   trace\nE       assert 1 < 0\nE       where\nt.py:3: AssertionError",
    )
    report.add_outcome("tests/gpu/t.py::test_c", "teardown", "passed", None)
    text = report.markdown(T4, RATES, {"torch": "2.13.0"}, {"tensorrt": "tensorrt is not installed"})
    assert text.startswith("# Tesla T4, 20")
    assert "At best 320 GB/s, 8 TFLOP/s in fp32, 65 TFLOP/s in fp16 (the driver's clocks)." in text
    assert "- torch 2.13.0" in text
    assert "## CUDA graphs\n\n- torch fp32: with 20 us, without 90 us" in text
    assert "## Engines that are not here\n\n- tensorrt: tensorrt is not installed" in text
    assert "1 passed, 1 failed, 1 skipped." in text
    assert "## Failed\n\n- test_c: assert 1 < 0\n" in text
    assert "## Skipped\n\n- test_b[tensorrt]: not installed" in text


def test_an_empty_report_says_so():
    text = GpuReport().markdown(T4, GpuRates(1e9, 8, 1e9, 1), {}, {})
    assert "0 passed, 0 failed, 0 skipped." in text
    assert "not here" not in text
