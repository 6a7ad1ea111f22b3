"""The composition root of ``divisions data describe``: settings, pipeline file and registry to a description."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from divisions.bundle import read_bundle
from divisions.clock import SystemClock
from divisions.errors import BundleError, RegistryError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.pipeline.variables import expand
from divisions.settings import Settings, load_settings
from trainers.data.description import NOTHING_DECLARED, Declared, Description, describe
from trainers.data.engine import limits_for
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds


@dataclass(frozen=True, slots=True)
class DescribeOptions:
    """A user's options. An empty ``input_uri`` means the pipeline file's input; ``today`` None means today in UTC."""

    input_uri: str = ""
    pipeline_path: Path | None = None
    today: dt.date | None = None


def describe_input(options: DescribeOptions) -> Description:
    """Raises:
    DivisionsError: the pipeline file or the input cannot be read.
    """
    settings = load_settings()
    uri, declared = options.input_uri, NOTHING_DECLARED
    if options.pipeline_path is not None:
        pipeline = load_pipeline(options.pipeline_path)
        today = options.today or dt.datetime.fromtimestamp(SystemClock().wall_s(), dt.UTC).date()
        uri = expand(uri or pipeline.data_prep.input, today, pipeline=pipeline.name)
        resources = pipeline.data_prep.resources
        declared = Declared(
            features=pipeline.features,
            label=pipeline.label,
            form=pipeline.data_prep.format,
            limits=limits_for(resources.num_cpus, resources.memory_gb),
            known=_known_kinds(settings, pipeline),
        )
    return describe(uri, s3=settings.s3, allow_buckets=settings.allow_buckets, declared=declared)


def _known_kinds(settings: Settings, pipeline: Pipeline) -> KnownKinds:
    """The kinds of the version that a run would be compared with. Makes no registry where there is none."""
    from divisions.registry import Registry

    if not settings.tracking_uri and not (settings.home / "mlflow.db").exists():
        return NOTHING_KNOWN
    try:
        version = Registry(settings.home, settings.tracking_uri).reference_version(pipeline.model_name)
        if version is None:
            return NOTHING_KNOWN
        return KnownKinds.of(version.version, read_bundle(version.bundle_path, version.bundle_sha256).schema)
    except (RegistryError, BundleError):
        return NOTHING_KNOWN  # A run says why; a look at the data needs no registry.
