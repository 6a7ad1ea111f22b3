"""The target ``sagemaker``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.aws.session import AwsSession
from deploy.shipping.release import Act, Ending, Plan, Receipt, Release, Step
from deploy.shipping.sagemaker import plan as plans
from deploy.shipping.sagemaker.hosting import Hosting, all_to, kept, new_variant
from deploy.shipping.sagemaker.names import model_name
from deploy.shipping.sagemaker.observed import Endpoint, Observed, Situation, Variant, serving_variant, situation
from deploy.shipping.sagemaker.rollout import REGRESSION, Rollout, policy_of
from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.shipping.target import Opening, Served, Work
from divisions.artifacts.cache import Bundles
from divisions.artifacts.tarball import write_tarball
from divisions.control import FULL_BP
from divisions.errors import ConflictError

Say = Callable[[str], None]


VERSION: Final = "DIVISIONS_SERVE_VERSION"
"""The variable of a model's container that has the version's name."""


class SageMakerTarget:
    """An endpoint of SageMaker.

    Args:
        opening: the release's pipeline, the home and the clock.
        settings: the target's, with the endpoint's name.
        session: to AWS.
        pause: waits for a number of seconds.
    """

    def __init__(
        self,
        opening: Opening,
        settings: SageMakerSettings,
        session: AwsSession,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = opening.name
        how = f"role {settings.role}" if settings.role else f"profile {settings.profile}" if settings.profile else "IAM"
        self.login = Step("authenticate", f"Authenticate with AWS ({how}, {session.region})", Act.AUTHENTICATE)
        self._opening = opening
        self._settings = settings
        self._session = session
        self._pause = pause
        self._hosting = Hosting(session, settings.endpoint, opening.clock, pause)

    def authenticate(self) -> Receipt:
        return Receipt(str(self._session.caller()))

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        name = self._model_name(release)
        model = self._hosting.model(name)
        observed = Observed(
            self._hosting.describe(),
            has_model=model is not None,
            has_upload=self._hosting.has_upload(*self._upload_place(release), release.bundle_sha256),
            rolled_back="" if model is None else self._hosting.rolled_back(model["ModelArn"]),
        )
        steps_bp = self._opening.pipeline.deployment.steps_bp
        is_forced = self._opening.is_forced
        return plans.make_plan(
            release, name, self._settings, steps_bp, observed, is_watched=is_watched, is_forced=is_forced
        )

    def apply(self, step: Step, work: Work) -> Receipt:
        release = work.release
        name = self._model_name(release)
        match step.name:
            case plans.UPLOAD:
                return self._upload(release)
            case plans.MODEL:
                self._create_model(release, name)
                return Receipt("")
            case plans.DELETE:
                self._hosting.delete_endpoint()
                return Receipt("")
            case plans.CREATE:
                return self._create(release, name, work.say)
            case plans.ADD:
                return self._add(name, work.say)
            case _:
                return self._return(name, work.say)

    def watch(self, work: Work) -> Receipt:
        pipeline = self._opening.pipeline
        holds = pipeline.validation.rollback_policy.value == "hold"
        policy = policy_of(pipeline.deployment.steps_bp, pipeline.deployment.analysis, holds_on_failure=holds)
        name = self._model_name(work.release)
        self._forgive(name)
        return Rollout(self._hosting, name, policy, self._opening.clock, self._pause).run(work)

    def served(self, endpoint: str) -> Served:
        """The version before is known while its variant is there: during a rollout, and a while after it."""
        found = self._hosting.describe()
        versions = [] if found is None else [self._version(variant) for variant in found.variants]
        return Served(*reversed(versions)) if len(versions) <= 2 else Served()

    def _version(self, variant: Variant) -> str:
        model = self._hosting.model(str(variant.config.get("ModelName") or variant.name)) or {}
        container = model.get("PrimaryContainer") or {}
        return str((container.get("Environment") or {}).get(VERSION, ""))

    def rollback(self, work: Work) -> Receipt:
        """Weight first: from its first call on, no request goes to the canary."""
        name = self._model_name(work.release)
        endpoint = self._hosting.wait(work.say)
        if situation(endpoint, name) is Situation.CANARY:
            stable = endpoint.variants[0]
            self._take_all_weight(endpoint, stable, work.say)
            model = self._hosting.model(name)
            if model is not None:
                self._hosting.tag_rolled_back(model["ModelArn"], work.facts.get(REGRESSION, ""))
            self._hosting.change_variants(endpoint, (kept(stable),), work.say)
        return Receipt(f"{endpoint.variants[0].name} has all traffic")

    # -- steps --------------------------------------------------------------------------------------------------

    def _upload(self, release: Release) -> Receipt:
        bundles = Bundles.of(self._opening.settings)
        folder, _ = bundles.open(release.bundle, release.bundle_sha256)
        bucket, key = self._upload_place(release)
        with tempfile.TemporaryDirectory(prefix="divisions-upload-") as workspace:
            tar = Path(workspace) / "model.tar.gz"
            write_tarball(folder, tar)
            size = tar.stat().st_size
            self._hosting.upload(bucket, key, tar, release.bundle_sha256)
        return Receipt(f"s3://{bucket}/{key}, {size:,} bytes")

    def _create_model(self, release: Release, name: str) -> None:
        bucket, key = self._upload_place(release)
        container = {
            "Image": self._settings.image,
            "ModelDataUrl": f"s3://{bucket}/{key}",
            "Environment": {
                "DIVISIONS_SERVE_ENDPOINT": release.endpoint,
                VERSION: release.version,
                "DIVISIONS_SERVE_SHA256": release.bundle_sha256,
            },
        }
        self._hosting.create_model(name, self._settings.execution_role, container)

    def _create(self, release: Release, name: str, say: Say) -> Receipt:
        settings = self._settings
        self._hosting.create_endpoint(self._new_variant(name, FULL_BP))
        endpoint = self._hosting.wait(say)
        if situation(endpoint, name) is not Situation.SERVED:
            raise ConflictError(
                f"somebody else has made endpoint {settings.endpoint} meanwhile",
                remedy="deploy again, beside its version",
            )
        return Receipt(f"{settings.instances} × {settings.instance_type}", Ending.PROMOTED)

    def _add(self, name: str, say: Say) -> Receipt:
        endpoint = self._hosting.wait(say)
        settings = self._settings
        if situation(endpoint, name) is not Situation.CANARY:  # It is there when a call before was cut off.
            self._forgive(name)
            variants = (kept(serving_variant(endpoint)), self._new_variant(name, 0))
            endpoint = self._hosting.change_variants(endpoint, variants, say)
        return Receipt(f"{settings.instances} × {settings.instance_type} beside {endpoint.variants[0].name}")

    def _return(self, name: str, say: Say) -> Receipt:
        endpoint = self._hosting.wait(say)
        if situation(endpoint, name) is Situation.STABLE:
            stable = endpoint.variants[0]
            self._take_all_weight(endpoint, stable, say)
            self._hosting.change_variants(endpoint, (kept(stable),), say)
        return Receipt("", Ending.PROMOTED)

    def _take_all_weight(self, endpoint: Endpoint, variant: Variant, say: Say) -> None:
        if endpoint.share_bp(variant) != FULL_BP:
            self._hosting.set_weights(endpoint, all_to(variant, endpoint), say)

    def _forgive(self, name: str) -> None:
        """By force, a release that was rolled back is as good as any."""
        model = self._hosting.model(name) if self._opening.is_forced else None
        if model is not None:
            self._hosting.clear_rolled_back(model["ModelArn"])

    # -- names --------------------------------------------------------------------------------------------------

    def _model_name(self, release: Release) -> str:
        return model_name(release, self._settings.image, self._settings.execution_role)

    def _new_variant(self, name: str, weight_bp: int) -> dict[str, Any]:
        settings = self._settings
        return new_variant(name, settings.instance_type, settings.instances, weight_bp, settings.startup_s)

    def _upload_place(self, release: Release) -> tuple[str, str]:
        bucket, _ = self._settings.bucket_and_prefix
        return bucket, self._settings.upload_key(release.model, release.bundle_sha256)
