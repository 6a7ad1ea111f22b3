"""The pipeline file: from YAML text to `divisions.pipeline.definition.Pipeline`. Errors have a line and a column.

The functions have the order of the file's sections, one function per section. docs/pipeline.md describes every key.
"""

from __future__ import annotations

from pathlib import Path

from divisions.errors import PipelineError
from divisions.names import MAX_NAME_CHARS
from divisions.pipeline.decision_option import decision
from divisions.pipeline.definition import (
    CHALLENGER_GATE,
    DRIFT_GATE,
    GUESSING_GATE,
    Challenger,
    DataPrep,
    Deployment,
    Device,
    Distribution,
    Gate,
    ModelKind,
    OnUnknown,
    Pipeline,
    Resources,
    RollbackPolicy,
    Runtime,
    Training,
    Validation,
)
from divisions.pipeline.expressions import parse_gates
from divisions.pipeline.feature_options import features
from divisions.pipeline.hyperparam_options import hyperparams
from divisions.pipeline.options import analysis, data_format, model, serving
from divisions.pipeline.policy_option import promotion_policy
from divisions.pipeline.resources import (
    parse_endpoint,
    parse_name,
    parse_resources,
    parse_runtime,
    parse_strategy,
)
from divisions.pipeline.slo_option import slo
from divisions.pipeline.trials_option import trials
from divisions.pipeline.trigger import CatchUp, Cron, parse_expression, parse_trigger, parse_zone
from divisions.pipeline.variables import check_variables
from divisions.pipeline.yaml_nodes import MAX_BYTES, Mapping, read_nodes
from divisions.pipeline.yaml_sections import (
    Problems,
    Section,
    choice,
    flag,
    integer,
    number,
    one_or_items,
    optional,
    parsed,
)

_MAX_INPUT_CHARS = 1_024
_DISTRIBUTION = choice(Distribution)


