"""An endpoint's record: its latest rollout, the specs that may not start again, the versions kept for a way back.

The journal stores an `EndpointRecord` whole before anything is carried out; so the record *is* the intent.
`wanted_versions` says what runs, `shares` how traffic is split. Pure; no I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from divisions.control import FULL_BP, RolloutSpec, VersionSpec
from divisions.promotion import NO_POLICY, Approval
from divisions.status import Explanation, HistoryEntry
from router.rollouts import canary
from router.rollouts.canary import Phase, Policy, State

MAX_HISTORY = 60
MAX_LATCHED = 200
MAX_SERVED = 200


class Rollout(msgspec.Struct, frozen=True):
    """One rollout. ``stable`` is the version that served when it began; None for an endpoint's first.

    ``number`` is the endpoint's generation at its beginning, and tells rollouts apart. ``gaps`` says how unlike the
    arms of ``salt`` were before it, for each weight below 100 % (`router.evidence.salts.gaps`); empty if unknown.
    """

    number: int
    spec: RolloutSpec
    spec_sha256: str
    stable: VersionSpec | None
    salt: str
    is_direct: bool
    state: State
    started_at_s: float
    phase_since_s: float
    message: str = ""
    rollback_reason: str = ""
    explanation: Explanation | None = None
    gaps: tuple[tuple[float, ...], ...] = ()
    who: str = ""
    """Who asked for it, and ``role`` is theirs; empty if that is not known."""
    role: str = ""
    is_way_back: bool = False
    """Whether it goes back to what has served before. No policy is asked then."""
    traceparent: str = ""
    """The span of the command that has begun it; empty if that named none."""

    @property
    def policy(self) -> Policy:
        return Policy(
            steps_bp=self.spec.steps_bp,
            analysis=self.spec.analysis,
            has_stable=self.stable is not None,
            is_direct=self.is_direct,
            holds_on_failure=self.spec.rollback_policy == "hold",
        )

    @property
    def canary_bp(self) -> int:
        return canary.canary_bp(self.state, self.policy)

    @property
    def present_gaps(self) -> tuple[float, ...]:
        """``gaps`` at the canary's present weight."""
        by_weight = dict(zip(_weights_bp(self), self.gaps, strict=False))
        return by_weight.get(self.canary_bp, ())


class Retiring(msgspec.Struct, frozen=True):
    """A version without traffic whose replicas are kept warm until ``until_s`` (wall clock)."""

    version: VersionSpec
    until_s: float


class Queued(msgspec.Struct, frozen=True):
    """A rollout that begins as soon as the present one is rolled back."""

    spec: RolloutSpec
    is_direct: bool = False
    who: str = ""
    """Who asked for it, and ``role`` is theirs; empty if that is not known."""
    role: str = ""
    reason: str = ""
    """Why; empty if nobody has said it."""
    traceparent: str = ""
    """The span of the command that wants it; empty if that named none."""


