"""Amazon's registry (ECR): its password, its repositories, and what it does differently. boto3 is imported when needed.

- Its password is of AWS, valid for 12 hours, and for that registry alone.
- It makes no repository for what is pushed. So a push to one that is missing makes it, with tags that cannot be moved.
- It answers an expired password with 403, where others answer 401.
- It takes chunked uploads, and loses all chunks but the first; `divisions.oci.registry` sends none.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from divisions.errors import ArtifactStoreError

if TYPE_CHECKING:
    from divisions.oci.reference import Repository

T = TypeVar("T")
_HOST: Final = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn)"
)


@dataclass(frozen=True, slots=True)
class EcrHost:
    """The registry of an account in a region."""

    account: str
    region: str


def ecr_host(host: str) -> EcrHost | None:
    """The registry of Amazon that a host name is; None for any other, whatever it begins with.

    >>> ecr_host("123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    EcrHost(account='123456789012', region='eu-west-1')
    >>> ecr_host("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.org")
    """
    found = _HOST.fullmatch(host)
    return None if found is None else EcrHost(found["account"], found["region"])


def password(host: str, region: str) -> tuple[str, str]:
    """The user and the password for a registry, from the AWS provider chain.

    Raises:
        ArtifactStoreError: AWS gives none.
    """

    def asked(client: Any) -> tuple[str, str]:
        found = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, text = base64.b64decode(found).decode().partition(":")
        return user, text

    return _ask(region, asked, f"AWS gives no credentials for {host}", "ecr:GetAuthorizationToken")


def create_repository(repository: Repository, place: EcrHost) -> None:
    """Makes a repository; one that is there already, or that another machine makes now, is as good.

    Raises:
        ArtifactStoreError: AWS refuses.
    """

    def asked(client: Any) -> None:
        try:
            client.create_repository(
                registryId=place.account, repositoryName=repository.path, imageTagMutability="IMMUTABLE"
            )
        except client.exceptions.RepositoryAlreadyExistsException:
            return

    _ask(place.region, asked, f"the repository {repository} is missing, and cannot be made", "ecr:CreateRepository")


def creator(repository: Repository) -> Callable[[], None] | None:
    """Makes a repository of Amazon's registry; None for the registries of others, who make their own."""
    place = ecr_host(repository.host)
    return None if place is None else lambda: create_repository(repository, place)


def _ask(region: str, asked: Callable[[Any], T], failed: str, action: str) -> T:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return asked(boto3.client("ecr", region_name=region))
    except (BotoCoreError, ClientError, LookupError, OSError, binascii.Error, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:200]
        raise ArtifactStoreError(f"{failed}: {text}", remedy=f"log in to AWS, and allow {action}") from None
