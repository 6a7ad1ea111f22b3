"""The short texts of a pipeline file at the edges of their ranges, and what errors show of them."""

from __future__ import annotations

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.expressions import parse_gate, parse_gates
from divisions.pipeline.resources import (
    MAX_STEPS,
    parse_duration_s,
    parse_endpoint,
    parse_name,
    parse_percent_bp,
    parse_resources,
    parse_runtime,
    parse_strategy,
)
from divisions.pipeline.trigger import parse_trigger


def refusal(parse, text: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("parse", "begin", "fill", "most"),
    [
        (parse_name, "", "a", 64),
        (parse_endpoint, "/api/v2/predict/", "a", 64),
        (parse_trigger, "schedule: 0 2 * * *", " ", 200 - len(" 0 2 * * *")),
        (parse_resources, "1vCPU,8GB RAM", " ", 200 - len("1vCPU,8GB RAM")),
        (parse_gate, "auc > 0.5", " ", 1_000 - len("auc > 0.5")),
        (parse_gates, "auc > 0.5", " ", 1_000 - len("auc > 0.5")),
        (parse_resources, "", "a", 32),
    ],
)
def test_a_text_may_be_exactly_as_long_as_its_limit(parse, begin, fill, most):
    end = "-GPU" if fill == "a" and parse is parse_resources else ""
    parse(begin + fill * most + end)
    refusal(parse, begin + fill * (most + 1) + end)


@pytest.mark.parametrize(
    ("text", "num_cpus", "memory_gb", "num_gpus"),
    [
        ("1000000vCPU", 1_000_000, None, 0),
        ("0.001vCPU", 0.001, None, 0),
        ("1024MB RAM", 1, 1, 0),
        ("2.5GB RAM, 3vCPUs", 3, 2.5, 0),
        ("999x T4-GPU", 1, None, 999),
        ("1x T4-GPU", 1, None, 1),
    ],
)
def test_amounts_are_read_exactly(text, num_cpus, memory_gb, num_gpus):
    found = parse_resources(text)
    assert (found.num_cpus, found.memory_gb, found.num_gpus) == (num_cpus, memory_gb, num_gpus)


@pytest.mark.parametrize("text", ["0vCPU", "0GB RAM", "1000001vCPU", "0x T4-GPU", "1000x T4-GPU"])
def test_amounts_beyond_the_range_are_refused(text):
    refusal(parse_resources, text)


def test_a_gpus_type_is_written_in_capitals_unless_the_file_has_some():
    assert parse_resources("t4-GPU").accelerator_type == "T4"
    assert parse_resources("H100-sxm-GPU").accelerator_type == "H100-sxm"
    assert parse_resources("T4-GPU, 16GB VRAM").vram_gb == 16


@pytest.mark.parametrize("text", ["1vCPU, 2vCPU", "8GB RAM, 8GB RAM", "T4-GPU, T4-GPU", "T4-GPU, 1GB VRAM, 2GB VRAM"])
def test_every_part_stands_once(text):
    assert "stands twice" in str(refusal(parse_resources, text))


@pytest.mark.parametrize(
    ("text", "weight_bp"), [("0.01%", 1), ("100%", 10_000), ("100.00%", 10_000), ("99.99 %", 9_999), ("2.5%", 250)]
)
def test_percents_are_basis_points(text, weight_bp):
    assert parse_percent_bp(text) == weight_bp


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0%", "above 0%"), ("100.01%", "up to 100%"), ("0.001%", "finer"), ("0.015%", "finer"), ("1000%", "not a perc")],
)
def test_a_percent_out_of_range_says_why(text, reason):
    assert reason in str(refusal(parse_percent_bp, text))


def steps(count: int) -> str:
    return "canary: " + " -> ".join([*(f"{number}%" for number in range(1, count)), "100%"])


def test_a_strategy_has_one_to_twenty_rising_steps():
    assert parse_strategy("canary: 100%") == (10_000,)
    assert len(parse_strategy(steps(MAX_STEPS))) == MAX_STEPS == 20
    assert "21 canary steps are more than 20" in str(refusal(parse_strategy, steps(21)))
    for falling in ("canary: 50% -> 20% -> 100%", "canary: 20% -> 20% -> 100%"):
        assert "do not rise" in str(refusal(parse_strategy, falling))
    assert "the last canary step is 99.99%" in str(refusal(parse_strategy, "canary: 20% -> 99.99%"))
    for nameless in ("20% -> 100%", "linear: 20% -> 100%", "canary 20%"):
        assert "is not a strategy" in str(refusal(parse_strategy, nameless))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("1s", 1), ("1 s", 1), ("1.5m", 90), ("2h", 7_200), ("999999999s", 999_999_999)],
)
def test_units_of_time(text, seconds):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("fields", ["0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "0 2 32 * *", "0 2 * 13 *"])
def test_a_schedule_has_five_fields_in_their_ranges(fields):
    assert parse_trigger("schedule: 59 23 31 12 6").expression == "59 23 31 12 6"
    assert "cron" in str(refusal(parse_trigger, f"schedule: {fields}"))


@pytest.mark.parametrize("text", ["0 2 * * *", "cron: 0 2 * * *", "schedule 0 2 * * *"])
def test_a_trigger_is_a_schedule(text):
    assert "is not a trigger" in str(refusal(parse_trigger, text))


@pytest.mark.parametrize(
    "parse", [parse_name, parse_endpoint, parse_runtime, parse_resources, parse_duration_s, parse_percent_bp]
)
def test_errors_quote_sixty_characters_at_most(parse):
    whole, long = "X" * 60, "X" * 61
    assert f"'{whole}'" in str(refusal(parse, whole))
    message = str(refusal(parse, long))
    assert f"'{whole}…'" in message
    assert long not in message


def test_an_unknown_metric_is_shown_up_to_64_characters():
    assert f"'{'x' * 64}'" in str(refusal(parse_gate, "x" * 65 + " > 0.5"))
