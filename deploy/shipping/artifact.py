"""The artifact of a release: the bundle is checked, packed, pushed and signed before a target's own steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.shipping.release import Plan, Receipt, Release, Step
from deploy.shipping.target import Served, Target, Work
from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import local_bundle
from divisions.artifacts.oci_store import OciStore
from divisions.artifacts.signing import Statements, is_signed, sign
from divisions.artifacts.tarball import tarball_name, write_tarball
from divisions.attestation.keys import SigningKey
from divisions.bundle import MANIFEST, Manifest
from divisions.errors import BundleError, RegistryError

CHECK, PACKAGE, PUSH, SIGN, IMAGE = "check", "package", "push", "sign", "image"


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """The image that a trusted key must have signed. ``signer`` returns that key, or raises `BundleError`."""

    image: str
    signer: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store of a target has.

    Attributes:
        store: its name; empty without one.
        has_bundle: whether it has the release's bundle; true without a store.
        is_packed: whether it takes the bundle as one file.
        signer: the key that has still to sign; empty if there is none, or it has signed.
    """

    store: str = ""
    has_bundle: bool = True
    is_packed: bool = False
    signer: str = ""


def artifact_steps(release: Release, stored: Stored) -> tuple[Step, ...]:
    """The steps from what the store has. Pure."""
    steps = [Step(CHECK, f"Check every byte of {release.bundle}")]
    if not stored.has_bundle and stored.is_packed:
        steps.append(Step(PACKAGE, f"Package {tarball_name(release.model, release.version)}"))
    if not stored.has_bundle:
        steps.append(Step(PUSH, f"Push the bundle to {stored.store}"))
    if stored.signer:
        steps.append(Step(SIGN, f"Sign its provenance and bill of materials with {stored.signer}"))
    return tuple(steps)


class WithArtifact:
    """A target whose plan begins with the steps of the artifact, unless nothing is to be applied.

    Args:
        bundles: of this machine, with the target's store.
        key: signs the bundle; None if nobody signs here.
        statements: makes what is signed, from the bundle's manifest.
        fetch: brings the bundle from elsewhere if neither this machine nor the store has it.
        image: is checked first; None if the target does not ask for it.
    """

    def __init__(
        self,
        target: Target,
        bundles: Bundles,
        key: SigningKey | None = None,
        statements: Callable[[Manifest], Statements] | None = None,
        fetch: Callable[[], None] | None = None,
        image: ImageCheck | None = None,
    ) -> None:
        self._target = target
        # Who signs need not have signed yet.
        self._bundles = bundles if key is None else replace(bundles, trusted=())
        self._key = key
        self._statements = statements
        self._fetch = fetch
        self._image = image

    @property
    def name(self) -> str:
        return self._target.name

    @property
    def login(self) -> Step:
        return self._target.login

    def authenticate(self) -> Receipt:
        return self._target.authenticate()

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        plan = self._target.plan(release, is_watched=is_watched)
        if not plan.applies:
            return plan
        image = (Step(IMAGE, f"Check who has signed {self._image.image}"),) if self._image is not None else ()
        return Plan((*image, *artifact_steps(release, self._stored(release)), *plan.steps), plan.changes, plan.costs)

    def apply(self, step: Step, work: Work) -> Receipt:
        match step.name:
            case "image":
                assert self._image is not None, "planned with an image only"
                return Receipt(f"signed by {self._image.signer()}")
            case "check":
                return self._check(work)
            case "package":
                return self._package(work.release)
            case "push":
                return self._push(work.release)
            case "sign":
                return self._sign(work.release)
            case _:
                return self._target.apply(step, work)

    def watch(self, work: Work) -> Receipt:
        return self._target.watch(work)

    def served(self, endpoint: str) -> Served:
        return self._target.served(endpoint)

    def rollback(self, work: Work) -> Receipt:
        return self._target.rollback(work)

    def _stored(self, release: Release) -> Stored:
        store = self._bundles.store
        has_bundle = store is None or store.has(release.bundle, MANIFEST)
        signer = ""
        if self._key is not None and not (has_bundle and self._is_signed(release, self._key)):
            signer = str(self._key.public)
        return Stored("" if store is None else store.name, has_bundle, isinstance(store, OciStore), signer)

    def _is_signed(self, release: Release, key: SigningKey) -> bool:
        try:
            _, manifest = self._bundles.open(release.bundle, release.bundle_sha256)
        except BundleError:  # The first step tells it.
            return False
        return is_signed(self._bundles.attestations, self._statements_of(manifest), key)

    def _check(self, work: Work) -> Receipt:
        release, unsigned = work.release, replace(self._bundles, trusted=())
        try:
            folder, manifest = unsigned.open(release.bundle, release.bundle_sha256)
        except BundleError as error:
            if self._fetch is None:
                raise
            self._bring(self._fetch, error)
            work.say("fetched from the model registry")
            folder, manifest = unsigned.open(release.bundle, release.bundle_sha256)
        self._bundles.require_signed(release.bundle, release.bundle_sha256)
        size = sum(path.stat().st_size for path in folder.iterdir())
        signed = ", signed by a trusted key" if self._bundles.trusted else ""
        return Receipt(f"{len(manifest.files)} files, {size:,} bytes, as registered{signed}")

    def _bring(self, fetch: Callable[[], None], cause: BundleError) -> None:
        try:
            fetch()
        except (BundleError, RegistryError) as error:
            raise BundleError(f"{cause.message}, and {error.message}", remedy=error.remedy) from None

    def _package(self, release: Release) -> Receipt:
        tar = self._tar(release)
        try:
            tar.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleError(f"{tar.parent} cannot be written: {error.strerror}", remedy="check the disk") from None
        tar_sha256 = write_tarball(self._folder(release), tar)
        return Receipt(f"{tar.stat().st_size:,} bytes, tar sha256:{tar_sha256[:16]}")

    def _push(self, release: Release) -> Receipt:
        store = self._bundles.store
        if isinstance(store, OciStore):
            tar = self._tar(release)
            store.write_packed(release.bundle, tar)
            shutil.rmtree(tar.parent, ignore_errors=True)
        else:
            # The check before has fetched it, and publishing checks each byte again.
            self._bundles.publish(self._folder(release), release.bundle_sha256)
        return Receipt(f"as {release.bundle}")

    def _sign(self, release: Release) -> Receipt:
        assert self._key is not None, "planned with a key only"
        _, manifest = self._bundles.open(release.bundle, release.bundle_sha256)
        statements = self._statements_of(manifest)
        sign(self._bundles.attestations, statements, self._key)
        return Receipt(f"{' and '.join(sorted(statements.by_kind))} of sha256:{release.bundle_sha256[:16]}")

    def _statements_of(self, manifest: Manifest) -> Statements:
        assert self._statements is not None, "given with a key"
        return self._statements(manifest)

    def _folder(self, release: Release) -> Path:
        return local_bundle(self._bundles.home, release.bundle)

    def _tar(self, release: Release) -> Path:
        return self._bundles.home / "packages" / release.bundle / tarball_name(release.model, release.version)
