"""SageMaker, S3 and CloudWatch by moto, over HTTP, with what moto lacks: `update_endpoint`, time, traffic and refusals.

Time is a clock that stands still. `World.pause` moves it, and all that depends on it: endpoints get into service after
`SETTLES_S`, and each minute leaves points of each variant's traffic in CloudWatch.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.models import FakeEndpoint, SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from benchmarks.harness.bench_bundle import MODEL, write_workload
from deploy.aws.session import AwsSession
from deploy.shipping.console import LineConsole
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Release
from deploy.shipping.run import deploy
from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.shipping.sagemaker.target import SageMakerTarget
from deploy.shipping.target import Opening
from divisions.artifacts.local import bundles_folder
from divisions.bundle import bundle_address
from divisions.clock import ManualClock
from divisions.pipeline.file import parse_pipeline
from divisions.settings import Settings

REGION, ACCOUNT = "eu-central-1", "123456789012"
BUCKET = "models"
SETTLES_S = 40.0
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/divisions@sha256:{'a' * 64}"
SETTINGS = SageMakerSettings(
    image=IMAGE,
    execution_role=f"arn:aws:iam::{ACCOUNT}:role/sagemaker",
    bucket=f"s3://{BUCKET}/divisions",
    instance_type="ml.m5.large",
    instances=2,
    endpoint="churn",
    region=REGION,
)
PIPELINE = """
pipeline: churn-v3
stages:
  data_prep: {input: d}
  deployment:
    endpoint: /api/v2/predict/churn
    strategy: "canary: 20% → 50% → 100%"
