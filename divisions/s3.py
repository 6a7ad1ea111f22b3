"""The client of S3, with the credentials and the endpoint of the settings, and bounded waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from divisions.errors import UnreachableInputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from divisions.settings import S3Settings

DEFAULT_REGION = "us-east-1"
# Two attempts, each at most 3 s to connect and 5 s to answer. So a dead endpoint is an error within 16 s.
CONNECT_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_S = 5.0
MAX_ATTEMPTS = 2


def s3_filesystem(s3: S3Settings) -> FileSystem:
    """Opens no connection.

    Raises:
        UnreachableInputError: the endpoint is no URL.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    endpoint = urlsplit(s3.endpoint_url) if s3.endpoint_url else None
    if endpoint is not None and (endpoint.scheme not in {"http", "https"} or not endpoint.netloc):
        raise UnreachableInputError(
            f"S3 endpoint {s3.endpoint_url!r} is not a URL", remedy="set AWS_ENDPOINT_URL_S3 to http://host:port"
        )
    has_credentials = s3.access_key is not None and s3.secret_key is not None
    return S3FileSystem(
        access_key=s3.access_key if has_credentials else None,
        secret_key=s3.secret_key if has_credentials else None,
        session_token=s3.session_token if has_credentials else None,
        # Without this, the client would look for AWS's instance metadata, which takes many seconds.
        anonymous=endpoint is not None and not has_credentials,
        region=s3.region or DEFAULT_REGION,
        endpoint_override=endpoint.netloc if endpoint is not None else None,
        scheme=endpoint.scheme if endpoint is not None else None,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
    )
