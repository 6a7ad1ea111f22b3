"""The optional sections of a pipeline file: ``model``, ``serving``, ``data_prep.format`` and ``deployment.analysis``.

One function per section. Each uses defaults for absent keys.
"""

from __future__ import annotations

import codecs
import re

from divisions.analysis_spec import GUARDS, AnalysisSpec
from divisions.control import FULL_BP, AccessPolicy, EngineChoice, OnlinePolicy, Placement
from divisions.errors import PipelineError
from divisions.pipeline.definition import DataFormat, Model, ModelKind, Resources, Serving
from divisions.pipeline.log_option import log_policy
from divisions.pipeline.resources import parse_duration_s, parse_name, parse_percent_bp
from divisions.pipeline.yaml_nodes import Mapping, Node, Scalar
from divisions.pipeline.yaml_sections import (
    Reader,
    Section,
    choice,
    flag,
    integer,
    items,
    number,
    parsed,
    placed,
    text,
)
from divisions.prediction_log import LogPolicy
from divisions.scaling import MAX_REPLICAS, MAX_SCALE_DOWN_S, Scaling

DECIMAL_MARKS = (".", ",")
THOUSANDS_MARKS = (",", ".", "'", "_", " ")
_DAY_S = 86_400.0
_LONGEST_AGE_S = 36_500 * _DAY_S
_MAX_FORMAT_CHARS = 128
_TIME_CODE = re.compile(r"%(?:-?.|$)")
TIME_CODES = frozenset("%" + code for code in (*"aAbBdfgGHIjmMnpSTuUVwWyYz%", *(f"-{code}" for code in "dHIjmMSy")))
"""What an event time's format may hold. DuckDB reads these. It also takes %Z, but fails on unknown names of zones."""
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_NAME = re.compile(rf"([a-z0-9.-]{{1,253}}/)?{_LABEL_VALUE.pattern}")
_ENGINES_WITH_TREES = (EngineChoice.AUTO, EngineChoice.ONNXRUNTIME_CPU)
_MAJOR = re.compile(r"-v([0-9]{1,4})$")


def data_format(section: Section) -> DataFormat:
    default = DataFormat()
    with section:
        given = DataFormat(
            delimiter=section.take("delimiter", _delimiter, default.delimiter),
            encoding=section.take("encoding", parsed(_encoding), default.encoding),
            decimal=section.take("decimal", _mark(DECIMAL_MARKS), default.decimal),
            thousands=section.take("thousands", _mark(THOUSANDS_MARKS), default.thousands),
            null=section.take("null", items(parsed(str)), default.null),
            event_time_format=section.take("event_time_format", parsed(_event_time_format), default.event_time_format),
        )
        if given.thousands and given.thousands == given.decimal:
            section.report(
                f"thousands and decimal are both {given.decimal!r}", "write two different marks", "thousands"
            )
        if given.thousands and not section.has("decimal"):
            section.report("thousands needs decimal beside it", "add decimal: '.' or decimal: ','", "thousands")
        return given


def _mark(marks: tuple[str, ...]) -> Reader[str]:
    def read(node: Node) -> str:
        given = text(node)
        if given not in marks:
            raise PipelineError(f"must be one of {marks}, got {given[:60]!r}", remedy="write one of them, in quotes")
        return given

    return read


def _delimiter(node: Node) -> str:
    given = text(node)
    delimiter = "\t" if given == "tab" else given
    # The readers of CSV take one byte, and the quote has its own meaning.
    is_usable = len(delimiter) == 1 and delimiter.isascii() and (delimiter.isprintable() or delimiter == "\t")
    if not is_usable or delimiter == '"':
        raise PipelineError(
            f"must be one ASCII character, got {given[:60]!r}", remedy="write it in quotes, such as ';', or write tab"
        )
    return delimiter


def _encoding(name: str) -> str:
    try:
        # Unlike `codecs.lookup`, this refuses codecs that are not for text, such as hex.
        "a".encode(name[:_MAX_FORMAT_CHARS])
        if codecs.lookup(name[:_MAX_FORMAT_CHARS]).incrementaldecoder is not None:
            return name
    except (LookupError, ValueError):
        pass
    raise PipelineError(
        f"unknown encoding {name[:60]!r}", remedy="write one that Python knows, such as utf-8, cp1252 or utf-16-le"
    )


def _event_time_format(form: str) -> str:
    if "%" not in form or len(form) > _MAX_FORMAT_CHARS or not form.isprintable():
        raise PipelineError(
            f"must be a format of times with a %, got {form[:60]!r}",
            remedy="write it as strptime takes it, such as '%d/%m/%Y %H:%M'",
        )
    codes = _TIME_CODE.findall(form)
    wrong = [code for code in codes if code not in TIME_CODES]
    if "%Z" in wrong:
        raise PipelineError(
            "%Z, the name of a zone, is not read", remedy="write %z for an offset, or the name itself, such as 'UTC'"
        )
    if wrong:
        raise PipelineError(
            f"{wrong[0]!r} is no code of strptime", remedy=f"the codes are {' '.join(sorted(TIME_CODES))}"
        )
    if not {"%Y", "%y", "%-y", "%G"} & set(codes):
        raise PipelineError(f"{form!r} names no year", remedy="add %Y (2025) or %y (25)")
    return form


