"""What registries ask for, and where credentials come from."""

import base64
import json
import os
import stat
import subprocess

import boto3
import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import ArtifactStoreError
from divisions.oci.login import Challenge, Credentials, find_credentials, parse_challenges

HOST = "registry.example:5000"


def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def config(folder, **content):
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", []),
        ('Basic realm="a, b"', [Challenge("basic", {"realm": "a, b"})]),
        ('bearer Realm="https://a/t",scope="repository:x:pull,push"',
         [Challenge("bearer", {"realm": "https://a/t", "scope": "repository:x:pull,push"})]),
        ('Negotiate, Basic realm=x', [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        ('Basic realm="a\\"b"', [Challenge("basic", {"realm": 'a"b'})]),
    ],
)  # fmt: skip
def test_challenges_are_read(header, found):
    assert parse_challenges(header) == found


@given(st.text())
def test_any_header_is_read_without_an_error(header):
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower() != ""


@given(st.text(max_size=30), st.text(max_size=30))
def test_basic_credentials_are_those_of_the_standard(user, password):
    value = Credentials(user, password).basic
    assert value.startswith("Basic ")
    assert base64.b64decode(value[6:]).decode() == f"{user}:{password}"


def test_credentials_are_never_shown():
    assert repr(Credentials("user", "secret")) == "Credentials()"


def test_the_entry_of_the_host_is_taken_and_a_password_may_have_a_colon(tmp_path):
    path = config(tmp_path, auths={HOST: entry("me:pass:word"), "other": entry("x:y")})
    assert find_credentials(HOST, path) == Credentials("me", "pass:word")
    assert find_credentials("third", path) is None
    assert find_credentials("fourth", tmp_path / "absent") is None
    assert find_credentials(HOST, config(tmp_path, auths={f"https://{HOST}": entry("a:b")})) == Credentials("a", "b")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\0"])
def test_a_file_that_is_no_object_is_told(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtifactStoreError, match=r"config\.json cannot be used: it is no JSON object"):
        find_credentials(HOST, tmp_path / "config.json")


@pytest.mark.parametrize("auth", ["?", "bm9jb2xvbg==", "/w==", "bWU6?cGFzcw=="])
def test_an_entry_that_is_malformed_is_told_without_it(tmp_path, auth):
    with pytest.raises(ArtifactStoreError, match=f"its entry for {HOST} is no base64 text") as caught:
        find_credentials(HOST, config(tmp_path, auths={HOST: {"auth": auth}}))
    assert auth not in str(caught.value)


@pytest.mark.parametrize("content", [{"auths": []}, {"auths": {HOST: []}}, {"credHelpers": "x"}, {"auths": {HOST: {}}},
                                     {"credHelpers": {HOST: ""}}, {"credHelpers": {HOST: 3}}])  # fmt: skip
def test_a_file_of_another_shape_has_no_credentials(tmp_path, content):
    assert find_credentials(HOST, config(tmp_path, **content)) is None


def helper(folder, script: str) -> None:
    path = folder / "docker-credential-mine"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


@pytest.mark.parametrize("content", [{"credHelpers": {HOST: "mine"}}, {"credsStore": "mine", "auths": {HOST: {}}}])
def test_a_credential_helper_is_asked(tmp_path, monkeypatch, content):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    helper(tmp_path, """test "$1" = get && host=$(cat) && echo '{"Username": "'"$host"'", "Secret": "s"}'""")
    assert find_credentials(HOST, config(tmp_path, **content)) == Credentials(HOST, "s")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo out of order >&2; exit 3", "gives no credentials: out of order"),
        ("printf '%0999d' 0; exit 3", "gives no credentials: 0{200}[^0]"),
        ("exit 3", "it ended with status 3"),
        ("echo '{}'", "its answer has no Username and Secret"),
        ("echo '<'", "its answer has no Username and Secret"),
    ],
)
def test_a_helper_that_fails_is_told(tmp_path, monkeypatch, script, message):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    helper(tmp_path, script)
    with pytest.raises(ArtifactStoreError, match=message):
        find_credentials(HOST, config(tmp_path, credHelpers={HOST: "mine"}))


def test_a_helper_has_thirty_seconds(tmp_path, monkeypatch):
    def hang(*_, timeout: float, **__) -> None:
        raise subprocess.TimeoutExpired("docker-credential-mine", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ArtifactStoreError, match="it did not answer within 30 s"):
        find_credentials(HOST, config(tmp_path, credHelpers={HOST: "mine"}))


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ArtifactStoreError, match="cannot be used: Is a directory"):
        find_credentials(HOST, tmp_path)


def test_aws_that_refuses_is_told_in_short(tmp_path, monkeypatch):
    def refuse(*_, **__) -> None:
        raise botocore.exceptions.ProfileNotFound(profile="p" * 999)

    monkeypatch.setattr(boto3, "client", refuse)
    with pytest.raises(ArtifactStoreError, match=r"AWS gives no credentials for 1.*: The config profile") as caught:
        find_credentials("123456789012.dkr.ecr.eu-west-1.amazonaws.com", tmp_path / "absent")
    assert str(caught.value).count("p" * 150) == 1


def test_a_helper_without_credentials_is_no_error_and_one_that_is_absent_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    helper(tmp_path, "echo credentials not found in native keychain; exit 1")
    assert find_credentials(HOST, config(tmp_path, credHelpers={HOST: "mine"})) is None
    for name, message in (("absent", "it is not on the path"), ("../mine", "its name is malformed")):
        with pytest.raises(ArtifactStoreError, match=message):
            find_credentials(HOST, config(tmp_path, credHelpers={HOST: name}))


def test_amazons_registry_gets_its_password_from_aws(tmp_path, monkeypatch):
    import moto

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    for variable in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    with moto.mock_aws():
        found = find_credentials(host, tmp_path / "absent")
    assert found is not None
    assert found.user == "AWS"
    assert find_credentials(host, config(tmp_path, auths={host: entry("a:b")})) == Credentials("a", "b")
