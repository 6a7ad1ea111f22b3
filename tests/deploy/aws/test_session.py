"""Credentials from each source of AWS's chain, over real HTTP; expiry in mid-way; refusals in one line."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider

from deploy.aws.session import AwsSession
from divisions.errors import CloudError, ExpiredCredentialsError, SettingsError
from tests.aws_stub import CALLER, AwsStub, clear_aws, credentials, json_error, sts, sts_error

REGION = "eu-central-1"
SOON, LATE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


@pytest.fixture
def stub(monkeypatch, tmp_path):
    clear_aws(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path))
    with AwsStub() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        server.replies["GetCallerIdentity"] = [sts("GetCallerIdentity", CALLER)]
        yield server


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")


def used_keys(stub):
    return [authorization.partition("Credential=")[2].partition("/")[0] for _, _, authorization in stub.calls]


def test_keys_of_the_environment(stub, keys):
    caller = AwsSession(REGION).caller()
    assert str(caller) == "arn:aws:sts::123456789012:assumed-role/deployer/ann (environment)"
    assert caller.account == "123456789012"


def test_a_profile_with_a_role_of_another(stub, tmp_path):
    (tmp_path / "config").write_text(
        f"[profile base]\naws_access_key_id=AKBASE\naws_secret_access_key=s\nregion={REGION}\n"
        "[profile deployer]\nrole_arn=arn:aws:iam::1:role/d\nsource_profile=base\n"
    )
    stub.replies["AssumeRole"] = [sts("AssumeRole", credentials("AKROLE", LATE))]
    session = AwsSession(REGION, "deployer")
    assert str(session.caller()).startswith("arn:aws:sts::123456789012:assumed-role/deployer/ann (assumed role, until ")
    assert used_keys(stub) == ["AKBASE", "AKROLE"]
    assert AwsSession(profile="base").region == REGION


def test_a_role_of_the_target_is_assumed_by_whoever_deploys(stub, keys):
    stub.replies["AssumeRole"] = [sts("AssumeRole", credentials("AKROLE", LATE))]
    caller = AwsSession(REGION, role_arn="arn:aws:iam::1:role/ship", external_id="x-1", who="ann müller@host").caller()
    assert caller.method == "assume-role"
    assert caller.expires_at == dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    _, fields, _ = stub.calls[0]
    assert (fields["RoleArn"], fields["ExternalId"]) == ("arn:aws:iam::1:role/ship", "x-1")
    assert fields["RoleSessionName"] == "ann-m-ller@host"
    assert used_keys(stub) == ["AKENV", "AKROLE"]


def test_the_web_identity_of_a_pod(stub, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    stub.replies["AssumeRoleWithWebIdentity"] = [sts("AssumeRoleWithWebIdentity", credentials("AKPOD", LATE))]
    assert AwsSession(REGION).caller().method == "assume-role-with-web-identity"
    assert stub.calls[0][1]["WebIdentityToken"] == "a.b.c"


def test_a_web_identitys_token_that_is_not_there(stub, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(CloudError, match=r"no credentials for AWS: .*none"):
        AwsSession(REGION).caller()


def test_a_log_in_of_sso(stub, monkeypatch, tmp_path):
    """The cache of `aws sso login` while it is valid, and after its end."""
    import hashlib

    cache = tmp_path / ".aws" / "sso" / "cache"
    for provider in (SSOTokenProvider, SSOProvider):  # botocore reads HOME when it is imported
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    (tmp_path / "config").write_text(
        f"[profile sso]\nsso_session=corp\nsso_account_id=1\nsso_role_name=d\nregion={REGION}\n"
        "[sso-session corp]\nsso_start_url=https://x.example/start\nsso_region=eu-west-1\n"
    )
    with pytest.raises(ExpiredCredentialsError, match=r"log-in of SSO has ended. log in with `aws sso login --profile"):
        AwsSession(profile="sso").caller()
    cache.mkdir(parents=True)
    name = hashlib.sha1(b"corp").hexdigest()
    (cache / f"{name}.json").write_text(json.dumps({"accessToken": "at", "expiresAt": SOON}))
    with pytest.raises(ExpiredCredentialsError, match="log-in of SSO has ended"):
        AwsSession(profile="sso").caller()
    (cache / f"{name}.json").write_text(json.dumps({"accessToken": "at", "expiresAt": LATE}))
    keys = {"accessKeyId": "AKSSO", "secretAccessKey": "s", "sessionToken": "t", "expiration": 4_070_908_800_000}
    stub.replies["/federation/credentials"] = [(200, json.dumps({"roleCredentials": keys}))]
    caller = AwsSession(profile="sso").caller()
    assert (caller.method, caller.expires_at) == ("sso", dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
    assert used_keys(stub)[-1] == "AKSSO"


def test_roles_are_renewed_before_they_end(stub, keys):
    """A role's credentials that are about to end are replaced in mid-way; the deployment hears nothing of it."""
    stub.replies["AssumeRole"] = [
        sts("AssumeRole", credentials("AKFIRST", (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).isoformat())),
        sts("AssumeRole", credentials("AKSECOND", LATE)),
    ]
    session = AwsSession(REGION, role_arn="arn:aws:iam::1:role/ship")
    session.caller()
    session.caller()
    assert used_keys(stub)[-1] == "AKSECOND"


