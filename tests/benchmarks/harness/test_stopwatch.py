import os
import socket

from benchmarks.harness.process_stats import cpu_s, listeners, rss_bytes
from benchmarks.harness.stopwatch import calibrate, measure
from benchmarks.lab.bookkeeping import bodies_of, cost_of


class FakeClock:
    """Every operation takes 100 ns, the first one of each process 1 ms."""

    def __init__(self):
        self.ns = 0
        self.is_warm = False

    def __call__(self):
        return self.ns

    def operation(self):
        self.ns += 100 if self.is_warm else 1_000_000
        self.is_warm = True


def test_a_figure_is_per_unit():
    clock = FakeClock()
    figure = measure("name", clock.operation, "row", per=10, samples=5, sample_s=1e-5, now_ns=clock)
    assert (figure.median_ns, figure.min_ns, figure.spread, figure.samples, figure.per) == (10.0, 10.0, 0.0, 5, 10)


def test_loops_are_doubled_until_a_sample_is_long_enough():
    clock = FakeClock()
    clock.operation()
    assert calibrate(clock.operation, 1e-5, clock) == 128  # 64 of them are 6.4 us


def test_a_process_has_memory_and_a_gone_one_none():
    assert rss_bytes(os.getpid()) > 1_000_000
    assert cpu_s(os.getpid()) > 0
    assert (rss_bytes(2**22 + 1), cpu_s(2**22 + 1)) == (0, 0.0)


def test_the_listener_of_a_port_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listeners(server.getsockname()[1]) == [os.getpid()]
        port = server.getsockname()[1]
    assert listeners(port) == []


def test_the_cost_of_bookkeeping_is_the_median_of_the_rounds():
    assert cost_of([90, 50, 97], [100, 100, 100]) == 0.1
    assert cost_of([110], [100]) == -0.1


class Work:
    body = b'{"customer_id":"c-1","features":{"c-1":1}}'


def test_each_customer_has_its_own_body():
    first, second = bodies_of(Work, 2)
    assert first.startswith(b'{"customer_id":"c-0"')
    assert second.startswith(b'{"customer_id":"c-1"')
