"""The names of lightkube that `deploy.kubernetes.api` uses. Importing it takes half a second."""

from httpx2 import HTTPError, HTTPStatusError
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import GenericNamespacedResource as Resource
from lightkube.generic_resource import create_api_info
from lightkube.types import PatchType

__all__ = [
    "ApiError",
    "Client",
    "ConfigError",
    "HTTPError",
    "HTTPStatusError",
    "KubeConfig",
    "PatchType",
    "Resource",
    "create_api_info",
]
