import msgspec
import pytest

from benchmarks.harness.machine import Machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.harness.results import encode_result
from benchmarks.lab.capacity import Calls, NodeShape, limits
from benchmarks.lab.hosts import HostsResult
from benchmarks.lab.scaling import ScaleRow
from benchmarks.peers.binary import BinaryRow, best_ratio
from benchmarks.peers.comparison import Comparison, Ratio, Row
from benchmarks.reports.doc_tables import comparison_section, hosts_section
from benchmarks.reports.report_docs import PAGES, RESULTS, SECTIONS, fill_page, main, pages, read_sections
from benchmarks.reports.stress_tables import steady_section
from benchmarks.stress.recovery import Spell
from benchmarks.stress.steady import SteadyResult, tail_ratio
from divisions.errors import InputError

MACHINE = Machine("a cpu", 2, "Linux 6", "3.11.7", {"ray": "2.60.0"}, 0.1)
COMPARISON = Comparison(
    machine=MACHINE,
    driver="wrk",
    seconds=10,
    warm_up_s=2,
    rounds=3,
    seed=0,
    body_bytes=700,
    rows=[Row("slow", 16, 100, 9, 12, 3), Row("quick", 16, 900, 1, 2, 0), Row("divisions", 16, 400, 2, 3, 0)],
    ratios=[Ratio("slow", 16, 4.0, 0.2, 0.3), Ratio("quick", 16, 0.44, 2.0, 1.5)],
    runs=[],
    failures={"broken": "it ended"},
    absent={"gone": "no network"},
    notes={"slow": "as shipped"},
)


@pytest.mark.parametrize("name", pages())
def test_a_page_shows_what_its_results_say(name):
    page = (PAGES / name).read_text(encoding="utf-8")
    assert page == fill_page(page, read_sections(RESULTS, name)), "run `python -m benchmarks.report_docs`"


def test_without_a_result_the_section_says_how_to_make_it(tmp_path):
    texts = {name: text for page in pages() for name, text in read_sections(tmp_path, page).items()}
    assert set(texts) == set(SECTIONS)
    for name, text in texts.items():
        assert text.startswith("Not measured yet:")
        assert SECTIONS[name].command in text
        assert "python -m " in text
        assert f"docs/benchmarks/{name}.json" in text


def test_over_hosts_the_first_limit_stands_on_top():
    calls = Calls(report_s=465e-6, heartbeat_s=395e-6, poll_s=545e-6, replica_bytes=300.0, copy_byte_s=1e-10)
    rows = [ScaleRow("64 connections", "tls", 14_000, 2.0, 4.0, 0, 31.5, 20.25)]
    found = {"a node": limits(NodeShape(1, 2), calls, 60.0)}
    text = hosts_section(HostsResult(MACHINE, 0, 3.0, 3, 64, True, rows, 700.0, 60.0, calls, found))
    assert "| 64 connections: tls | 14,000 | 2.00 | 4.00 | 0 | 31.5 | 20.2 |" in text
    assert "465 us for a report" in text
    assert "network namespaces" in text
    (first,) = [line for line in text.splitlines() if line.startswith("| controller: reports")]
    assert f"| {found['a node'][0].max_nodes:,} |" in first


def test_a_section_is_replaced_and_the_rest_stays():
    page = "before\n<!-- result: a -->\nold\n<!-- end -->\nafter\n"
    filled = fill_page(page, {"a": "new"})
    assert filled == "before\n<!-- result: a -->\n\nnew\n\n<!-- end -->\nafter\n"
    assert fill_page(filled, {"a": "new"}) == filled


@pytest.mark.parametrize("page", ["", "<!-- result: b -->\n<!-- end -->", "<!-- result: a -->\n<!-- end -->" * 2])
def test_a_page_with_other_sections_is_refused(page):
    with pytest.raises(InputError, match="results are of a"):
        fill_page(page, {"a": "new"})


def test_a_file_that_is_no_result_is_named(tmp_path):
    (tmp_path / "micro.json").write_text('{"type":"scale"}')
    with pytest.raises(InputError, match=r"micro\.json.*benchmarks\.micro"):
        read_sections(tmp_path, "benchmarks.md")


def test_ours_comes_first_and_losses_stand_like_wins():
    text = comparison_section(COMPARISON)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["divisions", "quick", "slow"]
    assert "| 0.44 x |" in text
    assert "| 4.00 x |" in text
    assert "- absent, **gone**: no network" in text
    assert "- not measured, **broken**: it ended" in text


def test_a_result_survives_its_file(tmp_path):
    (tmp_path / "compare.json").write_text(encode_result(COMPARISON))
    assert read_sections(tmp_path, "benchmarks.md")["compare"] == comparison_section(COMPARISON)
    assert msgspec.json.decode(encode_result(COMPARISON).encode(), type=Comparison) == COMPARISON


def test_the_command_rewrites_the_pages(tmp_path):
    for page in pages():
        marked = [name for name, section in SECTIONS.items() if section.page == page]
        (tmp_path / page).write_text("".join(f"<!-- result: {name} -->\n<!-- end -->\n" for name in marked))
    assert main(["--pages", str(tmp_path), "--results", str(tmp_path)]) == 0
    assert sum((tmp_path / page).read_text().count("Not measured yet") for page in pages()) == len(SECTIONS)


def test_cells_cannot_break_a_table():
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x/y |"


def test_the_ratio_to_the_loop_takes_the_best_of_both():
    def row(connections, rate):
        return BinaryRow("x", connections, rate, 0, 0, 0)

    assert best_ratio([row(0, 50), row(0, 100), row(1, 60), row(4, 90)]) == 0.9
    assert best_ratio([row(1, 60)]) == 0.0


def test_a_steady_load_is_told_with_the_ratio_of_its_tail_and_all_that_was_not_answered():
    spell = Spell(20, 700, 695, refused=1, failed=2, timed_out=4, p50_ms=2.0, p99_ms=9.0, refused_p99_ms=1.0)
    assert tail_ratio(spell) == 4.5
    text = steady_section(SteadyResult(MACHINE, 0, 20, 64, [128, 64], [1000.0], [spell]))
    assert "A model of 128-64 units" in text
    assert text.endswith("| 700 of 1,000 | 2.00 | 9.00 | 4.5 x | 7 |")
