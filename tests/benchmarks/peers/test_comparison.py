import json

import pytest

from benchmarks.load.wrk import parse_wrk, write_script
from benchmarks.peers.compare import choose_peers, main
from benchmarks.peers.comparison import Run, compare_rows, summarise_runs
from divisions.errors import UsageError


def run(system, rps, p50_ms=1.0, connections=16, errors=0, number=1):
    return Run(number, system, connections, rps, p50_ms, p50_ms * 3, errors)


def test_rows_are_medians_and_errors_are_sums():
    rows = summarise_runs([run("ours", 100, 5.0, errors=1), run("ours", 900, 1.0), run("ours", 300, 2.0, errors=2)])
    assert [(row.rps, row.p50_ms, row.p99_ms, row.errors) for row in rows] == [(300, 2.0, 6.0, 3)]


def test_ratios_compare_equal_numbers_of_connections_only():
    rows = summarise_runs([run("ours", 1_000, 1.0), run("peer", 100, 8.0), run("peer", 50, 8.0, connections=64)])
    (ratio,) = compare_rows(rows, "ours")
    assert (ratio.system, ratio.connections, ratio.rps, ratio.p50) == ("peer", 16, 10.0, 0.125)


def test_losses_are_reported_like_wins():
    (ratio,) = compare_rows(summarise_runs([run("ours", 100), run("peer", 400)]), "ours")
    assert ratio.rps == 0.25


def test_a_peer_that_gave_no_good_answer_has_no_ratio():
    assert compare_rows(summarise_runs([run("ours", 100), run("peer", 0, errors=7)]), "ours") == []


def test_the_line_of_the_script_is_found_in_what_wrk_prints():
    counts = {"requests": 1010, "duration_us": 2_000_000, "p50_us": 900, "p99_us": 4000}
    errors = {"connect": 0, "read": 1, "write": 0, "status": 10, "timeout": 2}
    found = parse_wrk(f"Running 2s test @ http://x\nRequests/sec: 505\nresult {json.dumps(counts | errors)}\n")
    assert found.rps == 500.0  # answers other than 2xx are not good answers
    assert found.errors == 13


def test_wrk_without_a_result_is_an_error():
    with pytest.raises(RuntimeError, match="no result"):
        parse_wrk("unable to connect")


def test_the_script_posts_the_body_it_was_given(tmp_path):
    write_script(tmp_path / "request.lua", b'{"a":1}')
    assert (tmp_path / "request.body").read_bytes() == b'{"a":1}'
    assert str(tmp_path / "request.body") in (tmp_path / "request.lua").read_text()


def test_a_script_takes_turns_with_several_bodies_and_sends_further_headers(tmp_path):
    write_script(tmp_path / "request.lua", [b'{"a":1}', b'{"a":2}'], {"inference-header-content-length": "7"})
    assert (tmp_path / "request.body").read_bytes() == b'{"a":1}\n{"a":2}\n'
    script = (tmp_path / "request.lua").read_text()
    assert 'wrk.headers["inference-header-content-length"] = "7"' in script
    assert "function request()" in script


def test_an_unknown_peer_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"'rayserve'.*ray-serve"):
        choose_peers("ray-serve,rayserve")


@pytest.mark.parametrize(
    "arguments", [["--connections", "1,x"], ["--connections", "0"], ["--divisions-url", "http://127.0.0.1:1/"]]
)
def test_wrong_use_ends_with_status_2_before_anything_starts(arguments, tmp_path, capsys):
    assert main([*arguments, "--build", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_comparison_without_wrk_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--build", str(tmp_path)]) == 1
    assert "apt-get install wrk" in capsys.readouterr().err