"""


@dataclass
class Behaviour:
    """A variant's minutes: requests that fail, and the model's average latency."""

    error_rate: float = 0.0
    latency_ms: float = 20.0


class KilledError(BaseException):
    """Stands for `kill -9`: nothing catches it."""


def extend_moto(monkeypatch: Any) -> None:
    """Gives moto what SageMaker has: updates that take time, and refusals of what is there or under way already."""

    def settle_later(endpoint: FakeEndpoint, status: str) -> None:
        endpoint.endpoint_status = status
        endpoint.last_modified_time = now()

    def require_settled(endpoint: FakeEndpoint) -> None:
        if endpoint.endpoint_status != "InService":
            raise AWSValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')

    def update_endpoint(self: SageMakerResponse) -> str:
        backend = self.sagemaker_backend
        endpoint = backend.endpoints[self._get_param("EndpointName")]
        require_settled(endpoint)
        name = self._get_param("EndpointConfigName")
        variants = backend.describe_endpoint_config(name)["ProductionVariants"]
        endpoint.wanted = name, endpoint._process_production_variants(variants)
        settle_later(endpoint, "Updating")
        return msgspec.json.encode({"EndpointArn": endpoint.arn}).decode()

    shift = SageMakerModelBackend.update_endpoint_weights_and_capacities

    def update_weights(self: SageMakerModelBackend, endpoint_name: str, desired_weights_and_capacities: Any) -> str:
        require_settled(self.endpoints[endpoint_name])
        assert all(each["DesiredInstanceCount"] for each in desired_weights_and_capacities)
        arn = shift(self, endpoint_name, desired_weights_and_capacities)
        settle_later(self.endpoints[endpoint_name], "Updating")
        return arn

    create = SageMakerModelBackend.create_endpoint

    def create_endpoint(self: SageMakerModelBackend, endpoint_name: str, **given: Any) -> FakeEndpoint:
        if endpoint_name in self.endpoints:
            raise AWSValidationException(f'Cannot create already existing endpoint "{endpoint_name}".')
        endpoint = create(self, endpoint_name, **given)
        settle_later(endpoint, "Creating")
        return endpoint

    configure = SageMakerModelBackend.create_endpoint_config

    def create_config(self: SageMakerModelBackend, endpoint_config_name: str, **given: Any) -> Any:
        if endpoint_config_name in self.endpoint_configs:
            raise AWSValidationException(
                f'Cannot create already existing endpoint configuration "{endpoint_config_name}".'
            )
        return configure(self, endpoint_config_name, **given)

    monkeypatch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
    monkeypatch.setattr(SageMakerModelBackend, "update_endpoint_weights_and_capacities", update_weights)
    monkeypatch.setattr(SageMakerModelBackend, "create_endpoint", create_endpoint)
    monkeypatch.setattr(SageMakerModelBackend, "create_endpoint_config", create_config)


_CLOCKS: list[ManualClock] = []


def now() -> dt.datetime:
    return dt.datetime.fromtimestamp(_CLOCKS[-1].wall_s(), dt.UTC).replace(tzinfo=None)


@dataclass
class World:
    """An account, two releases, and people who ask the endpoint."""

    home: Path
    session: AwsSession
    clock: ManualClock = field(default_factory=ManualClock)
    requests_per_minute: int = 6_000
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    """By version; others behave as usual."""
    said: list[str] = field(default_factory=list)
    on_pause: Callable[[], None] = lambda: None
    analysis: str = ""
    """More lines of the pipeline's section `deployment`."""
    failure: str = ""
    """Why the next update of the endpoint fails; empty if it does not."""
    shares: list[tuple[str, ...]] = field(default_factory=list)
    """Each split of the traffic that was in force, as ``version: share``."""

    def __post_init__(self) -> None:
        _CLOCKS.append(self.clock)
        self.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})

    def client(self, service: str) -> Any:
        return self.session.client(service)

    @property
    def backend(self) -> SageMakerModelBackend:
        return sagemaker_backends[ACCOUNT][REGION]

    @property
    def endpoint(self) -> FakeEndpoint | None:
        return self.backend.endpoints.get("churn")

    @property
    def weights(self) -> dict[str, float]:
        """By variant, without the digest of its name."""
        assert self.endpoint is not None
        return {each["VariantName"][:-11]: each.get("CurrentWeight", 0.0) for each in self.endpoint.production_variants}

    def release(self, version: str) -> Release:
        folder = bundles_folder(self.home)
        workload = self._bundles.get(version) or write_workload(
            folder / "draft" / version, num_features=4, seed=int(version[-1]), widths=(4,)
        )
        self._bundles[version] = workload
        address = bundle_address(MODEL, workload.bundle_sha256)
        if not (folder / address).exists():
            (folder / address).parent.mkdir(parents=True, exist_ok=True)
            (folder / address).symlink_to(workload.bundle)
        return Release(MODEL, version, "churn", address, workload.bundle_sha256, "churn-v3", "1" * 64)

    _bundles: dict[str, Any] = field(default_factory=dict)

    def target(self, version: str, *, is_forced: bool = False, goes_back: bool = False) -> SageMakerTarget:
        registered: Any = None  # the target reads nothing of it
        settings = Settings(home=self.home)
        pipeline = parse_pipeline(PIPELINE + self.analysis)
        forces = {"is_forced": is_forced, "goes_back": goes_back}
        opening = Opening("sagemaker", settings, pipeline, registered, self.clock, **forces)
        return SageMakerTarget(opening, SETTINGS, self.session, self.pause)

    def deploy(self, version: str, *, is_forced: bool = False, goes_back: bool = False) -> Ending:
        journal = DeploymentJournal(self.home, self.clock)
        console = LineConsole(self.clock, lambda line: self.said.append(line[11:]))
        target = self.target(version, is_forced=is_forced, goes_back=goes_back)
        return deploy(target, self.release(version), journal, console, self.clock, who="ann")

    # -- time ---------------------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        before_s = self.clock.wall_s()
        self.clock.advance(seconds)
        if math.floor(before_s / 60) != math.floor(self.clock.wall_s() / 60):
            self._trace(math.floor(before_s / 60) * 60.0)
        self._settle()
        self.on_pause()

    def _settle(self) -> None:
        endpoint = self.endpoint
        if endpoint is None or endpoint.endpoint_status == "InService":
            return
        age_s = (now() - endpoint.last_modified_time).total_seconds()
        if age_s < SETTLES_S:
            return
        wanted = getattr(endpoint, "wanted", None)
        endpoint.failure_reason = self.failure or None
        if endpoint.endpoint_status == "Creating" and self.failure:
            endpoint.endpoint_status = "Failed"
            return
        if wanted is not None and not self.failure:
            endpoint.endpoint_config_name, endpoint.production_variants = wanted
        endpoint.wanted = None
        endpoint.endpoint_status = "InService"
        share = tuple(f"{name.rpartition('v')[2]}: {weight:g}" for name, weight in self.weights.items())
        if not self.shares or self.shares[-1] != share:
            self.shares.append(share)

    def _trace(self, minute_s: float) -> None:
        """The points of a minute, as SageMaker's endpoints leave them."""
        endpoint = self.endpoint
        total = sum(self.weights.values()) if endpoint is not None else 0
        if endpoint is None or not total:
            return
        data = []
        for number, variant in enumerate(endpoint.production_variants):
            name = variant["VariantName"]
            requests = round(self.requests_per_minute * variant.get("CurrentWeight", 0.0) / total)
            if not requests:
                continue
            version = name[:-11].rpartition("v")[2].replace("-", ".")
            behaviour = self.behaviours.get(version, Behaviour())
            wobble = 1.0 + 0.02 * math.sin(minute_s / 60 * 1.7 + number)
            values = {
                "Invocations": requests,
                "Invocation5XXErrors": round(requests * behaviour.error_rate),
                "ModelLatency": behaviour.latency_ms * 1_000 * wobble,
            }
            dimensions = [{"Name": "EndpointName", "Value": "churn"}, {"Name": "VariantName", "Value": name}]
            at = dt.datetime.fromtimestamp(minute_s, dt.UTC)
            data += [
                {"MetricName": metric, "Dimensions": dimensions, "Timestamp": at, "Value": value}
                for metric, value in values.items()
            ]
        self.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=data)