def analysis(section: Section, num_steps: int) -> AnalysisSpec:
    default = AnalysisSpec()
    share = number(0, 0.5, is_low_open=True)
    with section:
        spec = AnalysisSpec(
            tolerance=section.take("tolerance", number(0, 4, is_low_open=True), default.tolerance),
            tolerance_ms=section.take("tolerance_ms", number(0, 60_000), default.tolerance_ms),
            alpha=section.take("alpha", share, default.alpha),
            error_alpha=section.take("error_alpha", share, default.error_alpha),
            min_dwell_s=section.take("min_dwell_s", _duration_s(), default.min_dwell_s),
            max_dwell_s=section.take("max_dwell_s", _duration_s(), default.max_dwell_s),
            min_samples=section.take("min_samples", _one_or_more_samples, default.min_samples),
            bake_s=section.take("bake_s", _duration_s(), default.bake_s),
            warmup_s=section.take("warmup_s", _duration_s(), default.warmup_s),
            warmup_requests=section.take("warmup_requests", integer(0, 1_000_000), default.warmup_requests),
            holdback_bp=section.take("holdback_bp", _holdback_bp, default.holdback_bp),
            deploy_deadline_s=section.take("deploy_deadline_s", _duration_s(), default.deploy_deadline_s),
            drain_s=section.take("drain_s", _duration_s(), default.drain_s),
            keep_stable_s=section.take("keep_stable_s", _duration_s(), default.keep_stable_s),
            guards=section.take("guards", items(_guard, most=len(GUARDS)), default.guards),
            shadow_s=section.take("shadow_s", _duration_s(), default.shadow_s),
            on_inconclusive=section.take("on_inconclusive", _on_inconclusive, default.on_inconclusive),
        )
        if spec.max_dwell_s < spec.min_dwell_s:
            section.report(
                f"max_dwell_s ({spec.max_dwell_s:g}) is below min_dwell_s ({spec.min_dwell_s:g})", "raise the former"
            )
        if section.has("min_samples") and len(spec.min_samples) > num_steps:
            section.report(
                f"{len(spec.min_samples)} numbers for {num_steps} canary steps", "give one per step", "min_samples"
            )
        return spec


def _duration_s(longest_s: float = 7 * _DAY_S, *, is_low_open: bool = False) -> Reader[float]:
    """Reads seconds, or a text such as ``10m``."""
    seconds = number(0, longest_s, is_low_open=is_low_open)

    def read(node: Node) -> float:
        if isinstance(node, Scalar) and node.text[-1:].isalpha():
            value_s = parse_duration_s(text(node).strip())
            return seconds(Scalar(repr(value_s), True, node.place))
        return seconds(node)

    return read


def _one_or_more_samples(node: Node) -> tuple[int, ...]:
    count = integer(1, 1_000_000_000)
    return (count(node),) if isinstance(node, Scalar) else items(count, most=20)(node)


