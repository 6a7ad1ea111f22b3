import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.analysis_spec import AnalysisSpec
from divisions.control import OnlinePolicy
from divisions.errors import PipelineError
from divisions.pipeline.definition import (
    DRIFT_GATE,
    GUESSING_GATE,
    Comparison,
    Cron,
    DataPrep,
    Deployment,
    Device,
    Features,
    Gate,
    Hyperparams,
    Label,
    Model,
    OnUnknown,
    Pipeline,
    Resources,
    RollbackPolicy,
    Runtime,
    Serving,
    Training,
    Validation,
)
from divisions.pipeline.file import load_pipeline, parse_pipeline

ROOT = Path(__file__).parents[3]
PAGE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"

MINIMAL = """\
pipeline: "customer-churn"
stages:
  data_prep:
    input: "data/partition=${today}"
  deployment:
    endpoint: "/api/v2/predict/churn"
"""


def problems_of(text):
    """Every problem of a text, as (line, column, message with remedy)."""
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(text, "f.yaml")
    error = caught.value
    return [(one.line, one.column, f"{one.message}. {one.remedy}") for one in (error, *error.others)]


def with_line(line, after):
    """MINIMAL with a line put in after the line that starts so."""
    lines = MINIMAL.splitlines()
    position = next(i for i, text in enumerate(lines) if text.strip().startswith(after)) + 1
    return "\n".join([*lines[:position], *line.splitlines(), *lines[position:]]) + "\n"


def test_the_product_pages_file_parses_verbatim():
    assert load_pipeline(PAGE) == Pipeline(
        name="customer-churn-v3",
        trigger=Cron("0 2 * * *"),
        data_prep=DataPrep(
            input="s3://raw-events/partition=${today}",
            runtime=Runtime("3.11", Device.CPU),
            resources=Resources(num_cpus=2, memory_gb=8),
        ),
        training=Training(
            runtime=Runtime("3.11", Device.GPU),
            resources=Resources(num_gpus=1, accelerator_type="T4", vram_gb=16),
            hyperparams=Hyperparams(learning_rate=0.001, batch_size=256, epochs=50),
        ),
        validation=Validation((GUESSING_GATE, Gate("auc", Comparison.GREATER, 0.85), DRIFT_GATE), RollbackPolicy.AUTO),
        deployment=Deployment("churn", (2_000, 5_000, 10_000)),
        model=Model(major=3),
        serving=Serving(num_gpus=1, canary_num_gpus=0.5, accelerator_type="T4", vram_gb=16),
    )


def test_where_the_file_is_silent_the_defaults_hold():
    assert parse_pipeline(MINIMAL) == Pipeline(
        name="customer-churn", data_prep=DataPrep("data/partition=${today}"), deployment=Deployment("churn")
    )


def test_every_optional_section_is_read():
    pipeline = parse_pipeline(
        MINIMAL
        + """\
    strategy: "canary: 5% -> 100%"
    analysis:
      tolerance: 0.05
      tolerance_ms: 0.5
      alpha: 1e-3
      error_alpha: 0.002
      min_dwell_s: 5
      max_dwell_s: 2m
      min_samples: [300, 550]
      bake_s: "10s"
      warmup_s: 1.5
      warmup_requests: 0
      holdback_bp: 2.5%
      deploy_deadline_s: 1h
      drain_s: 500ms
      keep_stable_s: 0
      guards: [errors]
features:
  entity: account
  label: left
  event_time: at
  numeric: [minutes]
  categorical: [state]
  boolean: [abroad]
  exclude: [note]
  holdout_fraction: 0.3
model:
  name: churn-model
  major: 7
serving:
  replicas: 3
  num_cpus: 1
  num_gpus: 0.25
  canary_num_gpus: 0.2
  max_batch: 64
  accelerator_type: L4
"""
    )
    assert pipeline.deployment == Deployment(
        "churn",
        (500, 10_000),
        AnalysisSpec(
            tolerance=0.05,
            tolerance_ms=0.5,
            alpha=0.001,
            error_alpha=0.002,
            min_dwell_s=5,
            max_dwell_s=120,
            min_samples=(300, 550),
            bake_s=10,
            warmup_s=1.5,
            warmup_requests=0,
            holdback_bp=250,
            deploy_deadline_s=3_600,
            drain_s=0.5,
            keep_stable_s=0,
            guards=("errors",),
        ),
    )
    assert pipeline.features == Features(
        entity="account",
        label=Label("left"),
        event_time="at",
        numeric=("minutes",),
        categorical=("state",),
        boolean=("abroad",),
        exclude=("note",),
        holdout_fraction=0.3,
    )
    assert pipeline.model == Model("churn-model", 7)
    assert pipeline.serving == Serving(3, 1.0, 0.25, 0.2, 64, "L4")