class EndpointRecord(msgspec.Struct, frozen=True):
    """``generation`` rises with every transition. Commands may name the one that their caller saw (If-Match)."""

    endpoint: str
    generation: int
    rollout: Rollout
    latched: tuple[str, ...] = ()
    queued: Queued | None = None
    retiring: tuple[Retiring, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    previous: str | None = None
    """The version that served before the present stable one; a rollback without ``to`` goes there."""
    sizes: dict[str, int] = {}
    """The number of replicas by application, where it is another than its spec says."""
    approvals: tuple[Approval, ...] = ()
    served: tuple[str, ...] = ()
    """Bundles that have served all traffic, by hash: the ways back that need no approval."""
    needed_key: bool = False
    """Whether the endpoint asked for keys when the rollout began; see `needs_key`."""


@dataclass(frozen=True, slots=True)
class Share:
    """One version's share of an endpoint's traffic."""

    version: VersionSpec
    weight_bp: int
    is_canary: bool


def spec_sha256(spec: RolloutSpec) -> str:
    """Tells specs apart. What older releases did not know is left out unless it is set: latched specs stay latched."""
    document = msgspec.to_builtins(spec)
    version = document["version"]
    for name in ("scaling", "nodes", "log"):
        if not version[name]:
            del version[name]
    if spec.version.access.require_key is None:
        del version["access"]
    if spec.policy == NO_POLICY:
        del document["policy"]
    return hashlib.sha256(msgspec.json.encode(document)).hexdigest()


def size(record: EndpointRecord, version: VersionSpec) -> int:
    """How many replicas a version should have."""
    return record.sizes.get(version.app_name, version.replicas)


def stable_version(record: EndpointRecord) -> VersionSpec | None:
    """The version that serves when no rollout runs: the canary once it is promoted, until then the one before."""
    rollout = record.rollout
    return rollout.spec.version if isinstance(rollout.state, canary.Promoted) else rollout.stable


def shares(record: EndpointRecord) -> tuple[Share, ...]:
    """The split, stable first. Weights sum to 10,000; before the first version is warm there are none."""
    rollout = record.rollout
    stable = stable_version(record)
    if stable is None:
        return ()
    if isinstance(rollout.state, canary.Promoted) or not has_canary(rollout.state):
        return (Share(stable, FULL_BP, is_canary=False),)
    weight_bp = rollout.canary_bp
    return (
        Share(stable, FULL_BP - weight_bp, is_canary=False),
        Share(rollout.spec.version, weight_bp, is_canary=True),
    )


def needs_key(record: EndpointRecord) -> bool:
    """Whether predictions need a key.

    A version that asks is enough while it has a share. Once it has served alone, the requirement is the endpoint's, and
    one thing ends it: the promotion of a version that says so, after a rollout. Neither a rollback nor a version that
    says nothing of keys opens an endpoint.
    """
    rollout = record.rollout
    asks = any(share.version.access.require_key for share in shares(record))
    is_way_back = rollout.is_direct and rollout.stable is not None
    if isinstance(rollout.state, canary.Promoted) and not is_way_back:
        says = rollout.spec.version.access.require_key
        return record.needed_key if says is None else says
    return record.needed_key or asks


def has_canary(state: State) -> bool:
    """Whether the canary is in the routing table. At weight 0 it stays there until it is drained."""
    return not isinstance(state, canary.Pending | canary.Promoted | canary.RolledBack)


def trial_bp(record: EndpointRecord) -> tuple[int, ...]:
    """The canary's future weights, until it has had its first. Salts are tried for them."""
    rollout = record.rollout
    state = rollout.state.inner if isinstance(rollout.state, canary.Held) else rollout.state
    is_before = isinstance(state, canary.Pending | canary.Warming | canary.Shadowing)
    if not is_before or rollout.stable is None or rollout.is_direct:
        return ()
    return _weights_bp(rollout)


def _weights_bp(rollout: Rollout) -> tuple[int, ...]:
    """The canary's weights at which there are two arms."""
    return tuple(weight_bp for weight_bp in canary.weights_bp(rollout.policy) if weight_bp < FULL_BP)


def wanted_versions(record: EndpointRecord, now_s: float) -> dict[str, VersionSpec]:
    """The versions whose replicas should run, by application name, each with the number that it should have."""
    rollout = record.rollout
    versions = [retiring.version for retiring in record.retiring if retiring.until_s > now_s]
    if not isinstance(rollout.state, canary.RolledBack):
        versions.append(rollout.spec.version)
    stable = stable_version(record)
    if stable is not None:
        versions.append(stable)
    return {version.app_name: msgspec.structs.replace(version, replicas=size(record, version)) for version in versions}


def resized(record: EndpointRecord, sizes: Mapping[str, int], *, at_s: float, message: str = "") -> EndpointRecord:
    """The record with other numbers of replicas; with ``message``, a line of history tells it."""
    wanted = wanted_versions(record, at_s)
    kept = {name: count for name, count in {**record.sizes, **sizes}.items() if name in wanted}
    resized = msgspec.structs.replace(record, sizes=kept)
    return told(resized, at_s, message) if message else resized


def told(record: EndpointRecord, at_s: float, message: str) -> EndpointRecord:
    """The record with one more line of history; its phase is the same."""
    state = record.rollout.state
    entry = HistoryEntry(at_s, canary.phase(state).value, record.rollout.canary_bp, message)
    return msgspec.structs.replace(record, history=(*record.history, entry)[-MAX_HISTORY:])


def moved(
    record: EndpointRecord,
    state: State,
    at_s: float,
    message: str,
    *,
    rollback_reason: str = "",
    explanation: Explanation | None = None,
) -> EndpointRecord:
    """The record after a transition into another phase or step: one more generation, one more line of history."""
    is_going_back = isinstance(state, canary.RollingBack | canary.Draining | canary.RolledBack)
    rollout = msgspec.structs.replace(
        record.rollout,
        state=state,
        phase_since_s=at_s,
        message=message,
        rollback_reason=rollback_reason or record.rollout.rollback_reason,
        explanation=explanation or (record.rollout.explanation if is_going_back else None),
    )
    served = record.served
    if isinstance(state, canary.Promoted):
        digest = rollout.spec.version.bundle_sha256
        served = (*(each for each in served if each != digest), digest)[-MAX_SERVED:]
    after = msgspec.structs.replace(record, generation=record.generation + 1, rollout=rollout, served=served)
    return told(after, at_s, message)


def latched(record: EndpointRecord) -> EndpointRecord:
    """The record with its spec latched: a spec that was rolled back must not start again by itself.

    A rollout that only made way for another one is not latched.
    """
    digest = record.rollout.spec_sha256
    if record.queued is not None or record.rollout.is_direct or digest in record.latched:
        return record
    return msgspec.structs.replace(record, latched=(*record.latched, digest)[-MAX_LATCHED:])


def begun(
    before: EndpointRecord | None,
    spec: RolloutSpec,
    *,
    salt: str,
    is_direct: bool,
    at_s: float,
    now_s: float,
    who: str = "",
    role: str = "",
    reason: str = "",
    traceparent: str = "",
) -> EndpointRecord:
    """The record at the start of a rollout. Stable is the way back now, so versions kept for that are dropped.

    Where stable's number of replicas was changed, the new version has at least as many: it is to take the same load.
    One that is scaled by its load starts with its minimum, because it gets what it needs before it gets weight.
    """
    stable = stable_version(before) if before else None
    needed_key = before is not None and needs_key(before)
    message = f"{spec.version.version} created" + (f" by {who}" if who else "") + (f": {reason}" if reason else "")
    message += _about_keys(needed_key, spec.version.access.require_key, is_way_back=is_direct)
    served = _served(before) if before else ()
    generation = before.generation + 1 if before else 1
    rollout = Rollout(
        number=generation,
        spec=spec,
        spec_sha256=spec_sha256(spec),
        stable=stable,
        salt=salt,
        is_direct=is_direct or stable is None,
        state=canary.start(now_s),
        started_at_s=at_s,
        phase_since_s=at_s,
        message=message,
        who=who,
        role=role,
        is_way_back=is_direct and spec.version.bundle_sha256 in served,
        traceparent=traceparent,
    )
    return EndpointRecord(
        endpoint=spec.endpoint,
        generation=generation,
        rollout=rollout,
        latched=before.latched if before else (),
        history=(HistoryEntry(at_s, Phase.PENDING.value, 0, message),),
        previous=before.previous if before else None,
        sizes=_first_sizes(before, stable, spec.version) if before and stable else {},
        approvals=tuple(each for each in before.approvals if each.expires_s > at_s) if before else (),
        served=served,
        needed_key=needed_key,
    )


def _served(record: EndpointRecord) -> tuple[str, ...]:
    """With stable's, which a record of an earlier release has not noted."""
    stable = stable_version(record)
    return (
        record.served
        if stable is None or stable.bundle_sha256 in record.served
        else (
            *record.served,
            stable.bundle_sha256,
        )
    )


def _about_keys(needed_key: bool, says: bool | None, *, is_way_back: bool) -> str:
    """What becomes of an endpoint's keys with a version that does not ask for them, for the history."""
    if not needed_key or says:
        return ""
    return "; keys are still asked for" if is_way_back or says is None else "; once promoted, no key is asked for"


def _first_sizes(before: EndpointRecord, stable: VersionSpec, new: VersionSpec) -> dict[str, int]:
    count = before.sizes.get(stable.app_name)
    if count is None:
        return {}
    sizes = {stable.app_name: count}
    if new.scaling is None and count > new.replicas:
        sizes[new.app_name] = count
    return sizes
