"""The scenarios of the study of rollouts: the service that both versions are, and what is wrong with the canary.

A scenario is data. `benchmarks.canaries.traffic` turns it into requests.
"""

from __future__ import annotations

from dataclasses import dataclass

from divisions.errors import UsageError


@dataclass(frozen=True, slots=True)
class Service:
    """What stable and a faultless canary have in common.

    Latency is log-normal with a Pareto tail, times a factor of the customer, times a factor of the load. The load
    swings by ``load_swing``. Now and then a replica stalls; requests that arrive during a stall wait for its end.
    """

    replicas: int = 2
    median_s: float = 0.002
    sigma: float = 0.5
    tail_share: float = 0.02
    tail_from: float = 4.0
    """Requests of the tail take at least this many times longer."""
    tail_index: float = 1.5
    """Pareto's alpha: the variance of the tail is infinite."""
    error_share: float = 0.0005
    load_swing: float = 0.4
    load_slows: float = 0.3
    """How much slower everybody is when the load is twice its mean; both versions alike."""
    stalls_per_min: float = 1.0
    stall_s: float = 0.15
    stall_sigma: float = 0.7
    num_customers: int = 20_000
    zipf_exponent: float = 1.0
    """At 1.0 the heaviest of 20,000 customers sends 9.5 % of the requests."""
    customer_sigma: float = 0.1
    utilisation: float = 0.0
    """Of one version's replicas if they had all traffic; above 0, requests queue (Erlang C, `queue_workers`)."""
    queue_workers: int = 4


@dataclass(frozen=True, slots=True)
class Scenario:
    """One canary. Everything that is not named is as it is in stable.

    Attributes:
        is_bad: whether the canary should be rolled back.
        onset_s: seconds after the canary's first request until it goes bad.
        factor: of every request's latency.
        slow_share: share of requests that take ``slow_factor`` times longer.
        tail_share: share of the tail; None means stable's.
        ramp_per_min: a leak: how much slower it becomes per minute, as a share.
        warm_requests: the canary's first requests take ``warm_factor`` times longer; 200 are left out by default.
        hang_share: share of requests that are never answered.
        error_share: share of requests that fail at once.
        nan_share: share of answers that are not numbers, which count as errors.
        bad_replicas: how many of the replicas ``factor`` is about; 0 means all.
        capacity: of the canary's replicas, relative to stable's; matters where requests queue.
        lost_replicas: replicas of the canary that are gone from the onset on; the others answer as ever.
    """

    name: str
    title: str
    is_bad: bool = True
    service: Service = Service()
    onset_s: float = 0.0
    factor: float = 1.0
    slow_share: float = 0.0
    slow_factor: float = 3.0
    tail_share: float | None = None
    ramp_per_min: float = 0.0
    warm_requests: int = 0
    warm_factor: float = 5.0
    hang_share: float = 0.0
    error_share: float = 0.0
    nan_share: float = 0.0
    bad_replicas: int = 0
    capacity: float = 1.0
    lost_replicas: int = 0


_HEAVY = Service(zipf_exponent=1.1, customer_sigma=0.5)
_BUSY = Service(utilisation=0.5)
_STALLING = Service(stalls_per_min=3.0, stall_s=0.3)

_ALL = (
    Scenario("aa", "no difference", is_bad=False),
    Scenario("aa_heavy", "no difference; few customers carry the traffic, each at a pace of its own", False, _HEAVY),
    Scenario("aa_busy", "no difference; requests queue at half of the capacity", False, _BUSY),
    Scenario("aa_stalls", "no difference; replicas stall thrice as often and twice as long", False, _STALLING),
    Scenario("warm_up", "the first 200 requests 5 ×, as many as are left out", False, warm_requests=200),
    Scenario("warm_up_long", "the first 400 requests 5 ×", False, warm_requests=400),
    Scenario("x1.1", "every request 1.1 × (within the tolerance)", False, factor=1.1),
    Scenario("x1.2", "every request 1.2 ×", factor=1.2),
    Scenario("x1.5", "every request 1.5 ×", factor=1.5),
    Scenario("x1.5_late", "every request 1.5 × after 37 s", factor=1.5, onset_s=37.0),
    Scenario("slow_10pct", "one request in ten 3 ×", slow_share=0.1),
    Scenario("tail_5pct", "the tail grows from 2 to 5 %", tail_share=0.05),
    Scenario("leak", "slower by 50 % per minute, from 10 s on", ramp_per_min=0.5, onset_s=10.0),
    Scenario("hang", "no request is answered after 20 s", hang_share=1.0, onset_s=20.0),
    Scenario("errors_5pct", "5 % of requests fail at once, after 20 s", error_share=0.05, onset_s=20.0),
    Scenario("nan", "every answer is NaN", nan_share=1.0),
    Scenario("bad_replica", "one replica of two 2 ×", factor=2.0, bad_replicas=1),
    Scenario("capacity", "half of stable's capacity; requests queue", service=_BUSY, capacity=0.5),
    Scenario("lost_replica", "one replica of two dies after 10 s and stays away", False, onset_s=10.0, lost_replicas=1),
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def choose_scenarios(names: str) -> tuple[Scenario, ...]:
    """The scenarios that are named, separated by commas; ``all`` are all.

    Raises:
        UsageError: a name is unknown.
    """
    if names == "all":
        return _ALL
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in SCENARIOS:
            raise UsageError(f"unknown scenario {name!r}", remedy=f"the scenarios are all, {', '.join(SCENARIOS)}")
    return tuple(SCENARIOS[name] for name in dict.fromkeys(chosen))