@pytest.mark.parametrize(
    ("name", "major"), [("churn", 1), ("churn-v3", 3), ("churn-v12", 12), ("churn-v3-eu", 1), ("v3", 1), ("churn-v", 1)]
)
def test_the_major_version_is_the_end_of_the_pipelines_name(name, major):
    assert parse_pipeline(MINIMAL.replace("customer-churn", name)).model.major == major


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        ("", Serving(num_gpus=1, canary_num_gpus=0.5, accelerator_type="A100")),
        ("serving:\n  num_gpus: 0\n", Serving()),
        ("serving:\n  num_gpus: 0.5\n", Serving(num_gpus=0.5, canary_num_gpus=0.25, accelerator_type="A100")),
        ("serving:\n  num_gpus: 2\n", Serving(num_gpus=2, canary_num_gpus=2, accelerator_type="A100")),
        ("serving:\n  accelerator_type: T4\n", Serving(num_gpus=1, canary_num_gpus=0.5, accelerator_type="T4")),
    ],
)
def test_a_model_trained_on_a_gpu_is_served_on_one_unless_the_file_says_otherwise(serving, expected):
    training = "  training:\n    resources: 4x A100-GPU"
    assert parse_pipeline(with_line(training, "stages") + serving).serving == expected


@pytest.mark.parametrize(
    ("lines", "gates"),
    [
        ('metric_threshold: "auc > 0.85"', ("auc > 0.85", "drift_score < 0.15")),
        ('metric_threshold: "auc > 0.85 and recall > 0.5"', ("auc > 0.85", "recall > 0.5", "drift_score < 0.15")),
        ("gates: [auc > 0.85, recall > 0.5]", ("auc > 0.85", "recall > 0.5", "drift_score < 0.15")),
        ("metric_threshold: auc > 0.85\n    gates: [auc > 0.85]", ("auc > 0.85", "drift_score < 0.15")),
        ("gates: drift_score < 0.3", ("drift_score < 0.3",)),
        ("drift_threshold: 0.2", ("drift_score < 0.2",)),
    ],
)
def test_gates_always_include_one_on_drift(lines, gates):
    pipeline = parse_pipeline(with_line(f"  validation:\n    {lines}", "stages"))
    assert tuple(map(str, pipeline.validation.gates)) == ("auc_lower_bound > 0.5", *gates)


def test_the_gate_on_guessing_can_be_turned_off_and_the_unknown_decided():
    validation = parse_pipeline(with_line("  validation: {better_than_guessing: false}", "stages")).validation
    assert (validation.gates, validation.on_unknown) == ((DRIFT_GATE,), None)
    for word in OnUnknown:
        text = with_line(f"  validation: {{on_unknown: {word}, better_than_guessing: true}}", "stages")
        assert parse_pipeline(text).validation == Validation((GUESSING_GATE, DRIFT_GATE), on_unknown=word)


