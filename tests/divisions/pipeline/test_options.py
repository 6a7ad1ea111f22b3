"""The range of every number in a pipeline file: its ends are accepted, and what lies just beyond is refused."""

import dataclasses
import datetime as dt
from pathlib import Path

import duckdb
import pytest

from divisions.errors import PipelineError
from divisions.pipeline.definition import DataFormat, Label
from divisions.pipeline.feature_options import parse_constant
from divisions.pipeline.file import parse_pipeline
from divisions.pipeline.options import TIME_CODES
from divisions.scaling import Scaling

WEEK_S = 7 * 86_400
STEPS = 3
RANGES = [
    ("training.workers", 1, 256, 1),
    ("training.hyperparams.batch_size", 1, 1_000_000, 1),
    ("training.hyperparams.epochs", 1, 10_000, 1),
    ("training.hyperparams.embedding_dim", 1, 1_024, 1),
    ("training.hyperparams.patience", 0, 10_000, 1),
    ("training.hyperparams.seed", 0, 4_294_967_295, 1),
    ("training.hyperparams.weight_decay", 0, 10, 1e-6),
    ("deployment.analysis.tolerance_ms", 0, 60_000, 1e-6),
    ("deployment.analysis.min_dwell_s", 0, 600, None),  # at most max_dwell_s
    ("deployment.analysis.bake_s", 0, WEEK_S, 1e-6),
    ("deployment.analysis.warmup_s", 0, WEEK_S, 1e-6),
    ("deployment.analysis.shadow_s", 0, WEEK_S, 1e-6),
    ("deployment.analysis.warmup_requests", 0, 1_000_000, 1),
    ("deployment.analysis.holdback_bp", 0, 5_000, 1),
    ("deployment.analysis.min_samples", 1, 1_000_000_000, 1),
    ("model.major", 0, 9_999, 1),
    ("serving.replicas", 1, 1_000, 1),
    ("serving.num_cpus", 0, 1_000, 1e-6),
    ("serving.num_gpus", 0, 64, 1),
    ("serving.max_batch", 1, 65_536, 1),
    ("features.holdout_fraction", 0.01, 0.9, 1e-6),
]
OPEN = [
    ("training.hyperparams.learning_rate", 0, 10, True, False),
    ("training.hyperparams.dropout", 0, 1, False, True),
    ("validation.drift_threshold", 0, 100, True, False),
    ("deployment.analysis.tolerance", 0, 4, True, False),
    ("deployment.analysis.alpha", 0, 0.5, True, False),
    ("deployment.analysis.error_alpha", 0, 0.5, True, False),
    ("serving.vram_gb", 0, 1_000, True, False),
]


def with_value(key, value):
    """A pipeline file with one value more."""
    top = {"model", "serving", "features"}
    parts = key.split(".") if key.split(".")[0] in top else ["stages", *key.split(".")]
    tree = {
        "pipeline": "p",
        "stages": {"data_prep": {"input": "data"}, "deployment": {"endpoint": "/api/v2/predict/churn"}},
    }
    place = tree
    for part in parts[:-1]:
        place = place.setdefault(part, {})
    place[parts[-1]] = value
    return "\n".join(lines(tree, 0)) + "\n"


def lines(tree, depth):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{'  ' * depth}{name}:"
            yield from lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{name}: {value}"


def is_accepted(key, value):
    try:
        parse_pipeline(with_value(key, value), "f.yaml")
    except PipelineError:
        return False
    return True


@pytest.mark.parametrize(("key", "low", "high", "beyond"), RANGES)
def test_both_ends_belong_to_the_range(key, low, high, beyond):
    assert is_accepted(key, low)
    assert is_accepted(key, high)
    if beyond is not None:
        assert not is_accepted(key, f"{low - beyond:.6f}".rstrip("0").rstrip(".") if beyond < 1 else low - beyond)
        assert not is_accepted(key, f"{high + beyond:.6f}".rstrip("0").rstrip(".") if beyond < 1 else high + beyond)


@pytest.mark.parametrize(("key", "low", "high", "is_low_open", "is_high_open"), OPEN)
def test_an_open_end_does_not_belong_to_the_range(key, low, high, is_low_open, is_high_open):
    assert is_accepted(key, low) is not is_low_open
    assert is_accepted(key, high) is not is_high_open
    assert is_accepted(key, "0.000001" if low == 0 else low)
    assert not is_accepted(key, "-0.000001")
    assert not is_accepted(key, f"{high + 1e-6:.6f}")


