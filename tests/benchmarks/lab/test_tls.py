"""What the runs of the TLS benchmark are summed up to."""

from __future__ import annotations

import os
import stat

import pytest

from benchmarks.lab.certificates import write_port_pair
from benchmarks.lab.tls import TlsRuns
from divisions.certificates.port_pair import usable_pair
from divisions.clock import SystemClock


def test_the_cost_is_the_median_of_the_rounds_ratios():
    runs = TlsRuns([100.0, 200.0, 400.0], [90.0, 100.0, 300.0], [10.0, 10.0, 20.0], [11.0, 30.0, 30.0])
    assert runs.throughput_cost == pytest.approx(0.25)  # 0.9, 0.5, 0.75
    assert runs.cpu_ratio == pytest.approx(1.5)  # 1.1, 3.0, 1.5


def test_the_labs_certificate_is_one_that_a_gateway_takes(tmp_path):
    certificate, key = write_port_pair(tmp_path)
    assert usable_pair(certificate, key, SystemClock().wall_s()).names == ("127.0.0.1",)
    assert stat.S_IMODE(os.stat(key).st_mode) & 0o077 == 0
