"""Calls to AWS with the credentials of its provider chain: environment, profile, SSO, web identity, instance.

With a role to assume, the chain's credentials are used for that alone. Credentials that botocore can renew (roles, SSO,
web identity, instances) are renewed before they end, so a deployment may last longer than they do. Others are read once
more when AWS says that they have expired: a log-in in another window is enough for the deployment to go on.
"""

from __future__ import annotations

import datetime as dt
import difflib
from typing import TYPE_CHECKING, Any, Final

from deploy.aws.identity import Caller, session_name
from deploy.aws.refusals import GO_ON, Place, refusal, short
from divisions.errors import CloudError, CloudUnreachableError, ExpiredCredentialsError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60
MAX_ATTEMPTS: Final = 4


class AwsSession:
    """A region, and how to get credentials for it. Opens no connection before the first call.

    Args:
        region: where; empty for that of the profile or of the environment.
        profile: of AWS's configuration; empty for the default.
        role_arn: a role to assume; empty for none.
        external_id: what the role's trust policy asks for; empty for nothing.
        who: the person, for the names of sessions.

    Raises:
        SettingsError: there is no such profile, or nothing names a region.
    """

    def __init__(
        self, region: str = "", profile: str = "", role_arn: str = "", external_id: str = "", who: str = ""
    ) -> None:
        self._profile = profile
        self._role_arn = role_arn
        self._external_id = external_id
        self._who = who
        self._clients: dict[str, Any] = {}
        self._session = self._opened()
        self.region = region or self._session.get_config_variable("region") or ""
        if not self.region:
            raise SettingsError("no region of AWS is named", remedy="write `region` in the target, or set AWS_REGION")

    def caller(self) -> Caller:
        """Who we are (``sts get-caller-identity``).

        Raises:
            CloudError: there are no credentials, or AWS refuses them.
        """
        found = self.call("sts", "get_caller_identity", "asking AWS who we are")
        credentials = self._session.get_credentials()
        expires_at = getattr(credentials, "_expiry_time", None)
        return Caller(
            found["Arn"],
            found["Account"],
            getattr(credentials, "method", ""),
            expires_at if isinstance(expires_at, dt.datetime) else None,
        )

    def call(self, service: str, operation: str, doing: str, **arguments: Any) -> dict[str, Any]:
        """One call.

        Args:
            service: as boto3 names it.
            operation: as boto3 names it.
            doing: for errors, such as ``creating the model``.
            arguments: of the operation.

        Raises:
            CloudError: AWS does not answer, or refuses.
        """

        def once() -> dict[str, Any]:
            return self.once(service, operation, doing, **arguments)

        return self.renewing(once)

    def renewing(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Does ``call``, and once more with credentials that were read anew, if they have expired."""
        try:
            return call()
        except ExpiredCredentialsError:
            self._clients.clear()
            self._session = self._opened()
            return call()

    def once(self, service: str, operation: str, doing: str, **arguments: Any) -> dict[str, Any]:
        """As `call`, but credentials that have expired are an error. For `renewing`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            reply: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
        except (BotoCoreError, ClientError, OSError) as error:  # OSError: the file of a web identity's token
            raise self.explained(doing, error) from None
        return reply

    def client(self, service: str) -> Any:
        """A client of boto3. Its errors are boto3's own; see `explained`."""
        if service not in self._clients:
            from botocore.config import Config

            config = Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "max_attempts": MAX_ATTEMPTS},
                user_agent_extra="divisions",
            )
            self._clients[service] = self._session.create_client(service, region_name=self.region, config=config)
        return self._clients[service]

    def explained(self, doing: str, error: Exception) -> CloudError:
        """The error of boto3 in one line, with a remedy."""
        from botocore import exceptions as boto

        place = Place(self.region, self._profile, self._method())
        match error:
            case boto.ClientError():
                found = error.response.get("Error", {})
                return refusal(doing, str(found.get("Code", "")), str(found.get("Message", "")), place)
            case boto.NoCredentialsError() | boto.PartialCredentialsError():
                return CloudError(
                    f"{doing}: there are no credentials for AWS",
                    remedy="set AWS_PROFILE, log in with `aws sso login`, or run where a role is given",
                )
            case boto.SSOError() | boto.TokenRetrievalError():
                log_in = Place(self.region, self._profile, "sso").log_in
                return ExpiredCredentialsError(f"{doing}: the log-in of SSO has ended", remedy=f"{log_in}, {GO_ON}")
            case boto.CredentialRetrievalError() | boto.InvalidConfigError() | boto.ConfigParseError() | OSError():
                return CloudError(f"{doing}: no credentials for AWS: {short(str(error))}", remedy=place.log_in)
            case boto.HTTPClientError() | boto.ConnectionError() | boto.InvalidRegionError():
                return self._unreachable(doing, error)
            case _:
                return CloudError(f"{doing}: {short(str(error))}", remedy="check the target's settings")

    def _opened(self) -> Any:
        session = self._base()
        if self._role_arn:
            from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

            extra = {"RoleSessionName": session_name(self._who)}
            if self._external_id:
                extra["ExternalId"] = self._external_id
            source = self._base()
            fetcher = AssumeRoleCredentialFetcher(
                lambda *names, **given: source.create_client(*names, **{"region_name": self.region, **given}),
                _Chain(source),
                self._role_arn,
                extra_args=extra,
            )
            credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
            session.get_component("credential_provider").providers.insert(0, _Given(credentials))
        return session

    def _base(self) -> Any:
        from botocore.exceptions import ProfileNotFound
        from botocore.session import Session

        try:
            session = Session(profile=self._profile or None)
            session.get_config_variable("region")  # reads the profile
        except ProfileNotFound as error:
            raise SettingsError(
                f"AWS: {short(str(error))}", remedy="run `aws configure list-profiles`, and correct `profile`"
            ) from None
        return session

    def _method(self) -> str:
        try:
            return str(getattr(self._session.get_credentials(), "method", ""))
        except Exception:  # noqa: BLE001  # Whatever is wrong with them is being told already.
            return ""

    def _unreachable(self, doing: str, error: Exception) -> CloudError:
        known = self._session.get_available_regions("sagemaker") + self._session.get_available_regions(
            "sagemaker", partition_name="aws-cn"
        )
        if self.region not in known:
            near = difflib.get_close_matches(self.region, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are, among others, {', '.join(sorted(known)[:4])}"
            return CloudError(f"{doing}: AWS has no region {self.region!r} that is known here", remedy=hint)
        return CloudUnreachableError(
            f"{doing}: AWS does not answer in {self.region}: {short(str(error))}",
            remedy="check the network, a proxy (HTTPS_PROXY) and AWS_ENDPOINT_URL",
        )


class _Chain:
    """The credentials of a session's chain, looked for when they are needed."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def get_frozen_credentials(self) -> Any:
        from botocore.exceptions import NoCredentialsError

        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found.get_frozen_credentials()


class _Given:
    """A provider that comes first in a chain. botocore asks for both attributes."""

    METHOD = "assume-role"
    CANONICAL_NAME = "Divisions"

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def load(self) -> Any:
        return self._credentials