def test_all_problems_of_a_file_are_reported_in_its_order():
    text = """\
pipeline: "Customer Churn"
triger: "schedule: 0 2 * * *"
stages:
  data_prep:
    inputs: "data"
  training:
    hyperparams:
      learning_rate: "0.001"
      epochs: 0
  deployment:
    endpoint: "/api/v2/predict/churn"
"""
    assert [(line, column) for line, column, _ in problems_of(text)] == [
        (1, 11),
        (2, 1),
        (5, 5),
        (5, 5),
        (8, 22),
        (9, 15),
    ]
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(text, "f.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert all(re.match(r"f\.yaml:\d+:\d+: ", line) for line in lines)


@pytest.mark.parametrize(
    ("line", "after", "place", "message"),
    [
        ("triger: x", "pipeline", (2, 1), "did you mean 'trigger'"),
        ("zzzz: x", "pipeline", (2, 1), "the keys at the top of the file are pipeline, trigger"),
        ("  trainin: {}", "stages", (3, 3), "did you mean 'training'"),
        ("  training: 5", "stages", (3, 13), "must be a section with keys, got 5"),
        ("  training:", "stages", (3, 12), "got nothing"),
        ("  training: {workers: 0}", "stages", (3, 23), "whole number from 1 to 256"),
        ("  training: {workers: 1.5}", "stages", (3, 23), "whole number from 1 to 256"),
        ("  training: {workers: true}", "stages", (3, 23), "whole number"),
        ("  training: {workers: '2'}", "stages", (3, 23), "remove the quotes"),
        ("  training: {workers: [2]}", "stages", (3, 23), "got a list"),
        ("  training: {hyperparams: {learning_rate: 0}}", "stages", (3, 43), "above 0"),
        ("  training: {hyperparams: {learning_rate: .nan}}", "stages", (3, 43), "must be a number"),
        ("  training: {hyperparams: {learning_rate: 1e999}}", "stages", (3, 43), "must be a number"),
        ("  training: {hyperparams: {epochs: 10001}}", "stages", (3, 36), "from 1 to 10000"),
        ("  training: {hyperparams: {dropout: 1}}", "stages", (3, 37), "from 0 and below 1"),
        ("  training: {hyperparams: {hidden: []}}", "stages", (3, 36), "1 to 16 items"),
        ("  training: {hyperparams: {hidden: [64, 0]}}", "stages", (3, 41), "whole number"),
        ("  training: {runtime: python:3.11-gpu}", "stages", (3, 23), "a GPU runtime without a GPU"),
        ("  training: {runtime: python:3.11-cpu, resources: T4-GPU}", "stages", (3, 23), "a GPU, but a CPU runtime"),
        ("  validation: {metric_threshold: acu > 0.85}", "stages", (3, 34), "did you mean auc"),
        ("  validation: {gates: [auc > 0.8, auc > 85]}", "stages", (3, 35), "auc lies between 0 and 1"),
        ("features: {label: {column: status}}", "pipeline", (2, 19), "key 'positive' is missing"),
        ("features: {label: {positive: []}}", "pipeline", (2, 30), "1 to 1000 items"),
        ("features: {label: {positive: [null]}}", "pipeline", (2, 31), "a label's value must be 1 to 128"),
        ("features: {label: {positive: [''], negative: [x]}}", "pipeline", (2, 31), "a label's value must be"),
        ("features: {label: {positive: {a: b}}}", "pipeline", (2, 30), "a label's value must be"),
        ("features: {label: {positive: [X], negative: [y, x]}}", "pipeline", (2, 45), "'x' is positive and negative"),
        ("features: {label: {positive: [x], colum: y}}", "pipeline", (2, 35), "did you mean 'column'"),
        ("features: {label: [x]}", "pipeline", (2, 19), "got a list"),
        ("features: {event_time: {constant: '${todya}'}}", "pipeline", (2, 35), "did you mean ${today}"),
        ("features: {event_time: {constant: '${pipeline}'}}", "pipeline", (2, 35), "is no time"),
        ("features: {event_time: {constant: later}}", "pipeline", (2, 35), "'later' is no time"),
        ("features: {event_time: {}}", "pipeline", (2, 24), "key 'constant' is missing"),
        ("features: {event_time: {constant: ${today}}}", "pipeline", (2, 36), "put quotes around"),
        ("features: {exclude: [*_id]}", "pipeline", (2, 22), "quote a pattern, as in '*_id'"),
        ("  validation: {on_unknown: ignore}", "stages", (3, 28), "'pass' or 'refuse'"),
        ("  validation: {better_than_guessing: 'false'}", "stages", (3, 38), "must be true or false"),
        ("  validation: {better_than_guessing: no}", "stages", (3, 38), "must be true or false, got no"),
        ("  validation: {gates: auc_lower > 0.6}", "stages", (3, 23), "did you mean auc_lower_bound"),
        ("  validation: {rollback_policy: never}", "stages", (3, 33), "'auto' or 'hold'"),
        ("  validation: {rollback_policy: no}", "stages", (3, 33), "put it in quotes"),
        ("  validation: {gates: drift_score < 1, drift_threshold: 0.2}", "stages", (3, 57), "remove one of the two"),
        ("    runtime: java", "data_prep", (4, 14), "is not a runtime"),
        ("    strategy: 'canary: 20%'", "deployment", (6, 15), "not 100%"),
        ("    analysis: {min_dwell: 5}", "deployment", (6, 16), "did you mean 'min_dwell_s'"),
        ("    analysis: {min_dwell_s: 5w}", "deployment", (6, 29), "is not a duration"),
        ("    analysis: {min_dwell_s: -1}", "deployment", (6, 29), "from 0 to"),
        ("    analysis: {min_dwell_s: 9000h}", "deployment", (6, 29), "from 0 to"),
        ("    analysis: {max_dwell_s: 1}", "deployment", (6, 15), "is below min_dwell_s"),
        ("    analysis: {min_samples: [1, 2, 3, 4]}", "deployment", (6, 29), "4 numbers for 3 canary steps"),
        ("    analysis: {alpha: 0}", "deployment", (6, 23), "above 0 to 0.5"),
        ("    analysis: {tolerance_ms: -1}", "deployment", (6, 30), "0 to 60000"),
        ("    analysis: {tolerance: 0}", "deployment", (6, 27), "above 0 to 4"),
        ("    analysis: {holdback_bp: 60%}", "deployment", (6, 29), "from 0 to 5000"),
        ("    analysis: {guards: [latency, drift]}", "deployment", (6, 34), "unknown guard 'drift'"),
        ("    analysis: {guards: []}", "deployment", (6, 24), "1 to 3 items"),
        ("model: {name: ../x}", "pipeline", (2, 15), "is not a name"),
        ("serving: {num_gpus: 1.5}", "pipeline", (2, 21), "cannot have 1.5 GPUs"),
        ("features: {numeric: [a], exclude: [a]}", "pipeline", (2, 11), "'a' is named twice"),
        ("features: {numeric: customer_id}", "pipeline", (2, 21), "must be a list"),
        ("features: {numeric: [customer_id]}", "pipeline", (2, 11), "'customer_id' is named twice"),
    ],
)
def test_one_mistake_is_one_problem_at_its_place(line, after, place, message):
    ((found_line, found_column, text),) = problems_of(with_line(line, after))
    assert message in text
    assert (found_line, found_column) == place


@pytest.mark.parametrize(
    ("line", "instead", "place", "message"),
    [
        ('pipeline: "customer-churn"', "trigger: 'schedule: 0 2 * * *'", (1, 1), "key 'pipeline' is missing"),
        ('input: "data/partition=${today}"', "resources: 1vCPU", (4, 5), "stages.data_prep: key 'input' is missing"),
        ('endpoint: "/api/v2/predict/churn"', "strategy: 'canary: 100%'", (6, 5), "key 'endpoint' is missing"),
    ],
)
def test_what_has_no_default_must_be_there(line, instead, place, message):
    ((found_line, found_column, text),) = problems_of(MINIMAL.replace(line, instead))
    assert message in text
    assert (found_line, found_column) == place


def test_a_missing_stage_is_one_problem():
    ((_, _, message),) = problems_of("pipeline: churn\nstages:\n  data_prep:\n    input: data\n")
    assert "stages: key 'deployment' is missing" in message


def test_the_models_name_must_fit_too():
    text = MINIMAL.replace("/churn", "/" + "c" * 60)
    assert "too long" in problems_of(text)[0][2]
    assert parse_pipeline(text + "model: {name: churn}\n").model_name == "churn"


@pytest.mark.parametrize("text", ["[]", "just text", "5"])
def test_a_file_that_is_no_mapping_is_refused(text):
    assert "must be a section with keys" in problems_of(text)[0][2]


def test_a_file_that_is_not_there_names_its_path(tmp_path):
    with pytest.raises(PipelineError, match="No such file") as caught:
        load_pipeline(tmp_path / "absent.yaml")
    assert "absent.yaml" in str(caught.value)
    with pytest.raises(PipelineError, match="directory"):
        load_pipeline(tmp_path)


def test_a_file_that_is_not_utf8_names_line_and_column(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"pipeline: churn\ntrigger: \xff\n")
    with pytest.raises(PipelineError, match="0xFF is not UTF-8") as caught:
        load_pipeline(path)
    assert (caught.value.line, caught.value.column) == (2, 10)


def test_a_file_over_the_cap_is_not_read_whole(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(PipelineError, match="more than 262144 bytes"):
        load_pipeline(path)


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("stages:\n  training:\n    hyperparams: {x: 1}", Hyperparams),
        ("features: {x: 1}", Features),
        ("model: {x: 1}", Model),
        ("serving: {x: 1}", Serving),
        ("stages:\n  deployment:\n    analysis: {x: 1}", AnalysisSpec),
    ],
)
def test_every_field_can_be_set_and_every_key_is_in_the_docs(section, kind):
    message = next(text for _, _, text in problems_of(section) if "unknown key 'x'" in text)
    keys = message.rpartition(" are ")[2].split(", ")
    fields = (
        [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind.__struct_fields__
    )
    assert set(keys) == set(fields) - {"event_time_constant", "scaling"}  # their keys are event_time and replicas
    docs = (ROOT / "docs" / "pipeline.md").read_text()
    assert [key for key in keys if f"`{key}`" not in docs] == []


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("{}", OnlinePolicy()),
        ("{max_age: 45d}", OnlinePolicy(max_age_s=45 * 86_400.0)),
        ("{max_age: 90, on_stale: error}", OnlinePolicy(90.0, "error", "error")),
        ("{max_age: 2h, on_stale: serve, on_missing: default}", OnlinePolicy(7_200.0, "default", "serve")),
        ("{on_missing: error}", OnlinePolicy()),
    ],
)
def test_what_becomes_of_customers_by_id(text, policy):
    assert parse_pipeline(f"{MINIMAL}serving:\n  online: {text}\n").serving.online == policy


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{max_age: 0}", "serving.online.max_age: must be a number above 0"),
        ("{max_age: 5w}", "is not a duration"),
        ("{max_age: 40000d}", "must be a number above 0"),
        ("{on_stale: error}", "without max_age nothing is stale"),
        ("{on_missing: serve}", "must be error or default, got 'serve'"),
        ("{max_age: 1d, on_stale: ignore}", "must be serve or error or default"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(text, why):
    with pytest.raises(PipelineError, match=re.escape(why)):
        parse_pipeline(f"{MINIMAL}serving:\n  online: {text}\n")


def test_an_endpoint_asks_for_keys_only_where_the_file_says_so():
    assert parse_pipeline(MINIMAL).serving.access.require_key is None
    dropped = parse_pipeline(f"{MINIMAL}serving:\n  access: {{require_key: false}}\n")
    assert dropped.serving.access.require_key is False
    assert parse_pipeline(f"{MINIMAL}serving:\n  access: {{require_key: true}}\n").serving.access.require_key
    for text, why in (("{require_key: 1}", "must be true or false"), ("{require: true}", "unknown key 'require'")):
        with pytest.raises(PipelineError, match=why):
            parse_pipeline(f"{MINIMAL}serving:\n  access: {text}\n")


def test_the_examples_of_the_docs_parse():
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "pipeline.md").read_text(), flags=re.DOTALL)
    whole = [example for example in examples if example.startswith(("pipeline:", "# ML-Ops"))]
    assert whole
    for example in whole:
        parse_pipeline(example)


