"""The load generator against a real server of its own (`tiny_server`), on loopback."""

import http.client
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.load.arrivals import Arrivals
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.load_test import main, plan_load, run_load
from benchmarks.load.report import UNANSWERED, percentile_ms
from benchmarks.load.samples import Samples

PATIENCE_S = 60.0
"""A deadline that a busy machine does not miss."""
BODIES = [b'{"customer_id":"c-1","features":{}}', b'{"customer_id":"c-2","features":{"a":null}}']


def closed_loop_p99_ms(url, duration_s):
    """What a naive benchmark would have measured: each request waits for the answer to the one before."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    values_s, ends_s = [], time.monotonic() + duration_s
    while (began_s := time.monotonic()) < ends_s:
        connection.request("POST", parts.path, body=BODIES[0])
        connection.getresponse().read()
        values_s.append(time.monotonic() - began_s)
        time.sleep(0.005)  # the caller's own pace: 200 requests a second
    connection.close()
    return percentile_ms(np.array(values_s), 99)


def test_a_server_frozen_for_one_second_of_ten_shows_at_p99(tiny_server):
    """Scaled by 2.5: 0.4 s of 4 s. A tenth of the requests fall into it, so p99 is >= 0.9 x the freeze, less noise."""
    freeze = {"freeze_at_s": 1.0, "freeze_s": 0.4}
    plan = plan_load(tiny_server(**freeze), BODIES, 200.0, 4.0, Arrivals.CONSTANT, seed=1, deadline_s=PATIENCE_S)
    result, _ = run_load(plan)
    assert (result.ok, result.requests) == (800, 800)
    assert result.latency.p99_ms >= 0.8 * 400
    # A machine that stalls shows here as well, so the best of some runs counts.
    assert any(closed_loop_p99_ms(tiny_server(**freeze), 4.0) < 0.5 * 400 for _ in range(5))


def test_every_request_has_exactly_one_outcome_and_none_is_retried(tiny_server):
    statuses = {"5": "503 Service Unavailable", "6": "500 Internal Server Error"}
    url = tiny_server(statuses=statuses, hang_up_at=[10, 11], silent_at=[20], second_version_after=150)
    plan = plan_load(url, BODIES, 400.0, 0.5, Arrivals.CONSTANT, deadline_s=3.0, max_connections=8)
    result, samples = run_load(plan)
    assert (result.refused, result.failed, result.timed_out) == (1, 3, 1)
    assert result.ok == 200 - 5
    assert result.requests == 200
    assert result.reasons == {
        "status 503": 1,
        "status 500": 1,
        "connection closed before the answer": 2,
        "no answer before the deadline": 1,
    }
    assert set(result.versions) == {"3.1", "3.2"}
    assert result.latency.max_ms >= 3_000
    assert sum(found.answers for found in result.versions.values()) == result.ok
    assert UNANSWERED in samples.versions


def test_waiting_for_a_connection_at_the_cap_counts_as_latency(tiny_server):
    plan = plan_load(
        tiny_server(freeze_at_s=0.0, freeze_s=0.3), BODIES, 100.0, 0.4, Arrivals.CONSTANT,
        deadline_s=PATIENCE_S, max_connections=1,
    )  # fmt: skip
    result, _ = run_load(plan)
    assert result.ok == 40
    assert result.connections == 1
    assert result.latency.p50_ms > 50  # half of them were queued behind the one that froze


def test_a_server_that_goes_away_fails_every_later_request_and_hangs_none(tiny_server):
    url = tiny_server(hang_up_at=list(range(5, 1000)))
    result, _ = run_load(plan_load(url, BODIES, 200.0, 0.5, Arrivals.CONSTANT, max_connections=4))
    assert (result.ok, result.failed) == (4, 96)


def test_the_command_streams_ticks_and_stops_when_its_input_ends(tiny_server, tmp_path):
    rows = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"customer_id": ["c-1", "c-2"], "minutes": [1.5, float("nan")], "churn": [True, False]}), rows
    )
    command = [sys.executable, "-m", "benchmarks.load", "--url", tiny_server(), "--rows", str(rows)]
    command += ["--rps", "200", "--duration", "600", "--stream", "--stop-on-eof", "--deadline-ms", "60000"]
    command += ["--samples", str(tmp_path / "samples.npz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first = json.loads(process.stdout.readline())
        process.stdin.close()
        lines = [json.loads(line) for line in process.stdout]
        assert process.wait(timeout=120) == 0
    assert first["type"] == "tick"
    assert first["ok"] == first["requests"] > 0
    result = lines[-1]
    assert result["type"] == "result"
    assert result["requests"] == result["ok"] == first["ok"] + sum(tick["ok"] for tick in lines[:-1])
    assert len(Samples.load(tmp_path / "samples.npz").latency_s) == result["requests"]


def test_an_unreachable_server_is_said_in_one_line(tmp_path, capsys):
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"customer_id": ["c-1"], "minutes": [1.5]}), rows)
    assert main(["--url", "http://127.0.0.1:1/predict", "--rows", str(rows), "--duration", "1"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_plots_are_written(tiny_server, tmp_path):
    from benchmarks.load.charts import Event, plot_latency_over_time, plot_percentiles, render_text_chart

    _, samples = run_load(plan_load(tiny_server(second_version_after=100), BODIES, 200.0, 1.2))
    events = [Event(samples.start_wall_s + 0.6, "canary 20 %"), Event(samples.start_wall_s + 1.0, "rolled back", True)]
    plot_latency_over_time(samples, events, tmp_path / "time.png")
    plot_percentiles(samples, tmp_path / "percentiles.png")
    for name in ("time.png", "percentiles.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    chart = render_text_chart(samples, width=40)
    assert [line.split("|")[0].strip() for line in chart.splitlines()[1:]] == ["v3.1", "v3.2"]
    assert all(len(line.split("|")[1]) == 40 for line in chart.splitlines()[1:])


def test_a_load_process_ends_with_its_result_and_says_why_it_could_not_begin(tiny_server, tmp_path):
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"customer_id": ["c-1"], "minutes": [1.5]}), rows)
    load = LoadProcess(tiny_server(), rows, 100.0, 60.0, tmp_path / "samples.npz", tmp_path / "load.log")
    load.wait_until_running()
    result = load.stop()
    assert result.requests == result.ok == sum(tick.ok for tick in load.ticks) > 0
    load.close()

    lost = LoadProcess("http://127.0.0.1:1/", rows, 100.0, 60.0, tmp_path / "samples.npz", tmp_path / "lost.log")
    with pytest.raises(RuntimeError, match="does not answer"):
        lost.wait_until_running()
    lost.close()