def _holdback_bp(node: Node) -> int:
    if isinstance(node, Scalar) and node.text.endswith("%"):
        return integer(0, FULL_BP // 2)(Scalar(str(parse_percent_bp(node.text)), True, node.place))
    return integer(0, FULL_BP // 2)(node)


def _guard(node: Node) -> str:
    name = text(node)
    if name not in GUARDS:
        raise PipelineError(f"unknown guard {name[:60]!r}", remedy=f"the guards are {', '.join(GUARDS)}")
    return name


def _on_inconclusive(node: Node) -> str:
    name = text(node)
    if name not in ("hold", "rollback"):
        raise PipelineError("must be hold or rollback", remedy="hold asks the operator, rollback does not")
    return name


def _one_of(*words: str) -> Reader[str]:
    """Reads one of a few words."""

    def read(node: Node) -> str:
        word = text(node)
        if word not in words:
            raise PipelineError(f"must be {' or '.join(words)}, got {word[:60]!r}", remedy="choose one of them")
        return word

    return read


def model(section: Section, pipeline_name: str) -> Model:
    suffix = _MAJOR.search(pipeline_name)
    with section:
        return Model(
            name=section.take("name", parsed(parse_name), Model().name),
            major=section.take("major", integer(0, 9_999), int(suffix[1]) if suffix else Model().major),
            kind=section.take("kind", choice(ModelKind), Model().kind),
        )


def serving(section: Section, trained_on: Resources, kind: ModelKind = ModelKind.MLP) -> Serving:
    default = Serving()
    with section:
        has_gpu = trained_on.num_gpus and kind is not ModelKind.GRADIENT_BOOSTING
        num_gpus = section.take("num_gpus", _gpus, 1.0 if has_gpu else default.num_gpus)
        default_type = trained_on.accelerator_type if num_gpus else None
        accelerator_type = section.take("accelerator_type", text, default_type)
        # The memory of training's GPU is the default only for a GPU of the same type.
        default_vram_gb = trained_on.vram_gb if num_gpus and accelerator_type == default_type else None
        scaling = _scaling(section.section("replicas")) if section.has_section("replicas") else None
        count = section.take("replicas", integer(1, MAX_REPLICAS), default.replicas) if scaling is None else scaling.min
        served = Serving(
            replicas=count,
            num_cpus=section.take("num_cpus", number(0, 1_000), default.num_cpus),
            num_gpus=num_gpus,
            canary_num_gpus=section.take("canary_num_gpus", _gpus, num_gpus / 2 if num_gpus <= 1 else num_gpus),
            max_batch=section.take("max_batch", integer(1, 65_536), default.max_batch),
            placement=section.take("placement", choice(Placement), default.placement),
            accelerator_type=accelerator_type,
            engine=section.take("engine", choice(EngineChoice), default.engine),
            vram_gb=section.take("vram_gb", number(0, 1_000, is_low_open=True), default_vram_gb),
            online=_online(section.section("online")),
            access=_access(section.section("access")),
            scaling=scaling,
            nodes=section.take("nodes", _labels, default.nodes),
            log=_log(section),
        )
        if kind is ModelKind.GRADIENT_BOOSTING and served.engine not in _ENGINES_WITH_TREES:
            section.report(
                f"{served.engine} cannot run {kind}", "remove engine: replicas take onnxruntime-cpu", "engine"
            )
        return served


def _log(section: Section) -> LogPolicy | None:
    policy = log_policy(section.section("log"))
    return policy if section.has("log") else None


def _scaling(section: Section) -> Scaling:
    count, default = integer(1, MAX_REPLICAS), Scaling(1, 1)
    share = number(0, 1, is_low_open=True)
    longest = _duration_s(MAX_SCALE_DOWN_S, is_low_open=True)
    with section:
        scaling = Scaling(
            min=section.require("min", count, 1),
            max=section.require("max", count, MAX_REPLICAS),
            target_utilization=section.take("target_utilization", share, default.target_utilization),
            scale_down_after_s=section.take("scale_down_after", longest, default.scale_down_after_s),
        )
        if scaling.max < scaling.min:
            section.report(f"max ({scaling.max}) is below min ({scaling.min})", "raise max, or lower min", "max")
        return scaling


def _labels(node: Node) -> tuple[tuple[str, str], ...]:
    """Reads ``{zone: eu-1}``: labels of Ray's nodes, each with the value that it must have."""
    if not isinstance(node, Mapping) or not node.entries:
        raise PipelineError("must be labels of nodes", remedy="write them with their values, such as {zone: eu-1}")
    return tuple((placed(_label_name, entry.key), placed(_label_value, entry.value)) for entry in node.entries)


def _label_name(node: Node) -> str:
    name = text(node)
    if not _LABEL_NAME.fullmatch(name):
        raise PipelineError(
            f"{name[:60]!r} is no label of a node",
            remedy="write it as Ray does: zone, or ray.io/market-type; up to 63 letters, digits, '.', '_' and '-'",
        )
    return name


def _label_value(node: Node) -> str:
    value = text(node)
    if not _LABEL_VALUE.fullmatch(value):
        raise PipelineError(
            f"{value[:60]!r} is no value of a label",
            remedy="write one value: up to 63 letters, digits, '.', '_' and '-'; a letter or digit at both ends",
        )
    return value


def _online(section: Section) -> OnlinePolicy:
    default = OnlinePolicy()
    with section:
        policy = OnlinePolicy(
            max_age_s=section.take("max_age", _duration_s(_LONGEST_AGE_S, is_low_open=True), default.max_age_s),
            on_missing=section.take("on_missing", _one_of("error", "default"), default.on_missing),
            on_stale=section.take("on_stale", _one_of("serve", "error", "default"), default.on_stale),
            on_unavailable=section.take("on_unavailable", _one_of("error", "default"), default.on_unavailable),
        )
        if section.has("on_stale") and not section.has("max_age"):
            section.report("without max_age nothing is stale", "add max_age, such as '45d', or remove this", "on_stale")
        return policy


def _access(section: Section) -> AccessPolicy:
    with section:
        return AccessPolicy(require_key=section.take("require_key", flag, None))


def _gpus(node: Node) -> float:
    num_gpus = number(0, 64)(node)
    if num_gpus > 1 and num_gpus != int(num_gpus):
        raise PipelineError(
            f"a replica cannot have {num_gpus:g} GPUs", remedy="write a fraction up to 1 or a whole number, as Ray does"
        )
    return num_gpus
