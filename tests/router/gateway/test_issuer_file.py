"""The file of issuers: what is wrong with it is told by `divisions up`, by the setting's name."""

import asyncio

import msgspec
import pytest
import yaml

from divisions import cli
from divisions.access.issuers import issuers_of
from divisions.access.roles import Role
from divisions.errors import SettingsError
from divisions.settings import load_settings
from router.gateway.issuer_file import check_files, read_issuers
from router.gateway.jwks_fetch import JwksFetch, KeysUnreadError

TEXT = """
issuers:
  - alias: corp
    issuer: https://login.example/realms/corp
    audience: divisions
    jwks: https://login.example/realms/corp/keys
    claim: groups
    roles:
      - {value: ml-admins, role: admin}
      - {value: churn-team, role: deployer, endpoints: [churn]}
  - alias: k8s
    issuer: https://kubernetes.default.svc
    audience: divisions
    jwks: https://kubernetes.default.svc/openid/v1/jwks
    ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
    token_file: /var/run/secrets/kubernetes.io/serviceaccount/token
    algorithms: [RS256]
    claim: sub
    roles:
      - {value: "system:serviceaccount:ml:nightly", role: trainer}
"""


def test_a_file_has_issuers_in_its_order(tmp_path):
    path = tmp_path / "oidc.yaml"
    path.write_text(TEXT)
    corp, kubernetes = read_issuers(str(path))
    assert (corp.alias, corp.ca_file, corp.roles[1].endpoints) == ("corp", "", ("churn",))
    assert (kubernetes.claim_path, kubernetes.roles[0].role) == (("sub",), Role.TRAINER)
    assert read_issuers("") == ()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "no UTF-8"),
        (b"issuers: [", "line 1"),
        (b"issuers: &a [*a]", "not allowed"),
        (b"issuers: []\nissuers: []", "stands twice"),
        (b"issuers: [{alias: corp}]", "issuer"),
        (b"", "the file is empty. see docs/oidc.md for an example"),
        (TEXT.replace("role: admin", "role: boss").encode(), "a role is one of viewer, predictor, trainer"),
        (
            TEXT.replace("/var/run/secrets/kubernetes.io", "/no/such/folder").encode(),
            "issuer 'k8s': `ca_file`, /no/such/folder",
        ),
        (b"#" * (256 * 1024 + 1), "bytes"),
    ],
)
def test_up_refuses_a_file_that_it_cannot_use(tmp_path, monkeypatch, capsys, data, named):
    path = tmp_path / "oidc.yaml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingsError, match="DIVISIONS_OIDC_FILE") as caught:
        check_files(read_issuers(str(path)))
    assert named in str(caught.value)
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIVISIONS_OIDC_FILE", str(path))
    assert cli.execute(["up"]) != 0
    assert "DIVISIONS_OIDC_FILE" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("what", "data", "why"),
    [
        ("ca_file", None, "No such file or directory"),
        ("ca_file", b" ", "it has no certificate in PEM"),
        ("ca_file", b"x", "it has no certificate in PEM"),
        ("token_file", None, "No such file or directory"),
        ("token_file", b" ", "it has no token"),
        ("token_file", b"two\nlines", "it has no token"),
        ("token_file", b"x" * 16_385, "it has no token"),
    ],
)
def test_what_a_gateway_could_not_use_of_an_issuers_files_is_refused_before_the_cluster_starts(
    tmp_path, what, data, why
):
    path = tmp_path / "named"
    if data is not None:
        path.write_bytes(data)
    issuer = msgspec.structs.replace(issuers_of(yaml.safe_load(TEXT))[0], **{what: str(path)})
    with pytest.raises(SettingsError) as caught:
        check_files([issuer])
    assert f"issuer 'corp': `{what}`, {path}, cannot be used: {why}" in str(caught.value)
    with pytest.raises(KeysUnreadError, match=f"cannot be used: {why}"):
        asyncio.run(JwksFetch(issuer)())


def test_an_issuers_token_of_one_line_will_do(tmp_path):
    (tmp_path / "token").write_text("eyJ.x.y\n")
    check_files([msgspec.structs.replace(issuers_of(yaml.safe_load(TEXT))[0], token_file=str(tmp_path / "token"))])


def test_the_path_is_absolute():
    with pytest.raises(SettingsError, match="DIVISIONS_OIDC_FILE must be the absolute path"):
        load_settings({"DIVISIONS_OIDC_FILE": "oidc.yaml"})