def test_a_rollout_cannot_stay_longer_than_its_longest_dwell():
    assert is_accepted("deployment.analysis.max_dwell_s", 60)
    with pytest.raises(PipelineError, match=r"max_dwell_s \(59\) is below min_dwell_s \(60\)"):
        parse_pipeline(with_value("deployment.analysis.max_dwell_s", 59), "f.yaml")


def test_there_are_at_most_as_many_sample_sizes_as_steps():
    assert is_accepted("deployment.analysis.min_samples", "[1, 2, 3]")
    with pytest.raises(PipelineError, match="4 numbers for 3 canary steps"):
        parse_pipeline(with_value("deployment.analysis.min_samples", "[1, 2, 3, 4]"), "f.yaml")


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("deployment.analysis.guards", "[latency, errors, predictions]", "[latency, speed]"),
        ("deployment.analysis.on_inconclusive", "rollback", "wait"),
        ("validation.rollback_policy", "hold", "never"),
        ("serving.placement", "in_process", "elsewhere"),
        ("serving.engine", "torch", "jax"),
        ("serving.num_gpus", "0.5", "1.5"),
        ("serving.num_gpus", "2", "0.5.5"),
    ],
)
def test_a_word_must_be_one_of_those_that_are_known(key, good, bad):
    assert is_accepted(key, good)
    assert not is_accepted(key, bad)


@pytest.mark.parametrize(("name", "is_good"), [("a" * 128, True), ("a" * 129, False), ('"a\\tb"', False), ("é", True)])
def test_a_column_has_up_to_128_visible_characters(name, is_good):
    assert is_accepted("features.entity", name) is is_good


def test_a_column_has_one_meaning():
    assert not is_accepted("features.numeric", "[age, age]")
    with pytest.raises(PipelineError, match="column 'customer_id' is named twice"):
        parse_pipeline(with_value("features.exclude", "[customer_id]"), "f.yaml")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("churned", Label("churned")),
        ("{positive: Churned}", Label("", ("Churned",))),
        ("{column: Status, positive: [Churned, 2, yes]}", Label("Status", ("Churned", "2", "yes"))),
        ("{column: Status, positive: [' left '], negative: Stayed}", Label("Status", ("left",), ("Stayed",))),
    ],
)
def test_a_label_is_a_column_or_also_says_what_its_words_mean(value, expected):
    pipeline = parse_pipeline(with_value("features.label", value), "f.yaml")
    assert pipeline.features.label == expected
    assert pipeline.label == (expected.column or "churn")


@pytest.mark.parametrize(
    ("value", "name", "constant"),
    [
        ("at", "at", ""),
        ("{constant: '${today}'}", "event_time", "${today}"),
        ("{constant: '2025-01-14T12:00:00+02:00'}", "event_time", "2025-01-14T12:00:00+02:00"),
        ("{constant: 2025-01-14}", "event_time", "2025-01-14"),
    ],
)
def test_the_event_time_is_a_column_or_one_time_for_all_rows(value, name, constant):
    spec = parse_pipeline(with_value("features.event_time", value), "f.yaml").features
    assert (spec.event_time, spec.event_time_constant) == (name, constant)


def test_a_time_without_a_zone_is_utc():
    assert parse_constant("2025-01-14T12:00:00+02:00") == parse_constant("2025-01-14 10:00")
    assert parse_constant("2025-01-14").tzinfo == dt.UTC
    with pytest.raises(PipelineError, match="is no time"):
        parse_constant("9999-12-31T23:00:00-05:00")


def test_up_to_sixteen_hidden_layers_of_up_to_16384_units():
    layers = "[" + ", ".join(["16384"] * 16) + "]"
    assert is_accepted("training.hyperparams.hidden", layers)
    assert not is_accepted("training.hyperparams.hidden", layers[:-1] + ", 1]")
    assert not is_accepted("training.hyperparams.hidden", "[16385]")
    assert not is_accepted("training.hyperparams.hidden", "[0]")


