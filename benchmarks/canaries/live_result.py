"""The promises about bad canaries on a real cluster, and the table of results. Pure; `live_rollouts` measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.canaries.rollback import zero_weight_at_s
from benchmarks.harness.machine import Machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples
from divisions.status import RolloutStatus

LONGEST_ATTEMPT = 0.75
"""How long a request can wait for a canary, of its time: half of it in the queue, half of the rest for the answer. An
attempt that fails later than that after ``grace_s`` was made for a request that arrived after it."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a run allows. The defaults are what is promised on a machine that is not overloaded.

    Attributes:
        request_s: the gateway's deadline of a request.
        grace_s: how long after the decision it may still send to the canary: a table travels to it in milliseconds.
        weight_zero_s: until the canary's weight is zero.
    """

    request_s: float = 1.0
    grace_s: float = 0.2
    weight_zero_s: float = 15.0


PROMISED = Allowance()


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a canary is bad. ``faults`` are for ``rollout start --fault``; stable has its delay too."""

    name: str
    what: str
    faults: tuple[str, ...]


AS_STABLE = "batch_delay_ms=10"
"""The delay that stable has, too: what a canary gets that is to be as fast."""

CASES = (
    Case("slow", "15 ms per batch, stable has 10 ms", ("batch_delay_ms=15",)),
    Case("errors", "5 % of its batches fail", (AS_STABLE, "error_rate=0.05")),
    Case("hang", "after 20 batches each replica never answers again", (AS_STABLE, "hang_after=20")),
    Case("nan", "half of its batches are answered with NaN", (AS_STABLE, "nan_rate=0.5")),
    Case("crash-loop", "after 20 batches each replica's process dies, and so on", (AS_STABLE, "crash_after=20")),
)


@dataclass(frozen=True, slots=True)
class Retries:
    """What the gateway had counted of a version's failed attempts, and when (wall-clock)."""

    at_s: float
    version: str
    count: float


class CaseResult(msgspec.Struct, frozen=True):
    """The result of one bad canary.

    ``seconds_from_first_bad_request`` counts from the moment when the canary's weight rose, which is no later than its
    first bad request, to the moment when its weight was zero. ``silent_after_s`` counts from the same moment to the
    arrival of the last request that the canary answered. ``late_assignments`` are requests that arrived later than
    `Allowance.grace_s` after the decision and still went to the canary: those that it answered, and those whose attempt
    there failed so late that no earlier request can have made it (see `late_retries`). ``failed_requests`` are all
    requests without a 2xx answer, from the rollout's start to the next rollout's start.
    """

    case: str
    what: str
    rolled_back: bool
    reason: str
    guard: str
    seconds_from_first_bad_request: float
    silent_after_s: float
    requests: int
    failed_requests: int
    canary_answers: int
    late_assignments: int


class LiveResult(msgspec.Struct, frozen=True):
    """One run of all cases under one open-loop load."""

    machine: Machine
    seed: int
    rate_rps: float
    load_average_end: float
    requests: int
    failed_requests: int
    reasons: dict[str, int]
    generator_saturated: bool
    cases: tuple[CaseResult, ...]


def late_retries(retries: Sequence[Retries], version: str, zero_s: float, allowed: Allowance = PROMISED) -> int:
    """Failed attempts at ``version`` that only requests can have made which arrived later than allowed after
    ``zero_s``.

    Raises:
        ValueError: the counters were not read before and after, so there is nothing to compare.
    """
    surely_late_s = zero_s + allowed.grace_s + LONGEST_ATTEMPT * allowed.request_s
    own = [each for each in retries if each.version == version]
    after = [each.count for each in own if each.at_s >= surely_late_s]
    if len(after) < 2:
        raise ValueError(f"the failed attempts of {version} were not looked at after the decision")
    return round(after[-1] - after[0])


