"""The artifact of a release: what is done with the bundle before a target's own steps."""

from __future__ import annotations

from deploy.shipping.release import Plan, Receipt, Release, Step
from deploy.shipping.target import Target, Work
from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import local_bundle
from divisions.bundle import MANIFEST

CHECK, PUSH = "check", "push"


def artifact_steps(release: Release, store: str, *, is_stored: bool | None) -> tuple[Step, ...]:
    """The steps from what the store has. ``is_stored`` is None without a store. Pure."""
    steps = [Step(CHECK, f"Check every byte of {release.bundle}")]
    if is_stored is False:
        steps.append(Step(PUSH, f"Push the bundle to {store}"))
    return tuple(steps)


class WithArtifact:
    """A target whose plan begins with the steps of the artifact, unless nothing is to be applied."""

    def __init__(self, target: Target, bundles: Bundles) -> None:
        self._target = target
        self._bundles = bundles

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
        store = self._bundles.store
        is_stored = None if store is None else store.has(release.bundle, MANIFEST)
        steps = artifact_steps(release, "" if store is None else store.name, is_stored=is_stored)
        return Plan((*steps, *plan.steps), plan.changes, plan.costs)

    def apply(self, step: Step, work: Work) -> Receipt:
        release = work.release
        if step.name == CHECK:
            folder, manifest = self._bundles.open(release.bundle, release.bundle_sha256)
            size = sum(path.stat().st_size for path in folder.iterdir())
            return Receipt(f"{len(manifest.files)} files, {size:,} bytes, as registered")
        if step.name == PUSH:
            # The check before has fetched it, and publishing checks each byte again.
            self._bundles.publish(local_bundle(self._bundles.home, release.bundle), release.bundle_sha256)
            return Receipt(f"as {release.bundle}")
        return self._target.apply(step, work)

    def watch(self, work: Work) -> Receipt:
        return self._target.watch(work)

    def rollback(self, work: Work) -> Receipt:
        return self._target.rollback(work)
