"""This process's environment, except for the settings in it: secrets, and what libraries and children read there."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from divisions.setting_values import PREFIX
from divisions.settings import LOOPBACK, load_settings

_TOKENS = {"DIVISIONS_TOKEN": "token", "RAY_AUTH_TOKEN": "ray_token"}
"""Variables that hold a token, and the file of the home that keeps it."""
_LOOPBACK = {"", LOOPBACK, "localhost", "::1"}
_USER_VARIABLES = {"LOGNAME", "USER", "LNAME", "USERNAME"}


def inherited_environment() -> dict[str, str]:
    """This process's environment, for its child processes."""
    return dict(os.environ)


def ray_environment(home: Path, node_host: str = "", *, has_token: bool = True) -> dict[str, str]:
    """The variables that a process needs, before it imports Ray, to join the Ray cluster of ``home``.

    The last variable keeps Ray on the loopback interface. Without it, Ray replaces 127.0.0.1 by the address of the
    host's network interface; the cluster would listen there, or not be found. With it, no other machine can join.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(home / "ray_token")}
    return {
        **(token if has_token else {"RAY_AUTH_MODE": "disabled"}),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": str(int(node_host not in _LOOPBACK)),
    }


def join_ray_cluster(home: Path) -> bool:
    """Prepares this process for Ray, if ``home`` has a cluster. Call it before Ray is imported."""
    try:
        cluster = json.loads((home / "cluster.json").read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        cluster = {}
    environment = ray_environment(home, cluster.get("node_host", ""), has_token=cluster.get("has_token", True))
    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would take precedence over the path
    os.environ.update(environment)
    return True


def secret_of_environment(variable: str) -> str:
    """``DIVISIONS_TOKEN``, or ``DIVISIONS_SIGNING_KEY`` (a key, or the path of its file); empty if it is not set."""
    return os.environ.get(variable, "").strip()


def ray_token_of(home: Path, given: str = "") -> str:
    """Ray's token: the given one, else what the home keeps; empty if ``RAY_AUTH_MODE`` says that there is none."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return given or (home / "ray_token").read_text().strip()
    return given


def ray_uses_tls() -> bool:
    """Whether Ray's own calls are encrypted, by certificates that Ray reads."""
    return os.environ.get("RAY_USE_TLS", "").lower() in {"1", "true"}


def take_secrets() -> dict[str, str]:
    """Takes tokens out of this process's environment, so that no child inherits them: texts by the file's name.

    Ray's token may also be in the file that ``RAY_AUTH_TOKEN_PATH`` names, or in Ray's own in the user's folder.
    """
    found = {file: os.environ.pop(variable, "").strip() for variable, file in _TOKENS.items()}
    if not found["ray_token"] and os.environ.get("RAY_AUTH_MODE", "token").lower() != "disabled":
        named = os.environ.get("RAY_AUTH_TOKEN_PATH")
        for path in [Path(named)] if named else [Path.home() / ".ray" / "auth_token"]:
            with contextlib.suppress(OSError, RuntimeError, UnicodeDecodeError):
                found["ray_token"] = path.read_text().strip()
    return {file: text for file, text in found.items() if text}


def trace_sampler() -> tuple[str, str]:
    """OpenTelemetry's sampler and its argument, as this process's environment names them; empty if it does not."""
    return os.environ.get("OTEL_TRACES_SAMPLER", ""), os.environ.get("OTEL_TRACES_SAMPLER_ARG", "")


def parent_trace() -> str:
    """``TRACEPARENT``: the span that has started this process, as OpenTelemetry names the variable; often empty."""
    return os.environ.get("TRACEPARENT", "")


def cache_folder() -> Path | None:
    """Where this user's programs keep what can be made again (`XDG_CACHE_HOME`); None for a user without a folder."""
    try:
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (given if given.is_absolute() else Path.home() / ".cache") / "divisions"
    except RuntimeError:
        return None


def set_default_environment(values: Mapping[str, str]) -> None:
    """Sets variables that libraries read when they are imported, unless the user has set them."""
    for variable, value in values.items():
        os.environ.setdefault(variable, value)


def trust_authorities(path: str) -> None:
    """Sets ``DIVISIONS_TLS_CA`` for this process and its children; a path is made absolute."""
    os.environ[f"{PREFIX}TLS_CA"] = os.path.abspath(path)


def account_environment() -> dict[str, str]:
    """``HOME`` and ``USER`` for a user that the system does not know, as in a container with any uid.

    Libraries look for both (MLflow for the home folder, PyTorch for the name) and fail without them. The home folder
    is then the folder of all state.
    """
    values = {}
    if "HOME" not in os.environ and not _is_known_user():
        values["HOME"] = str(load_settings().home)
    if not _USER_VARIABLES & set(os.environ) and not _is_known_user():
        values["USER"] = f"uid-{os.getuid()}"
    return values


def _is_known_user() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