def load_pipeline(path: Path) -> Pipeline:
    """Reads and parses a pipeline file.

    Raises:
        PipelineError: the file cannot be read, or is malformed. The error lists all problems of the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise PipelineError(
                f"the file has more than {MAX_BYTES} bytes", remedy="is it a pipeline file?", path=str(path)
            )
        return parse_pipeline(data.decode("utf-8"), str(path))
    except OSError as error:
        raise PipelineError(
            f"the pipeline file cannot be read: {error.strerror}", remedy="check the path", path=str(path)
        ) from None
    except UnicodeDecodeError as error:
        before = data[: error.start]
        raise PipelineError(
            f"byte 0x{data[error.start]:02X} is not UTF-8",
            remedy="save the file as UTF-8",
            path=str(path),
            line=before.count(b"\n") + 1,
            column=len(before) - before.rfind(b"\n"),
        ) from None


def parse_pipeline(text: str, path: str = "") -> Pipeline:
    """Parses the text of a pipeline file; ``path`` is named in errors.

    Raises:
        PipelineError: the text is malformed. The error's ``others`` holds further problems.
    """
    root = read_nodes(text, path)
    if not isinstance(root, Mapping):
        raise PipelineError(
            "the file must be a section with keys such as 'pipeline' and 'stages'",
            remedy="see docs/pipeline.md for an example",
            path=path,
            line=root.place.line,
            column=root.place.column,
        )
    problems = Problems(path)
    pipeline = _pipeline(Section(root, "", problems))
    problems.raise_any()
    return pipeline


def _pipeline(root: Section) -> Pipeline:
    with root:
        name = root.require("pipeline", parsed(parse_name), "")
        trigger = _trigger(root)
        of_model = model(root.section("model"), name)  # before the stages: the kind decides the hyperparameters
        with root.section("stages", is_required=True) as stages:
            data_prep = _data_prep(stages.section("data_prep", is_required=True))
            training = _training(stages.section("training"), of_model.kind)
            validation = _validation(stages.section("validation"))
            deployment = _deployment(stages.section("deployment", is_required=True))
        pipeline = Pipeline(
            name=name,
            trigger=trigger,
            data_prep=data_prep,
            training=training,
            validation=validation,
            deployment=deployment,
            features=features(root.section("features"), deployment.endpoint),
            model=of_model,
            serving=serving(root.section("serving"), training.resources, of_model.kind),
            slo=slo(root.section("slo")),
            policy=promotion_policy(root.section("policy")),
        )
        if len(pipeline.model_name) > MAX_NAME_CHARS:
            root.report(f"the model's name {pipeline.model_name!r} is too long", "give model.name a shorter one")
        return pipeline


def _trigger(root: Section) -> Cron | None:
    if not root.has_section("trigger"):
        return root.take("trigger", parsed(parse_trigger), None)
    with root.section("trigger") as section:
        expression = section.require("schedule", parsed(parse_expression), "")
        zone = section.take("zone", parsed(parse_zone), "UTC")
        return Cron(expression, zone, section.take("catch_up", choice(CatchUp), CatchUp.LAST))


def _data_prep(section: Section) -> DataPrep:
    with section:
        runtime, resources = _machine(section)
        location = section.require("input", parsed(_input), "")
        form = data_format(section.section("format"))
        distributed = section.take("distributed", _DISTRIBUTION, Distribution.AUTO)
        return DataPrep(location, runtime, resources, form, distributed)


def _machine(section: Section) -> tuple[Runtime, Resources]:
    runtime = section.take("runtime", parsed(parse_runtime), Runtime())
    resources = section.take("resources", parsed(parse_resources), Resources())
    if section.has("runtime") and (runtime.device is Device.GPU) != (resources.num_gpus > 0):
        if runtime.device is Device.GPU:
            section.report(
                "a GPU runtime without a GPU", "add one to resources, such as 'T4-GPU', or write '-cpu'", "runtime"
            )
        else:
            section.report("a GPU, but a CPU runtime", f"write 'python:{runtime.python or 3.11}-gpu'", "runtime")
    return runtime, resources


def _input(template: str) -> str:
    if not template or len(template) > _MAX_INPUT_CHARS or not template.isprintable():
        raise PipelineError(
            f"an input must be 1 to {_MAX_INPUT_CHARS} visible characters",
            remedy="write a path or URI such as 's3://raw-events/partition=${today}'",
        )
    check_variables(template)
    return template


def _training(section: Section, kind: ModelKind) -> Training:
    with section:
        runtime, resources = _machine(section)
        workers = section.take("workers", integer(1, 256), Training().workers)
        if workers > 1 and kind is ModelKind.GRADIENT_BOOSTING:
            section.report(f"{kind} trains in one process", "remove workers, and give resources more vCPU", "workers")
        count, budget_s = trials(section)
        return Training(runtime, resources, hyperparams(section.section("hyperparams"), kind), workers, count, budget_s)


def _validation(section: Section) -> Validation:
    with section:
        none: tuple[Gate, ...] = ()
        read = one_or_items(parsed(parse_gates))
        gates = section.take("metric_threshold", read, none) + section.take("gates", read, none)
        drift = section.take("drift_threshold", number(0, 100, is_low_open=True), DRIFT_GATE.threshold)
        if any(gate.metric == DRIFT_GATE.metric for gate in gates):
            if section.has("drift_threshold"):
                section.report("a gate on drift_score says this too", "remove one of the two", "drift_threshold")
        else:
            gates += (Gate(DRIFT_GATE.metric, DRIFT_GATE.comparison, drift),)
        if section.take("better_than_guessing", flag, True):
            gates = (GUESSING_GATE, *gates)
        challenger: Challenger | None = None
        if section.take("challenger", optional(choice(Challenger)), challenger):
            gates += (CHALLENGER_GATE,)
        policy = section.take("rollback_policy", choice(RollbackPolicy), Validation().rollback_policy)
        on_unknown = section.take("on_unknown", optional(choice(OnUnknown)), Validation().on_unknown)
        return Validation(tuple(dict.fromkeys(gates)), policy, on_unknown, decision(section))


def _deployment(section: Section) -> Deployment:
    with section:
        endpoint = section.require("endpoint", parsed(parse_endpoint), "")
        steps_bp = section.take("strategy", parsed(parse_strategy), Deployment("").steps_bp)
        return Deployment(endpoint, steps_bp, analysis(section.section("analysis"), len(steps_bp)))
