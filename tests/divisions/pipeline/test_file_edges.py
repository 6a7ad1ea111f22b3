"""Pipeline files exactly at their limits of size, depth, length and number, and just beyond."""

from __future__ import annotations

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.file import load_pipeline, parse_pipeline
from divisions.pipeline.variables import check_variables
from divisions.pipeline.yaml_nodes import MAX_BYTES, MAX_DEPTH, read_nodes

FILE = """\
pipeline: plain
stages:
  data_prep:
    input: data
  deployment:
    endpoint: /api/v2/predict/churn
"""


def problems(text: str) -> list[str]:
    try:
        parse_pipeline(text)
    except PipelineError as error:
        return [str(each) for each in (error, *error.others)]
    return []


def filled(num_bytes: int) -> bytes:
    """A pipeline file of so many bytes."""
    return FILE.encode() + b"#" * (num_bytes - len(FILE) - 1) + b"\n"


def test_a_file_may_have_256_kib(tmp_path):
    assert MAX_BYTES == 256 * 1024, "as docs/pipeline.md says"
    path = tmp_path / "f.yaml"
    path.write_bytes(filled(MAX_BYTES))
    assert load_pipeline(path).name == "plain"
    assert parse_pipeline(filled(MAX_BYTES).decode()).name == "plain"
    path.write_bytes(filled(MAX_BYTES + 1))
    with pytest.raises(PipelineError, match="more than 262144 bytes"):
        load_pipeline(path)
    with pytest.raises(PipelineError, match="has 262145 bytes, more than 262144"):
        parse_pipeline(filled(MAX_BYTES + 1).decode())


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ("{a: ", "}")])
def test_sixteen_levels_may_be_nested(begin, end):
    assert MAX_DEPTH == 16, "as docs/pipeline.md says"
    depth = MAX_DEPTH - 1  # the innermost text is a level, too
    assert read_nodes(begin * depth + "x" + end * depth)
    with pytest.raises(PipelineError, match="deeper than 16 levels"):
        read_nodes(begin * (depth + 1) + "x" + end * (depth + 1))


def test_a_key_counts_as_a_level_as_its_value_does():
    depth = MAX_DEPTH - 1
    with pytest.raises(PipelineError, match="deeper than 16"):
        read_nodes("[" * depth + "{a: b}" + "]" * depth)


def test_a_second_key_names_the_line_of_the_first():
    with pytest.raises(PipelineError, match="stands twice") as caught:
        read_nodes("a: 1\nb: 2\na: 3\n")
    assert (caught.value.line, caught.value.column) == (3, 1)
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "begin", "most"),
    [
        ("input: data", "input: ", 1_024),
        ("pipeline: plain", "pipeline: ", 64),
        ("endpoint: /api/v2/predict/churn", "endpoint: /api/v2/predict/", 64 - len("-predictor")),
    ],
)
def test_texts_may_be_as_long_as_their_limit(old, begin, most):
    assert problems(FILE.replace(old, begin + "x" * most)) == []
    (problem,) = problems(FILE.replace(old, begin + "x" * (most + 1)))
    assert "64" in problem or "1024" in problem or "too long" in problem


@pytest.mark.parametrize(("count", "is_good"), [(1, True), (1_000, True), (1_001, False)])
def test_a_list_has_up_to_a_thousand_items(count, is_good):
    listed = ", ".join(f"c{number}" for number in range(count))
    found = problems(f"{FILE}features: {{exclude: [{listed}]}}\n")
    assert found == [] if is_good else "must have 1 to 1000 items, got 1001" in found[0]


@pytest.mark.parametrize(("key", "begin", "most"), [("delimiter", "", 1), ("event_time_format", "%Y", 128)])
def test_texts_of_a_format_have_a_longest_length(key, begin, most):
    for length, is_good in ((most, True), (most + 1, False)):
        value = begin + "/" * (length - len(begin))
        text = FILE.replace("    input: data", f"    input: data\n    format: {{{key}: '{value}'}}")
        assert (problems(text) == []) is is_good, length


def test_there_are_up_to_twenty_sample_sizes():
    steps = " -> ".join([*(f"{number}%" for number in range(1, 20)), "100%"])
    begin = f"{FILE}    strategy: 'canary: {steps}'\n    analysis: {{min_samples: ["
    assert problems(begin + ", ".join(["5"] * 20) + "]}\n") == []
    assert "1 to 20 items, got 21" in problems(begin + ", ".join(["5"] * 21) + "]}\n")[0]


