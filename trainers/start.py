"""The composition root of a run: reads settings and the pipeline file, builds the parts, and starts the run."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.clock import SystemClock
from divisions.errors import RegistryError
from divisions.notice import SpanCounts
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.pipeline.trials_option import with_trials
from divisions.progress import Progress
from divisions.run_log import ARTIFACT, RunLog
from divisions.schedule.obedience import why_not_obeyed
from divisions.settings import Settings
from divisions.traces.steps import TracedProgress
from divisions.traces.work import WorkTraces, open_traces, traced

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from trainers.run import RunOutcome
    from trainers.training.compute import Compute


@dataclass(frozen=True, slots=True)
class StartOptions:
    """A user's options for a run.

    Attributes:
        input_uri: raw events; replaces the file's input. May contain variables.
        today: the day of ``${today}``; None means today in UTC.
        is_deployed: whether a version that passed is rolled out.
        uses_ray: False runs every stage in this process.
        ray_address, gateway_url: replace those of this home's cluster.
        trials, budget: replace those of the file; None and empty leave them.
    """

    pipeline_path: Path
    input_uri: str = ""
    today: dt.date | None = None
    is_deployed: bool = True
    uses_ray: bool = True
    ray_address: str = ""
    gateway_url: str = ""
    trials: int | None = None
    budget: str = ""


def start(options: StartOptions, settings: Settings, progress: Progress) -> RunOutcome:
    """Runs a pipeline up to the registration of the version, or up to the start of its rollout.

    Raises:
        DivisionsError: see `trainers.run.PipelineRun.run`.
    """
    pipeline = with_trials(load_pipeline(options.pipeline_path), options.trials, options.budget)
    traces = open_traces(settings, "divisions-training")
    log = RunLog(TracedProgress(progress, traces) if traces else progress, settings.home, SystemClock())
    try:
        with traced(traces, f"run {pipeline.name}", {"divisions.pipeline": pipeline.name}) as span:
            return _start(options, settings, pipeline, log, traces, span)
    finally:
        counts = traces.close() if traces is not None else SpanCounts()
        if counts.lost:
            progress.notice(f"{counts.lost} spans of the run's trace are lost: {counts.fault}")


def _start(
    options: StartOptions,
    settings: Settings,
    pipeline: Pipeline,
    log: RunLog,
    traces: WorkTraces | None,
    span: Span | None,
) -> RunOutcome:
    clock, progress = SystemClock(), log
    for notice in (why_not_obeyed(settings.home, options.pipeline_path, pipeline), python_notice(pipeline)):
        if notice:
            progress.notice(notice)
    # Before any slow import, so that a missing cluster is reported at once.
    compute = _ray_compute(options, settings, progress) if options.uses_ray else _in_process()
    from divisions.registry import Registry
    from trainers.export.lineage import git_commit_of
    from trainers.run import PipelineRun, RunRequest
    from trainers.stages.mirror import mirror
    from trainers.stages.trainer import trainer_notice, trainer_of
    from trainers.training.cluster_file import cluster_gateway

    gateway_url = ""
    if options.is_deployed:
        gateway_url = options.gateway_url or settings.gateway or cluster_gateway(settings.home)
        if not gateway_url:
            progress.notice(f"no gateway of {settings.home} is up: the version will be registered, but not served")
    trainer = trainer_of(settings, options.gateway_url)
    if notice := trainer_notice(pipeline, settings.environment, trainer):
        progress.notice(notice)
    request = RunRequest(
        pipeline=pipeline,
        pipeline_text=options.pipeline_path.read_text(encoding="utf-8"),
        today=options.today or dt.datetime.fromtimestamp(clock.wall_s(), dt.UTC).date(),
        input_uri=options.input_uri,
        gateway_url=gateway_url,
        is_own_gateway=gateway_url == cluster_gateway(settings.home),
        git_commit=git_commit_of(options.pipeline_path.absolute().parent),
        trainer=trainer,
    )
    registry = Registry(settings.home, settings.tracking_uri, clock, settings.artifacts)
    run_ids: list[str] = []

    def began(run_id: str) -> None:
        run_ids.append(run_id)
        log.begin(run_id)
        if span is not None:
            span.set_attribute("divisions.run_id", run_id)

    def keep_log() -> None:
        with contextlib.suppress(RegistryError):  # the log is in the home, too
            for run_id in run_ids:
                registry.keep_text(run_id, ARTIFACT, log.text)

    def show_elsewhere() -> None:
        for run_id in run_ids:
            mirror(settings, run_id, progress)

    try:
        outcome = PipelineRun(settings, registry, compute, progress, clock, traces, began).run(request)
    except BaseException as error:
        log.error(str(error) or type(error).__name__)
        if not isinstance(error, RegistryError | KeyboardInterrupt):  # nobody waits for a registry that does not answer
            keep_log()
            show_elsewhere()
        raise
    keep_log()
    show_elsewhere()
    return outcome


def python_notice(pipeline: Pipeline, present: tuple[int, int] = sys.version_info[:2]) -> str:
    """Says which stages ask for another Python than ours; empty if none does. Like a GPU that is missing, it is told.

    >>> from divisions.pipeline.file import parse_pipeline
    >>> stages = "data_prep: {input: x, runtime: 'python:3.8-cpu'}, deployment: {endpoint: /api/v2/predict/churn}"
    >>> python_notice(parse_pipeline("pipeline: churn\\nstages: {" + stages + "}"), (3, 12))
    'data_prep asks for Python 3.8; it runs with 3.12, as everything of this installation'
    """
    ours = f"{present[0]}.{present[1]}"
    stages = {"data_prep": pipeline.data_prep.runtime.python, "training": pipeline.training.runtime.python}
    others = [f"{stage} asks for Python {asked}" for stage, asked in stages.items() if asked and asked != ours]
    return f"{', '.join(others)}; it runs with {ours}, as everything of this installation" if others else ""


def _ray_compute(options: StartOptions, settings: Settings, progress: Progress) -> Compute:
    from trainers.training.cluster_file import cluster_address, prepare_environment

    address = cluster_address(settings, options.ray_address)
    prepare_environment(settings)
    from trainers.training import ray_session
    from trainers.training.ray_compute import RayCompute
    from trainers.training.ray_messages import LOG, RayMessages, take_messages

    messages = RayMessages(settings.home / "logs" / LOG, progress)
    take_messages(messages)
    ray_session.connect(address)
    return RayCompute(settings, messages)


def _in_process() -> Compute:
    from trainers.training.compute import InProcess

    return InProcess()
