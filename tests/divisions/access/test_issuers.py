"""The issuers of a file. Defence: a file that would let too much in is refused as a whole."""

import pytest

from divisions.access.issuers import ALGORITHMS, MAX_ISSUERS, RoleRule, issuers_of
from divisions.access.limits import Limits
from divisions.access.roles import Role
from divisions.errors import SettingsError

ENTRY = {
    "alias": "corp",
    "issuer": "https://login.example",
    "audience": "divisions",
    "jwks": "https://login.example/keys",
    "claim": "groups",
    "roles": [{"value": "ml", "role": "deployer", "endpoints": ["churn"]}],
}


def entry(**changes) -> dict:
    return {name: value for name, value in {**ENTRY, **changes}.items() if value is not None}


def test_an_issuer_has_what_its_entry_says():
    (found,) = issuers_of({"issuers": [entry(claim=["realm_access", "roles"], algorithms=["ES256"])]})
    assert (found.claim_path, found.algorithms) == (("realm_access", "roles"), ("ES256",))
    assert found.roles == (RoleRule("ml", Role.DEPLOYER, ("churn",)),)
    (found,) = issuers_of({"issuers": [entry()]})
    assert (found.claim_path, found.algorithms) == (("groups",), ("RS256", "ES256"))


def test_a_rule_may_limit_whom_it_fits():
    rule = {"value": "ml", "role": "predictor", "rate": "100/s", "concurrency": "8", "deadline": "200ms"}
    (found,) = issuers_of({"issuers": [entry(roles=[rule])]})
    assert found.roles[0].limits == Limits(100, 1, 8, 200)
    for name, value in (("rate", "fast"), ("concurrency", "0"), ("concurrency", "٣"), ("deadline", "2")):
        with pytest.raises(SettingsError, match="a rule's limit"):
            issuers_of({"issuers": [entry(roles=[rule | {name: value}])]})


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "rs256", "ES256K", ""])
def test_nobody_can_allow_an_algorithm_whose_check_needs_a_secret_or_nothing(algorithm):
    with pytest.raises(SettingsError, match="`algorithms` may be RS256"):
        issuers_of({"issuers": [entry(algorithms=[algorithm])]})


def test_no_algorithm_is_not_every_algorithm():
    with pytest.raises(SettingsError, match="`algorithms` may be"):
        issuers_of({"issuers": [entry(algorithms=[])]})
    assert not {each for each in ALGORITHMS if each.startswith("HS") or each == "none"}


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/keys",
        "ftp://login.example/keys",
        "file:///etc/keys",
        "https:///keys",
        "https://user:password@login.example/keys",
        "https://login.example/keys#part",
        "https://login.example/ke ys",
        "https://login.example:99999/keys",
        "http://127.0.0.1.login.example/keys",
    ],
)
def test_keys_come_over_tls_only_but_from_this_machine(url):
    with pytest.raises(SettingsError, match="`jwks`"):
        issuers_of({"issuers": [entry(jwks=url)]})


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/keys", "http://[::1]/keys", "http://localhost/keys"])
def test_keys_of_this_machine_need_no_tls(url):
    assert issuers_of({"issuers": [entry(jwks=url)]})[0].jwks == url


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"alias": "Corp:admin"}, "`alias`"),
        ({"alias": "c" * 33}, "`alias`"),
        ({"audience": None}, "audience"),
        ({"audience": ""}, "`audience`"),
        ({"issuer": ""}, "`issuer`"),
        ({"claim": ""}, "`claim`"),
        ({"claim": []}, "`claim`"),
        ({"roles": []}, "`roles`"),
        ({"roles": [{"value": "", "role": "viewer"}]}, "`value`"),
        ({"roles": [{"value": "a", "role": "root"}]}, "root"),
        ({"roles": [{"value": "a", "role": "viewer", "endpoints": ["../x"]}]}, "endpoint"),
        ({"ca_file": "ca.pem"}, "`ca_file`"),
        ({"token_file": "token"}, "`token_file`"),
        ({"secret": "x"}, "secret"),
    ],
)
def test_what_makes_no_sense_is_named(changes, named):
    with pytest.raises(SettingsError) as caught:
        issuers_of({"issuers": [entry(**changes)]})
    assert named in str(caught.value)


def test_two_entries_are_two_issuers():
    for changes in ({"alias": "other"}, {"issuer": "https://other.example"}):
        with pytest.raises(SettingsError, match="two issuers have the same"):
            issuers_of({"issuers": [entry(), entry(**changes)]})
    with pytest.raises(SettingsError, match="1 to 16"):
        issuers_of({"issuers": [entry(alias=f"a{n}", issuer=f"https://{n}") for n in range(MAX_ISSUERS + 1)]})
    for document in ({"issuers": []}, {}, [], "text", None):
        with pytest.raises(SettingsError):
            issuers_of(document)
