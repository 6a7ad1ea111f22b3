"""Claims to principals. Defence: whatever a JWT claims, it gives what a rule gives, and else nothing."""

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from divisions.access.claims import LEEWAY_S, MAX_SUBJECT_CHARS, name_of, principal_of, refusal
from divisions.access.issuers import MAX_ALIAS_CHARS, RoleRule
from divisions.access.roles import Role
from tests.oidc_issuer import AUDIENCE, claims_at, issuer_at

ISSUER = issuer_at("https://issuer.example/keys")
NOW_S = 1_800_000_000.0

names = st.sampled_from(["churn", "fraud", "price"])
values = st.sampled_from(["a", "b", "c", "d"])
rules = st.builds(RoleRule, values, st.sampled_from(Role), st.lists(names, max_size=2).map(tuple))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(rules, min_size=1, max_size=6).map(tuple), st.lists(values, max_size=4))
def test_a_principal_has_what_one_of_the_fitting_rules_gives_and_no_more(roles, groups):
    found = principal_of(claims_at(NOW_S, groups=groups), issuer_at("https://x", roles=roles))
    fitting = [rule for rule in roles if rule.value in groups]
    if not fitting:
        assert found is None
        return
    assert found.role is fitting[0].role, "the order of the file decides"
    same = [rule for rule in fitting if rule.role is found.role]
    if any(not rule.endpoints for rule in same):
        assert found.endpoints == ()
    else:
        assert set(found.endpoints) == {endpoint for rule in same for endpoint in rule.endpoints}
        assert found.endpoints, "no endpoint would mean every endpoint"
    assert (found.name, found.issuer, found.token_id) == ("corp:ann", "corp", "")


@given(json_values)
def test_a_claim_of_another_shape_gives_nothing(value):
    found = principal_of(claims_at(NOW_S, groups=value), ISSUER)
    texts = (
        {value}
        if isinstance(value, str)
        else {each for each in value if isinstance(each, str)}
        if isinstance(value, list)
        else set()
    )
    assert (found is not None) == bool(texts & {rule.value for rule in ISSUER.roles})


def test_a_claim_may_lie_inside_others_or_be_one_text():
    issuer = issuer_at("https://x", claim=("realm_access", "roles"))
    assert principal_of(claims_at(NOW_S, realm_access={"roles": ["everybody"]}), issuer).role is Role.VIEWER
    assert principal_of(claims_at(NOW_S, realm_access=["roles"]), issuer) is None
    subject = "system:serviceaccount:ml:nightly"
    issuer = issuer_at("https://x", claim="sub", roles=(RoleRule(subject, Role.TRAINER),), alias="k8s")
    assert principal_of(claims_at(NOW_S, sub=subject), issuer).name == f"k8s:{subject}"
    assert principal_of(claims_at(NOW_S, sub=f"{subject}-other"), issuer) is None, "compared whole"


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_name_is_bounded_and_safe_and_of_one_subject(one, other):
    name = name_of("corp", one)
    assert len(name) <= MAX_ALIAS_CHARS + 1 + MAX_SUBJECT_CHARS
    assert re.fullmatch(r"corp:[A-Za-z0-9._@:/|+=~-]*", name.replace("_", "-"))
    assert (name == name_of("corp", other)) == (one == other)


@given(st.text(string.ascii_letters + string.digits + "._@:/|+=-", min_size=1, max_size=MAX_SUBJECT_CHARS))
def test_a_usual_subject_is_shown_as_it_is(subject):
    assert name_of("k8s", subject) == f"k8s:{subject}"


@given(st.integers(-100, 100), st.integers(-100, 100))
def test_a_jwt_is_valid_from_nbf_to_exp_give_or_take_the_leeway(until_end_s, until_begin_s):
    reason = refusal(claims_at(NOW_S, exp=NOW_S + until_end_s, nbf=NOW_S + until_begin_s), ISSUER, NOW_S)
    is_over, is_early = until_end_s <= -LEEWAY_S, until_begin_s > LEEWAY_S
    assert (reason == "") is not (is_over or is_early)
    if is_over:
        assert "has expired" in reason
    elif is_early:
        assert "not valid yet" in reason


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "aud", "iss", "sub", "groups"]), json_values))
def test_claims_of_any_shape_are_refused_or_valid_and_break_nothing(changes):
    claims = {**claims_at(NOW_S), **changes}
    if refusal(claims, ISSUER, NOW_S) == "":
        assert claims["iss"] == ISSUER.issuer
        assert AUDIENCE in ([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])
        assert isinstance(claims["sub"], str)
        assert claims["exp"] + LEEWAY_S > NOW_S
        principal_of(claims, ISSUER)


def test_each_claim_that_is_needed_is_missed_by_name():
    for name, text in {"exp": "`exp`", "sub": "`sub`", "aud": "another audience", "iss": "not trusted"}.items():
        assert text in refusal(claims_at(NOW_S, **{name: None}), ISSUER, NOW_S)
    for value in (True, "1900000000", float("inf"), float("nan"), [1], 10**400):
        assert "`exp`" in refusal(claims_at(NOW_S, exp=value), ISSUER, NOW_S)
    assert "`nbf`" in refusal(claims_at(NOW_S, nbf="soon"), ISSUER, NOW_S)


def test_issuer_and_audience_are_compared_letter_by_letter():
    for changes in ({"iss": ISSUER.issuer + "/"}, {"iss": ISSUER.issuer.upper()}, {"iss": [ISSUER.issuer]}):
        assert "not trusted" in refusal(claims_at(NOW_S, **changes), ISSUER, NOW_S)
    for audience in ("Divisions", "divisions ", "divisions.example", ["other"], [], {"divisions": 1}, 5):
        assert "another audience" in refusal(claims_at(NOW_S, aud=audience), ISSUER, NOW_S)
    assert refusal(claims_at(NOW_S, aud=["other", AUDIENCE]), ISSUER, NOW_S) == ""