def test_drift_is_said_once():
    text = with_value("validation.drift_threshold", 0.2).replace(
        "    drift_threshold: 0.2", "    drift_threshold: 0.2\n    metric_threshold: 'drift_score < 0.3'"
    )
    with pytest.raises(PipelineError, match="a gate on drift_score says this too"):
        parse_pipeline(text, "f.yaml")


def format_of(key, value):
    return parse_pipeline(with_value(f"data_prep.format.{key}", value), "f.yaml").data_prep.format


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("delimiter", ";", ";"),
        ("delimiter", "'|'", "|"),
        ("delimiter", '"\\t"', "\t"),
        ("delimiter", "tab", "\t"),
        ("delimiter", "' '", " "),
        ("encoding", "cp1252", "cp1252"),
        ("encoding", "UTF-16-LE", "UTF-16-LE"),
        ("decimal", "','", ","),
        ("decimal", ".", "."),
        ("null", "[unknown, '999', ' - ', '']", ("unknown", "999", "-", "")),
        ("event_time_format", '"%d/%m/%Y %H:%M"', "%d/%m/%Y %H:%M"),
    ],
)
def test_each_key_of_the_format_is_read_and_the_others_keep_their_defaults(key, value, expected):
    assert format_of(key, value) == DataFormat(**{key: expected})


@pytest.mark.parametrize(
    ("key", "value", "column", "message"),
    [
        ("delimiter", "'::'", 18, "must be one ASCII character, got '::'"),
        ("delimiter", "''", 18, "must be one ASCII character, got ''"),
        ("delimiter", "'§'", 18, "must be one ASCII character"),
        ("delimiter", "'\"'", 18, "must be one ASCII character"),
        ("delimiter", '"\\n"', 18, "must be one ASCII character"),
        ("delimiter", "5", 18, "put it in quotes"),
        ("delimiter", "[;]", 18, "must be text, got a list"),
        ("encoding", "cp9999", 17, "unknown encoding 'cp9999'"),
        ("encoding", "''", 17, "unknown encoding ''"),
        ("encoding", "hex", 17, "unknown encoding 'hex'"),
        ("encoding", '"a\\0b"', 17, "unknown encoding"),
        ("encoding", "x" * 300, 17, "unknown encoding"),
        ("decimal", "';'", 16, "must be one of ('.', ','), got ';'. write one of them, in quotes"),
        ("decimal", "5", 16, "put it in quotes"),
        ("thousands", "'.'", 18, "thousands needs decimal beside it. add decimal: '.' or decimal: ','"),
        ("thousands", "x", 18, "must be one of (',', '.', \"'\", '_', ' '), got 'x'"),
        ("null", "NA", 13, "must be a list, got the text 'NA'"),
        ("null", "[]", 13, "must have 1 to 1000 items"),
        ("null", "[NA, 999]", 18, "must be text, got the number 999. put it in quotes"),
        ("event_time_format", "''", 26, "must be a format of times with a %, got ''"),
        ("event_time_format", "dd/mm/yyyy", 26, "must be a format of times with a %"),
        ("event_time_format", "'%Q/%Y'", 26, "'%Q' is no code of strptime. the codes are %% %-H"),
        ("event_time_format", "'%Y%'", 26, "'%' is no code of strptime"),
        ("event_time_format", "'%-Y'", 26, "'%-Y' is no code of strptime"),
        ("event_time_format", "'%d/%m'", 26, "'%d/%m' names no year. add %Y (2025) or %y (25)"),
        ("event_time_format", "'%Y %Z'", 26, "%Z, the name of a zone, is not read. write %z for an offset"),
        (
            "delimitr",
            ";",
            7,
            "unknown key 'delimitr'. did you mean 'delimiter'? The keys in stages.data_prep.format are",
        ),
    ],
)
def test_a_wrong_value_of_the_format_is_one_problem_at_its_place(key, value, column, message):
    with pytest.raises(PipelineError) as caught:
        format_of(key, value)
    error = caught.value
    assert (error.line, error.column, error.others) == (6, column, ())
    assert error.message.startswith("stages.data_prep.format")
    assert message in f"{error.message}. {error.remedy}"