def test_credentials_that_end_are_read_once_more(stub, tmp_path):
    """Somebody logs in again in another window."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id=AKOLD\naws_secret_access_key=s\naws_session_token=t\n")
    session = AwsSession(REGION)
    session.caller()
    stub.replies["GetCallerIdentity"] = [sts_error("ExpiredToken"), sts("GetCallerIdentity", CALLER)]
    stub._counts.clear()
    file.write_text("[default]\naws_access_key_id=AKNEW\naws_secret_access_key=s\naws_session_token=t\n")
    assert session.caller().method == "shared-credentials-file"
    assert used_keys(stub) == ["AKOLD", "AKOLD", "AKNEW"]


def test_credentials_that_stay_expired_are_one_line_with_the_way_to_go_on(stub, keys):
    stub.replies["GetCallerIdentity"] = [sts_error("ExpiredToken", "The security token included in it is expired")]
    with pytest.raises(ExpiredCredentialsError) as caught:
        AwsSession(REGION).caller()
    assert str(caught.value) == (
        "asking AWS who we are: the credentials for AWS have expired. "
        "get new credentials for AWS, then run the same command again: it goes on where it ended"
    )
    assert stub.actions == ["GetCallerIdentity"] * 2


def test_no_credentials_at_all(stub):
    with pytest.raises(CloudError, match=r"there are no credentials for AWS\. set AWS_PROFILE"):
        AwsSession(REGION).caller()
    with pytest.raises(CloudError, match="there are no credentials for AWS"):
        AwsSession(REGION, role_arn="arn:aws:iam::1:role/ship").caller()
    assert stub.calls == []


def test_a_key_without_its_secret(stub, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    with pytest.raises(CloudError, match="there are no credentials for AWS"):
        AwsSession(REGION).caller()


@pytest.mark.parametrize(
    ("code", "message", "says"),
    [
        ("InvalidClientTokenId", "invalid", r"AWS does not know these credentials .*enabled eu-central-1"),
        ("SignatureDoesNotMatch", "no", "AWS does not know these credentials"),
        ("RequestTimeTooSkewed", "no", "clock is wrong"),
        (
            "AccessDenied",
            "User: arn:aws:iam::1:user/ann is not authorized to perform: sts:AssumeRole on resource: arn:r",
            r"arn:aws:iam::1:user/ann may not sts:AssumeRole on arn:r\. allow it",
        ),
        ("AccessDenied", "explicitly denied", "AWS denies access: explicitly denied"),
    ],
)
def test_refusals_of_a_role(stub, keys, code, message, says):
    stub.replies["AssumeRole"] = [sts_error(code, message)]
    with pytest.raises(CloudError, match=says) as caught:
        AwsSession(REGION, role_arn="arn:aws:iam::1:role/x").caller()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message", "says"),
    [
        (
            "ResourceLimitExceeded",
            "limit 'ml.g4dn.xlarge' is 0 Instances",
            r"a quota .* is 0 Instances.*Service Quotas",
        ),
        ("ValidationException", "Could not find model", r"creating it: Could not find model \(ValidationException\)"),
        (
            "AccessDeniedException",
            "User: arn:a is not authorized to perform: sagemaker:CreateModel on resource: arn:m because no policy",
            "arn:a may not sagemaker:CreateModel on arn:m",
        ),
    ],
)
def test_refusals_of_a_service(stub, keys, code, message, says):
    stub.replies["CreateModel"] = [json_error(code, message)]
    with pytest.raises(CloudError, match=says):
        AwsSession(REGION).call("sagemaker", "create_model", "creating it", ModelName="m", ExecutionRoleArn="r" * 20)


def test_a_limit_of_requests_is_waited_for(stub, keys):
    stub.replies["ListModels"] = [json_error("ThrottlingException"), (200, '{"Models": []}')]
    assert AwsSession(REGION).call("sagemaker", "list_models", "listing")["Models"] == []


def test_a_region_that_does_not_exist_and_one_that_does_not_answer(monkeypatch, tmp_path, keys):
    clear_aws(monkeypatch.setenv, monkeypatch.delenv, str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CloudError, match=r"no region 'eu-centrl-1' that is known here\. did you mean eu-central-1\?"):
        AwsSession("eu-centrl-1").caller()
    with pytest.raises(CloudError, match=r"AWS does not answer in eu-central-1: .*check the network"):
        AwsSession(REGION).caller()


def test_what_is_wrong_before_any_call(stub, keys):
    with pytest.raises(SettingsError, match="no region of AWS is named"):
        AwsSession()
    with pytest.raises(SettingsError, match=r"profile \(nobody\) could not be found"):
        AwsSession(REGION, "nobody")
