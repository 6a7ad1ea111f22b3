"""The same questions to the engine in process, to Open Policy Agent's own, and to that over HTTP: the same decisions.

And all of them as the table of roles decides at the gateways.
"""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings

from divisions.access.decision import Principal, decide
from divisions.access.roles import Action, Role
from divisions.policy.bundle import load_bundle
from divisions.policy.engine import Kind, Query
from divisions.policy.opa import OpaEngine
from divisions.policy.rego import DECISION
from divisions.policy.rego_engine import RegoEngine
from divisions.policy.trial import run_tests
from divisions.policy.verdict import verdict
from tests.divisions.policy.opa_library import engine_of, reply, server
from tests.divisions.policy.questions import GOOD, MATRIX, approvals, promotions

PATIENCE_S = 30.0
DATA = """
gates:
  require: [metrics, drift, lineage, report, approvals, freeze, store, image]
  allow_unknown_drift: false
  approvals: 1
  freeze:
    - {from: "1970-01-01T00:00:10Z", to: "1970-01-01T00:00:20+00:00", why: holidays}
  stores: [s3://models]
  registries: [r.example/models]
closed: [fraud]
"""
POLICY = """package divisions.custom.team

import rego.v1

default allow := false

allow if input.kind == "rbac"

allow if not input.version in {"bob"}

reasons contains {"message": "no bob", "remedy": "another"} if input.version == "bob"
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    (folder / "data.yaml").write_text(DATA)
    (folder / "team.rego").write_text(POLICY)
    return load_bundle(folder)


@pytest.fixture(scope="module")
def in_process(bundle):
    with contextlib.closing(RegoEngine(bundle, PATIENCE_S)) as engine:
        yield engine


def _as_the_table(query: Query) -> bool:
    """What a gateway decides; an unknown role or action is never allowed there."""
    facts = query.input
    if facts.principal.role not in set(Role) or facts.action not in set(Action):
        return False
    principal = Principal("ann", Role(facts.principal.role), facts.principal.endpoints)
    return decide(principal, Action(facts.action), facts.endpoint).is_allowed


def test_the_engine_in_process_decides_the_whole_matrix_as_the_table_of_roles(in_process):
    unlike = [query for query in MATRIX if in_process.decide(query).allow != _as_the_table(query)]
    assert not unlike
    assert len(MATRIX) > 800
    assert 100 < sum(_as_the_table(query) for query in MATRIX) < len(MATRIX)


@pytest.mark.opa
def test_open_policy_agents_own_engine_decides_the_whole_matrix_alike(bundle, in_process):
    evaluate = engine_of(bundle)
    for query in MATRIX:
        theirs = verdict(evaluate(DECISION, query.document()))
        assert theirs == in_process.decide(query), query


@pytest.mark.opa
def test_the_matrix_over_http_is_the_same(bundle, in_process):
    evaluate = engine_of(bundle)

    def answer(handler, document):
        reply(handler, json.dumps({"result": evaluate(DECISION, document)}).encode())

    with server(answer) as url, contextlib.closing(OpaEngine(url, PATIENCE_S)) as remote:
        for query in [*MATRIX[::5], Query(Kind.PROMOTION, GOOD)]:
            assert remote.decide(query) == in_process.decide(query), query


@pytest.mark.opa
def test_any_promotion_and_approval_is_decided_alike_for_the_same_reasons(bundle, in_process, pytestconfig):
    evaluate = engine_of(bundle)

    @settings(
        max_examples=400 if pytestconfig.getoption("--long") else 60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(promotions | approvals)
    def agree(query):
        theirs, here = verdict(evaluate(DECISION, query.document())), in_process.decide(query)
        assert theirs.allow == here.allow
        assert [reason.rule for reason in theirs.reasons] == [reason.rule for reason in here.reasons]
        if not re.search(r'["\n]', str(query.document())):  # the engine in process leaves such characters out of texts
            assert theirs == here

    agree()


@pytest.mark.opa
def test_our_own_tests_hold_in_open_policy_agents_engine(bundle):
    class Theirs:
        def __init__(self, data):
            self.evaluate = engine_of(bundle, data)

    failures, num_tests = run_tests(bundle.modules, bundle.data, Theirs)
    assert not failures
    assert num_tests > 25