def test_the_marks_of_numbers_are_two_different_ones():
    text = with_value("data_prep.format.decimal", "','")
    given = parse_pipeline(
        text.replace("decimal: ','", "decimal: ','\n      thousands: ' '"), "f.yaml"
    ).data_prep.format
    assert (given.decimal, given.thousands) == (",", " ")
    with pytest.raises(PipelineError, match="thousands and decimal are both ','"):
        parse_pipeline(text.replace("decimal: ','", "decimal: ','\n      thousands: ','"), "f.yaml")


def test_every_code_of_a_time_is_one_that_the_engine_reads():
    for code in TIME_CODES:
        assert duckdb.execute(f"SELECT TRY(strptime('x', '{code}'))").fetchall() == [(None,)], code


def test_the_format_has_the_keys_of_its_class_and_the_docs_have_them():
    with pytest.raises(PipelineError) as caught:
        format_of("x", "1")
    keys = caught.value.remedy.rpartition(" are ")[2].split(", ")
    assert keys == [field.name for field in dataclasses.fields(DataFormat)]
    docs = (Path(__file__).parents[3] / "docs" / "pipeline.md").read_text()
    assert [key for key in keys if f"| `{key}` |" not in docs] == []


def test_a_format_must_be_a_section():
    with pytest.raises(PipelineError, match="must be a section with keys, got the text 'csv'"):
        parse_pipeline(with_value("data_prep.format", "csv"), "f.yaml")


def serving(text):
    tree = "pipeline: p\nstages: {data_prep: {input: data}, deployment: {endpoint: /api/v2/predict/churn}}\n"
    return parse_pipeline(tree + text, "f.yaml").serving


def test_replicas_may_follow_the_load_between_limits():
    followed = serving("serving: {replicas: {min: 2, max: 9}}\n")
    assert (followed.replicas, followed.scaling) == (2, Scaling(2, 9, 0.6, 300.0))
    text = "serving: {replicas: {min: 1, max: 1, target_utilization: 0.8, scale_down_after: 2m}}\n"
    assert serving(text).scaling == Scaling(1, 1, 0.8, 120.0)
    assert serving("serving: {replicas: 3}\n").scaling is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{min: 3, max: 2}", "3:35", r"serving\.replicas\.max: max \(2\) is below min \(3\)"),
        ("{max: 2}", "3:21", r"serving\.replicas: key 'min' is missing"),
        ("{min: 2}", "3:21", r"serving\.replicas: key 'max' is missing"),
        ("{min: 0, max: 2}", "3:27", r"serving\.replicas\.min: must be a whole number from 1"),
        ("{min: 1, max: 1001}", "3:35", r"serving\.replicas\.max: must be a whole number from 1 to 1000"),
        ("{min: 1, max: 2, target_utilization: 0}", "3:58", "must be a number above 0 to 1"),
        ("{min: 1, max: 2, target_utilization: 1.1}", "3:58", "must be a number above 0 to 1"),
        ("{min: 1, max: 2, scale_down_after: 25h}", "3:56", "must be a number above 0 to 86400"),
        ("{min: 1, max: 2, scale_down_after: soon}", "3:56", "is not a duration"),
        ("{min: 1, max: 2, target: 0.5}", "3:38", "unknown key 'target'"),
        ("[1, 2]", "3:21", "must be a whole number"),
    ],
)
def test_limits_that_make_no_sense_are_named_with_their_place(text, place, words):
    with pytest.raises(PipelineError, match=f"^f.yaml:{place}: .*{words}"):
        serving(f"serving: {{replicas: {text}}}\n")


def test_nodes_are_named_by_their_labels():
    assert serving("serving: {nodes: {zone: eu-1, ray.io/market-type: spot}}\n").nodes == (
        ("zone", "eu-1"),
        ("ray.io/market-type", "spot"),
    )
    assert serving("").nodes == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast", "must be labels of nodes"),
        ("{}", "must be labels of nodes"),
        ("{zone: 1}", "put it in quotes"),
        ("{zone: '!eu'}", "is no value of a label"),
        ("{zone: in(a)}", "is no value of a label"),
        ("{'a b': c}", "is no label of a node"),
        ("{zone: [a]}", "must be text"),
    ],
)
def test_labels_that_ray_would_read_otherwise_are_refused(text, words):
    with pytest.raises(PipelineError, match=words):
        serving(f"serving: {{nodes: {text}}}\n")
