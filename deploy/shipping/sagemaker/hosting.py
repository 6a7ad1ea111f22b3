"""SageMaker's models, endpoint configurations and endpoints: reading, making and changing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.aws.refusals import short
from deploy.aws.session import AwsSession
from deploy.shipping.sagemaker.names import named
from deploy.shipping.sagemaker.observed import FAILED, IN_SERVICE, Endpoint, Variant
from divisions.clock import Clock
from divisions.control import FULL_BP
from divisions.errors import CloudError, ClusterError, ConflictError

PATIENCE_S: Final = 3_600.0
"""How long an endpoint may take to get into service: it starts instances, pulls an image and a model."""
POLL_S: Final = 5.0
SAYS_EACH_S: Final = 60.0
ROLLED_BACK_TAG: Final = "divisions:rolled-back"
_SHA256: Final = "bundle-sha256"
_COMMON: Final = (
    "DataCaptureConfig",
    "KmsKeyId",
    "ExplainerConfig",
    "ExecutionRoleArn",
    "VpcConfig",
    "EnableNetworkIsolation",
)
"""What a configuration says of all variants, and the next one says again."""
_UNSETTLED: Final = {"UpdateRollbackFailed", "OutOfService", "Deleting"}


class Hosting:
    """The endpoint ``endpoint`` of one account and region.

    Args:
        session: with the rights that docs/sagemaker.md lists.
        endpoint: its name.
        clock: for waiting.
        pause: waits for a number of seconds.
    """

    def __init__(self, session: AwsSession, endpoint: str, clock: Clock, pause: Callable[[float], None]) -> None:
        self.session = session
        self.endpoint = endpoint
        self._clock = clock
        self._pause = pause
        self._configurations: dict[str, dict[str, Any]] = {}

    # -- reading ------------------------------------------------------------------------------------------------

    def describe(self) -> Endpoint | None:
        """The endpoint; None if there is none.

        Raises:
            ConflictError: one of its variants has no instances of its own.
            CloudError: AWS does not answer, or refuses.
        """
        doing = f"looking for endpoint {self.endpoint}"
        found = self._found("describe_endpoint", doing, EndpointName=self.endpoint)
        if found is None:
            return None
        config = self._configuration(found["EndpointConfigName"])
        if "AsyncInferenceConfig" in config:
            raise ConflictError(
                f"endpoint {self.endpoint} is asynchronous", remedy="name another endpoint in the target"
            )
        now = {variant["VariantName"]: variant for variant in found.get("ProductionVariants", ())}
        return Endpoint(
            self.endpoint,
            found["EndpointStatus"],
            found["EndpointConfigName"],
            tuple(self._variant(each, now.get(each["VariantName"], {})) for each in config["ProductionVariants"]),
            short(found.get("FailureReason") or ""),
            found["LastModifiedTime"].timestamp(),
            {key: config[key] for key in _COMMON if config.get(key)},
        )

    def _configuration(self, name: str) -> dict[str, Any]:
        """A configuration. It is read once: SageMaker cannot change one."""
        if name not in self._configurations:
            doing = f"looking for the configuration of endpoint {self.endpoint}"
            found = self.session.call("sagemaker", "describe_endpoint_config", doing, EndpointConfigName=name)
            self._configurations[name] = found
        return self._configurations[name]

    def _variant(self, config: Mapping[str, Any], now: Mapping[str, Any]) -> Variant:
        if "InstanceType" not in config or "ModelName" not in config:
            raise ConflictError(
                f"variant {config['VariantName']} of endpoint {self.endpoint} has no instances of its own",
                remedy="name another endpoint in the target: traffic cannot be shifted from a serverless variant",
            )
        count = int(now.get("DesiredInstanceCount", config.get("InitialInstanceCount", 1)))
        return Variant(
            config["VariantName"],
            config["InstanceType"],
            float(now.get("DesiredWeight", now.get("CurrentWeight", config.get("InitialVariantWeight", 0.0)))),
            count,
            int(now.get("CurrentInstanceCount", 0)),
            config,
        )

    def model(self, name: str) -> dict[str, Any] | None:
        """A model; None if there is none."""
        return self._found("describe_model", f"looking for model {name}", ModelName=name)

    def rolled_back(self, model_arn: str) -> str:
        """Why a model was taken back from this endpoint before; empty if it was not."""
        reply = self.session.call("sagemaker", "list_tags", "reading a model's tags", ResourceArn=model_arn)
        found: dict[str, str] = {tag["Key"]: tag["Value"] for tag in reply["Tags"]}
        return found.get(self._tag, "")

    def has_upload(self, bucket: str, key: str, bundle_sha256: str) -> bool:
        """Whether S3 has the bundle's tar."""
        try:
            doing = f"looking for s3://{bucket}/{key}"
            found = self.session.call("s3", "head_object", doing, Bucket=bucket, Key=key)
        except CloudError as error:
            if error.code in {"403", "404", "NoSuchKey", "NotFound"}:  # 403: absent, or we may not know.
                return False
            raise
        metadata: dict[str, str] = found.get("Metadata", {})
        return metadata.get(_SHA256) == bundle_sha256

    # -- changing -----------------------------------------------------------------------------------------------

    def upload(self, bucket: str, key: str, tar: Path, bundle_sha256: str) -> None:
        def put() -> dict[str, Any]:
            with tar.open("rb") as content:
                return self.session.once(
                    "s3",
                    "put_object",
                    f"uploading to s3://{bucket}/{key}",
                    Bucket=bucket,
                    Key=key,
                    Body=content,
                    ChecksumAlgorithm="SHA256",
                    Metadata={_SHA256: bundle_sha256},
                )

        self.session.renewing(put)

    def create_model(self, name: str, execution_role: str, container: Mapping[str, Any]) -> None:
        """Makes a model; one of this name is the same, because the name has a digest of its content."""
        self._make(
            "create_model",
            f"creating model {name}",
            ModelName=name,
            ExecutionRoleArn=execution_role,
            PrimaryContainer=dict(container),
        )

    def create_endpoint(self, variant: Mapping[str, Any]) -> None:
        config = self._config((variant,), {})
        doing = f"creating endpoint {self.endpoint}"
        self._make("create_endpoint", doing, EndpointName=self.endpoint, EndpointConfigName=config)

    def delete_endpoint(self) -> None:
        doing = f"deleting endpoint {self.endpoint}"
        self.session.call("sagemaker", "delete_endpoint", doing, EndpointName=self.endpoint)

    def change_variants(
        self, endpoint: Endpoint, variants: Sequence[Mapping[str, Any]], say: Callable[[str], None]
    ) -> Endpoint:
        """Brings other variants to the endpoint, with the weights that they have here, and waits.

        Raises:
            ClusterError: SageMaker went back to the configuration before.
        """
        config = self._config(variants, endpoint.common)
        found = self.wait(say)
        if found.config != config:
            self.session.call(
                "sagemaker",
                "update_endpoint",
                f"changing the variants of endpoint {self.endpoint}",
                EndpointName=self.endpoint,
                EndpointConfigName=config,
                RetainAllVariantProperties=False,
            )
            found = self.wait(say)
        if found.config != config:
            raise ClusterError(
                f"SageMaker could not change endpoint {self.endpoint}: {found.failure or 'it does not say why'}",
                remedy=f"what it served before serves on; see the logs in /aws/sagemaker/Endpoints/{self.endpoint}",
            )
        return found

    def set_weights(self, endpoint: Endpoint, weights_bp: Mapping[str, int], say: Callable[[str], None]) -> Endpoint:
        """Gives each variant its share of the traffic, and waits until it has it.

        Both counts go along: without them, some servers forget how many instances a variant has.
        """
        endpoint = self.wait(say)
        self.session.call(
            "sagemaker",
            "update_endpoint_weights_and_capacities",
            f"shifting traffic of endpoint {self.endpoint}",
            EndpointName=self.endpoint,
            DesiredWeightsAndCapacities=[
                {
                    "VariantName": variant.name,
                    "DesiredWeight": weights_bp[variant.name] / 100,
                    "DesiredInstanceCount": variant.count,
                }
                for variant in endpoint.variants
            ],
        )
        found = self.wait(say)
        wrong = [each.name for each in found.variants if found.share_bp(each) != weights_bp[each.name]]
        if wrong:
            raise ClusterError(
                f"SageMaker could not shift traffic of {self.endpoint}: {found.failure or 'it does not say why'}",
                remedy="look at the endpoint, and run the same command again",
            )
        return found

    def wait(self, say: Callable[[str], None]) -> Endpoint:
        """Waits until the endpoint is in service.

        Raises:
            ClusterError: it is gone, has failed, or takes too long.
        """
        began_s = self._clock.monotonic_s()
        said_s = began_s
        while True:
            found = self.describe()
            if found is None:
                raise ClusterError(f"endpoint {self.endpoint} is gone", remedy="deploy again")
            if found.status == IN_SERVICE:
                return found
            now_s = self._clock.monotonic_s()
            if found.status == FAILED or found.status in _UNSETTLED:
                raise ClusterError(
                    f"endpoint {self.endpoint} is {found.status}: {found.failure or 'SageMaker does not say why'}",
                    remedy=f"see the logs in /aws/sagemaker/Endpoints/{self.endpoint}",
                )
            if now_s - began_s > PATIENCE_S:
                raise ClusterError(
                    f"endpoint {self.endpoint} is {found.status} for {PATIENCE_S / 60:.0f} minutes",
                    remedy="look at its instances and logs; the same command goes on waiting",
                )
            if now_s - said_s >= SAYS_EACH_S:
                said_s = now_s
                say(f"{self.endpoint} is {found.status} for {now_s - began_s:.0f} s")
            self._pause(POLL_S)

    def tag_rolled_back(self, model_arn: str, reason: str) -> None:
        """Keeps why a model was taken back from this endpoint, for whoever deploys it again."""
        value = "".join(each for each in reason if each.isalnum() or each in " _.:/=+-@")[:250]
        doing = "tagging the model that was rolled back"
        tags = [{"Key": self._tag, "Value": value or "rolled back"}]
        self.session.call("sagemaker", "add_tags", doing, ResourceArn=model_arn, Tags=tags)

    def clear_rolled_back(self, model_arn: str) -> None:
        doing = "removing a tag of the model"
        self.session.call("sagemaker", "delete_tags", doing, ResourceArn=model_arn, TagKeys=[self._tag])

    @property
    def _tag(self) -> str:
        return f"{ROLLED_BACK_TAG}:{self.endpoint}"

    def _config(self, variants: Sequence[Mapping[str, Any]], common: Mapping[str, Any]) -> str:
        """The configuration with these variants, made if it is not there."""
        name = named(self.endpoint, variants, common)
        self._make(
            "create_endpoint_config",
            f"creating configuration {name}",
            EndpointConfigName=name,
            ProductionVariants=list(variants),
            **common,
        )
        return name

    def _make(self, operation: str, doing: str, **arguments: Any) -> None:
        """Makes something whose name says its content; what is there already is as good."""
        try:
            self.session.call("sagemaker", operation, doing, **arguments)
        except CloudError as error:
            if "already exist" not in error.message:
                raise

    def _found(self, operation: str, doing: str, **arguments: Any) -> dict[str, Any] | None:
        try:
            return self.session.call("sagemaker", operation, doing, **arguments)
        except CloudError as error:
            if error.code in {"ValidationException", "ResourceNotFound"} and "Could not find" in error.message:
                return None
            raise


def new_variant(name: str, instance_type: str, count: int, weight_bp: int, startup_s: int) -> dict[str, Any]:
    """A variant of a configuration, for the model of the same name."""
    return {
        "VariantName": name,
        "ModelName": name,
        "InstanceType": instance_type,
        "InitialInstanceCount": count,
        "InitialVariantWeight": weight_bp / 100,
        "ContainerStartupHealthCheckTimeoutInSeconds": startup_s,
    }


def kept(variant: Variant) -> dict[str, Any]:
    """A variant as it is, with all weight, for the next configuration."""
    return {**variant.config, "InitialInstanceCount": variant.count, "InitialVariantWeight": FULL_BP / 100}


def all_to(variant: Variant, endpoint: Endpoint) -> dict[str, int]:
    """Weights that give one variant all traffic."""
    return {each.name: FULL_BP if each is variant else 0 for each in endpoint.variants}