def sum_up(
    case: Case,
    status: RolloutStatus,
    samples: Samples,
    retries: Sequence[Retries],
    from_s: float,
    until_s: float,
    allowed: Allowance = PROMISED,
) -> CaseResult:
    """One case, from its rollout's status, the samples of the whole load and the gateway's counters.

    Args:
        case: the case.
        status: its rollout's status at the end.
        samples: of the load.
        retries: the counters of failed attempts, read now and then, in order of time.
        from_s: wall-clock time when the rollout was requested.
        until_s: wall-clock time when the next one was requested.
        allowed: when a request to the canary is late.

    Raises:
        ValueError: the canary's weight never rose, or never fell to zero again, or its retries were not read.
    """
    arrived_s = samples.start_wall_s + samples.scheduled_s
    own = (arrived_s >= from_s) & (arrived_s < until_s)
    rose_s = next((entry.at_s for entry in status.history if entry.weight_bp > 0), 0.0)
    zero_s = zero_weight_at_s(status)
    names = np.array(samples.versions, dtype=np.str_)[samples.version]
    by_canary = own & (samples.outcome == Outcome.OK) & (names == status.canary_version)
    is_late = own & (arrived_s > zero_s + allowed.grace_s)
    last_s = float(arrived_s[by_canary].max()) if by_canary.any() else rose_s
    return CaseResult(
        case=case.name,
        what=case.what,
        rolled_back=status.phase == "ROLLED_BACK" and status.actual_weight_bp == 0,
        reason=status.rollback_reason,
        guard=status.explanation.guard if status.explanation is not None else "",
        seconds_from_first_bad_request=round(zero_s - rose_s, 2),
        silent_after_s=round(last_s - rose_s, 2),
        requests=int(own.sum()),
        failed_requests=int((own & (samples.outcome != Outcome.OK)).sum()),
        canary_answers=int(by_canary.sum()),
        late_assignments=int((is_late & by_canary).sum())
        + late_retries(retries, status.canary_version or "", zero_s, allowed),
    )


def broken_promises(cases: Iterable[CaseResult], allowed: Allowance = PROMISED) -> list[str]:
    """What was promised and not kept; empty when all is well."""
    broken = []
    for case in cases:
        if not case.rolled_back:
            broken.append(f"{case.case}: not rolled back")
        if not case.seconds_from_first_bad_request <= allowed.weight_zero_s:
            broken.append(
                f"{case.case}: weight zero after {case.seconds_from_first_bad_request:g} s, "
                f"not {allowed.weight_zero_s:g} s"
            )
        if case.failed_requests:
            broken.append(f"{case.case}: {case.failed_requests} of {case.requests} requests failed")
        if case.late_assignments:
            broken.append(f"{case.case}: {case.late_assignments} requests were sent to the canary after the decision")
    return broken


def render_live(result: LiveResult) -> str:
    """The table for a terminal."""
    lines = [f"{'case':<12}{'guard':<10}{'seconds':>9}{'requests':>10}{'failed':>8}{'canary':>8}{'late':>6}   reason"]
    lines += [
        f"{case.case:<12}{case.guard:<10}{case.seconds_from_first_bad_request:>9.1f}{case.requests:>10,}"
        f"{case.failed_requests:>8}{case.canary_answers:>8,}{case.late_assignments:>6}   {case.reason}"
        for case in result.cases
    ]
    lines.append(f"{result.failed_requests} of {result.requests:,} requests failed at {result.rate_rps:g} requests/s")
    lines += [f"  {count:,} x {reason}" for reason, count in sorted(result.reasons.items())]
    lines += [f"broken promise: {promise}" for promise in broken_promises(result.cases)]
    return "\n".join(lines)


def live_section(result: LiveResult) -> str:
    """The same as Markdown, for docs/rollouts.md."""
    head = ("canary", "guard", "weight zero after", "requests", "failed", "answered by the canary", "sent there late")
    rows = [
        (
            f"{case.case}: {case.what}",
            case.guard,
            f"{case.seconds_from_first_bad_request:.1f} s",
            f"{case.requests:,}",
            str(case.failed_requests),
            f"{case.canary_answers:,}",
            str(case.late_assignments),
        )
        for case in result.cases
    ]
    machine = result.machine
    note = (
        f"{result.rate_rps:g} requests/s, Poisson arrivals, no retries by the generator, seed {result.seed}; "
        f"{machine.cores} cores of {machine.cpu}, Python {machine.python}, Ray {machine.packages.get('ray', '?')}. "
        f"The machine was shared with other work: load average {machine.load_average:.1f} before, "
        f"{result.load_average_end:.1f} after."
    )
    if result.generator_saturated:
        note += " The generator itself was late at times."
    broken = [f"Not kept: {promise}." for promise in broken_promises(result.cases)]
    return "\n\n".join([markdown_table(head, rows).strip(), note, *broken])
