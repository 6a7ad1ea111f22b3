"""Questions for tests, good and odd."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from divisions.access.roles import Action, Role
from divisions.policy.engine import Kind, Query
from divisions.policy.facts import (
    AccessFacts,
    ApprovalFact,
    AskedFact,
    GateFact,
    ImageFact,
    LineageFact,
    Person,
    PromotionFacts,
    ReportFact,
    VersionFact,
)

ENDPOINTS = ((), ("churn",), ("fraud", "churn"), ("fraud",))
MATRIX = [
    Query(Kind.RBAC, AccessFacts(Person("ann", role, endpoints), action, endpoint))
    for role, action, endpoints, endpoint in product(
        [*map(str, Role), "emperor", ""], [*map(str, Action), "explode"], ENDPOINTS, ("", "churn")
    )
]

DIGEST = "sha256:" + "0123456789abcdef" * 4
GOOD = PromotionFacts(
    "churn", "churn-predictor", "3.2", "production", Person("ann", "approver"), 1_800_000_000.0,
    authors=("dora",),
    gates=(GateFact("auc", "passed", 0.9),),
    drift=0.1,
    lineage=LineageFact("r1", "d1", "c1", "b1", "s1", "p1"),
    report=ReportFact("f" * 64, ("ann",)),
    approvals=(ApprovalFact("ann", "approver", 5.0),),
)  # fmt: skip

names = st.sampled_from(["", "ann", "bob", "dora", "é\n", 'q"x'])
texts = st.sampled_from(["", "x", "s3://models", "s3://models/churn", "s3://models-of-others"])
numbers = st.one_of(st.integers(-3, 40).map(float), st.sampled_from([0.1, 0.25, 0.26, 1e300]))


def some(strategy, most=3):
    return st.lists(strategy, max_size=most).map(tuple)


promotions = st.builds(
    PromotionFacts,
    endpoint=names,
    model=names,
    version=names,
    environment=st.sampled_from(["production", "staging", ""]),
    requester=st.builds(Person, names, st.sampled_from([*map(str, Role), "emperor"])),
    now_s=numbers,
    authors=some(names),
    trainer=names,
    gates=some(st.builds(GateFact, names, st.sampled_from(["passed", "failed", "unknown", ""]), st.none() | numbers)),
    drift=st.none() | numbers,
    drift_alerts=st.integers(0, 2),
    lineage=st.builds(LineageFact, texts, texts, texts, texts, texts, texts),
    report=st.builds(ReportFact, texts, some(names)),
    approvals=some(st.builds(ApprovalFact, names, st.sampled_from(["approver", "admin", "viewer"]), numbers)),
    store=texts,
    image=st.none()
    | st.builds(
        ImageFact,
        st.sampled_from(["r.example", "r.example.evil"]),
        st.sampled_from(["models", "models/churn", "other"]),
        st.sampled_from([DIGEST, DIGEST[:-1], "latest", ""]),
    ),
    asked=st.builds(
        AskedFact,
        some(st.sampled_from(["report", "metrics", "trainer", "no-such-gate"])),
        st.integers(0, 3),
        some(texts),
        st.sampled_from(["", "Mon 07:00"]),
        some(st.sampled_from(["r.example", "r.example/models"])),
    ),
).map(lambda facts: Query(Kind.PROMOTION, facts))

approvals = st.builds(
    AccessFacts,
    st.builds(Person, names, st.sampled_from(["approver", "admin", "viewer"]), some(st.just("churn"), 1)),
    st.just("approve"),
    st.sampled_from(["churn", "fraud"]),
    st.none()
    | st.builds(VersionFact, names, names, texts, st.sampled_from(["production", "staging", ""]), some(names)),
).map(lambda facts: Query(Kind.RBAC, facts))
