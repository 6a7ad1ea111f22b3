"""Questions and decisions."""

from divisions.policy.engine import ENGINE_RULE, Decision, Kind, Query, Reason, refusal
from divisions.policy.facts import AccessFacts, Person


def _query(role: str = "viewer") -> Query:
    return Query(Kind.RBAC, AccessFacts(Person("ann", role, ("churn",)), "promote", "churn"))


def test_a_question_is_the_rules_input():
    assert _query().document() == {
        "kind": "rbac",
        "principal": {"name": "ann", "role": "viewer", "endpoints": ["churn"]},
        "action": "promote",
        "endpoint": "churn",
        "about": None,
    }


def test_a_digest_tells_questions_apart():
    assert _query().digest() == _query().digest() != _query("admin").digest()


def test_a_refusal_names_each_rule_and_how_to_comply():
    decision = Decision(False, (Reason("drift", "drift is 0.4", "retrain"), Reason("freeze", "until noon")))
    assert decision.text == "drift: drift is 0.4; retrain. freeze: until noon"
    late = refusal("it took longer than 200 ms", "look at the policy")
    assert not late.allow
    assert late.reasons[0].rule == ENGINE_RULE
