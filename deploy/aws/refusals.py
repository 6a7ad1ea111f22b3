"""What AWS's refusals mean, and what to do about each. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from divisions.errors import CloudError, CloudUnreachableError, ExpiredCredentialsError

_DENIED: Final = re.compile(
    r"(?:User:? )?(?P<who>arn:\S+) is not authorized to perform:? (?P<action>[\w:*-]+)(?: on resource:? (?P<what>\S+))?"
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_UNKNOWN: Final = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_FORBIDDEN: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "OptInRequired", "UnauthorizedOperation"}
)
_QUOTA: Final = frozenset({"LimitExceeded", "LimitExceededException", "ResourceLimitExceeded", "ServiceQuotaExceeded"})
_BUSY: Final = frozenset(
    {"RequestLimitExceeded", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
_FAILING: Final = frozenset(
    {"500", "502", "503", "504", "InternalFailure", "InternalServerError", "InternalServiceFault", "ServiceUnavailable"}
)
GO_ON: Final = "then run the same command again: it goes on where it ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call went, for messages. ``method`` is how the credentials were found, as botocore names it."""

    region: str
    profile: str = ""
    method: str = ""

    @property
    def log_in(self) -> str:
        """How to get credentials that are valid."""
        named = f" --profile {self.profile}" if self.profile else ""
        if self.method.startswith("sso"):
            return f"log in with `aws sso login{named}`"
        if self.method == "assume-role-with-web-identity":
            return "check that the token of AWS_WEB_IDENTITY_TOKEN_FILE is renewed, and that the role trusts its issuer"
        return "get new credentials for AWS"


def refusal(doing: str, code: str, message: str, place: Place) -> CloudError:
    """The error that a refused call is.

    Args:
        doing: what the call was to do, such as ``creating the model``.
        code: AWS's name of the error.
        message: AWS's words.
        place: where the call went.

    >>> said = "User: arn:aws:iam::1:user/ann is not authorized to perform: sagemaker:CreateModel on resource: arn:m"
    >>> print(refusal("creating the model", "AccessDeniedException", said, Place("eu-central-1")).message)
    creating the model: arn:aws:iam::1:user/ann may not sagemaker:CreateModel on arn:m
    """
    error = _refusal(doing, code, message, place)
    error.code = code
    return error


def _refusal(doing: str, code: str, message: str, place: Place) -> CloudError:
    text = short(message)
    if code in _EXPIRED:
        return ExpiredCredentialsError(
            f"{doing}: the credentials for AWS have expired", remedy=f"{place.log_in}, {GO_ON}"
        )
    if code in _UNKNOWN:
        return CloudError(
            f"{doing}: AWS does not know these credentials ({code})",
            remedy=f"{place.log_in}, and check that the account has enabled {place.region}",
        )
    if code == "RequestTimeTooSkewed":
        return CloudError(f"{doing}: this machine's clock is wrong", remedy="set it, and try again")
    if code in _FORBIDDEN:
        return _forbidden(doing, text)
    if code in _QUOTA or "quota" in message.lower():
        return CloudError(
            f"{doing}: a quota of the account is used up: {text}",
            remedy="ask for more in Service Quotas, or use fewer or other instances",
        )
    if code in _BUSY:
        return CloudUnreachableError(f"{doing}: AWS limits requests ({code})", remedy="wait a minute, and try again")
    if code in _FAILING:
        return CloudUnreachableError(f"{doing}: AWS fails: {text or code} ({code})", remedy=f"wait a minute, {GO_ON}")
    return CloudError(f"{doing}: {text or code} ({code})", remedy=f"mend that, {GO_ON}")


def _forbidden(doing: str, text: str) -> CloudError:
    found = _DENIED.search(text)
    remedy = "allow it in the policy of that role; docs/sagemaker.md lists what is needed"
    if found is None:
        return CloudError(f"{doing}: AWS denies access: {text}", remedy=remedy)
    what = f" on {found['what'].rstrip('.,')}" if found["what"] else ""
    return CloudError(f"{doing}: {found['who']} may not {found['action']}{what}", remedy=remedy)


def short(text: str) -> str:
    """One line of at most 400 characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= 400 else f"{line[:400]} …"