def test_a_whole_number_has_up_to_18_digits_and_a_sign():
    for value in ("+2", "0002", "000000000000000002"):
        assert problems(f"{FILE}serving: {{replicas: {value}}}\n") == []
    for value in ("0000000000000000002", "2.0", "0x2", "2_0"):
        assert "whole number" in problems(f"{FILE}serving: {{replicas: {value}}}\n")[0]


@pytest.mark.parametrize("value", ["0.5", "1", "2", "64"])
def test_gpus_are_a_share_of_one_or_whole(value):
    assert problems(f"{FILE}serving: {{num_gpus: {value}}}\n") == []


@pytest.mark.parametrize("value", ["1.5", "63.5"])
def test_other_shares_of_gpus_are_refused(value):
    assert "cannot have" in problems(f"{FILE}serving: {{num_gpus: {value}}}\n")[0]


@pytest.mark.parametrize(("num_gpus", "of_a_canary"), [("0.5", 0.25), ("1", 0.5), ("2", 2), ("0", 0)])
def test_a_canary_has_half_of_a_shared_gpu_and_as_many_whole_ones(num_gpus, of_a_canary):
    assert parse_pipeline(f"{FILE}serving: {{num_gpus: {num_gpus}}}\n").serving.canary_num_gpus == of_a_canary


def test_the_memory_of_trainings_gpu_is_that_of_servings_if_the_type_is_the_same():
    trained = FILE.replace("  deployment:", "  training: {resources: 'T4-GPU, 16GB VRAM'}\n  deployment:")
    assert parse_pipeline(f"{trained}serving: {{accelerator_type: T4}}\n").serving.vram_gb == 16
    assert parse_pipeline(f"{trained}serving: {{accelerator_type: A100}}\n").serving.vram_gb is None
    assert parse_pipeline(f"{trained}serving: {{num_gpus: 0}}\n").serving.accelerator_type is None
    assert parse_pipeline(f"{trained}serving: {{num_gpus: 0}}\n").serving.vram_gb is None


@pytest.mark.parametrize("shortest", ["60", "60s", "1m"])
def test_a_step_may_last_exactly_its_shortest_time(shortest):
    analysis = f"    analysis: {{min_dwell_s: {shortest}, max_dwell_s: 60}}\n"
    assert problems(FILE + analysis) == []
    assert "is below min_dwell_s" in problems(FILE + analysis.replace("max_dwell_s: 60", "max_dwell_s: 59.9"))[0]


@pytest.mark.parametrize(("value", "holdback_bp"), [("300", 300), ("3%", 300), ("50%", 5_000), ("0", 0)])
def test_a_holdback_is_basis_points_or_a_percentage(value, holdback_bp):
    pipeline = parse_pipeline(FILE + f"    analysis: {{holdback_bp: {value}}}\n")
    assert pipeline.deployment.analysis.holdback_bp == holdback_bp


def test_errors_quote_up_to_60_characters_of_a_value_and_64_of_a_name():
    long = "x" * 61
    (problem,) = problems(f"{FILE}{long}: 1\n")
    assert f"'{'x' * 60}…'" in problem
    (problem,) = problems(f"{FILE}{'x' * 60}: 1\n")
    assert f"'{'x' * 60}'" in problem
    (problem,) = problems(f"{FILE}serving: {{replicas: {long}}}\n")
    assert f"'{'x' * 60}…'" in problem
    (problem,) = problems(f"{FILE}serving: {{replicas: {'1' * 61}}}\n")
    assert "1" * 60 in problem
    assert "1" * 61 not in problem
    with pytest.raises(PipelineError, match=r"unknown variable '\$\{x{64}\}'"):
        check_variables("${" + "x" * 65 + "}")


@pytest.mark.parametrize("value", ["~", "null", "Null", "NULL", ""])
def test_nothing_is_no_value(value):
    (problem,) = problems(f"{FILE}serving:\n  replicas: {value}\n")
    assert "got nothing" in problem
    assert "remove the key for its default" in problem


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("yes", "the boolean yes"),
        ("1.10", "the number 1.10"),
        ("null", "nothing"),
        ("[a]", "a list"),
        ("{a: 1}", "a section"),
    ],
)
def test_what_is_no_text_needs_quotes(value, said):
    (problem,) = problems(f"{FILE}features: {{entity: {value}}}\n")
    assert f"must be text, got {said}" in problem.replace("  ", " ")


@pytest.mark.parametrize("value", ["'yes'", "'1.10'", "'null'", "plain"])
def test_quotes_make_a_text(value):
    assert parse_pipeline(f"{FILE}features: {{entity: {value}}}\n").features.entity == value.strip("'")