def test_the_errors_of_the_docs_are_real():
    docs = (ROOT / "docs" / "pipeline.md").read_text()
    wrong, shown = re.search(r"```yaml wrong\n(.*?)```.*?```text\n(.*?)```", docs, flags=re.DOTALL).groups()
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(wrong, "churn.yaml")
    assert str(caught.value) == shown.strip()


KEYS = """
pipeline trigger stages data_prep training validation deployment features model serving analysis input runtime resources
hyperparams epochs metric_threshold gates strategy endpoint min_samples guards num_gpus format delimiter encoding null
"""
LINES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(KEYS.split()),
        st.one_of(
            st.just(""),
            st.sampled_from(
                ["auc > 0.85", "[1, x]", "{a: b}", "1e3", "-1", "true", "2vCPU", "canary: 100%", "60s", "~"]
            ),
            st.text(max_size=12),
        ),
    ),
    max_size=25,
)


@given(LINES)
def test_near_misses_raise_nothing_but_pipeline_errors(lines):
    text = "".join(f"{'  ' * indent}{key}: {value}\n" for indent, key, value in lines)
    try:
        parse_pipeline(text)
    except PipelineError as error:
        str(error)


@given(st.data())
def test_one_damaged_character_raises_nothing_but_pipeline_errors(data):
    page = PAGE.read_text()
    position = data.draw(st.integers(0, len(page) - 1))
    damaged = page[:position] + data.draw(st.text(max_size=3)) + page[position + 1 :]
    try:
        parse_pipeline(damaged)
    except PipelineError as error:
        str(error)


@given(st.text())
def test_any_text_raises_nothing_but_pipeline_errors(text):
    with pytest.raises(PipelineError):
        parse_pipeline(text)


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_pipeline_errors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "f.yaml"
    path.write_bytes(data)
    with pytest.raises(PipelineError):
        load_pipeline(path)
