"""Installs this project and what it needs into its own environment: ``python -m deploy.installation '.[demo]'``.

uv installs in a tenth of the processor time that pip takes. But it does not read the configuration of pip, which says
where packages come from on many machines. So this asks pip for it, and passes it on. Where uv cannot be had or fails,
and where the configuration has something that uv would not obey, pip installs. When this runs, only the standard
library is there.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CONSTRAINTS = ("-c", "constraints.txt")
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_SECTIONS = ("global", "install", ":env:")
"""Of pip's configuration; a later one wins."""
_ENVIRONMENT = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
    "cache-dir": "UV_CACHE_DIR",
}
"""Not options: other users of the machine can see a command's options, and an address may have a password."""
_MANY = {"constraint": "-c", "trusted-host": "--allow-insecure-host"}
_SWITCHES = {"no-index": "--no-index", "no-cache-dir": "--no-cache"}
_WITHOUT_EFFECT = frozenset(
    {
        *("break-system-packages", "compile", "disable-pip-version-check", "log", "no-color", "no-compile", "no-input"),
        *("no-warn-script-location", "progress-bar", "quiet", "require-virtualenv", "root-user-action", "verbose"),
    }
)


@dataclass(frozen=True, slots=True)
class UvCall:
    """What makes uv do as pip is configured. ``unknown`` are keys that it cannot obey."""

    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of the installer that did it, or failed last."""
    parser = argparse.ArgumentParser(prog="python -m deploy.installation", description=__doc__.partition("\n")[0])
    parser.add_argument("target", help="the project with its extras, such as '.[demo]'")
    parser.add_argument("--pip", action="store_true", help="install with pip, without trying uv")
    given = parser.parse_args(arguments)
    try:
        if not given.pip:
            if not (why := _install_with_uv(given.target)):
                return 0
            print(f"note: pip installs, which takes some minutes: {why}", file=sys.stderr, flush=True)
        return subprocess.run([*_PIP, "install", *CONSTRAINTS, "-e", given.target], check=False).returncode
    except KeyboardInterrupt:
        return 130


def _install_with_uv(target: str) -> str:
    """Returns why uv has not done it; empty if it has."""
    shown = subprocess.run([*_PIP, "config", "list"], capture_output=True, text=True, check=False)
    if shown.returncode:
        return "pip's configuration cannot be read"
    call = uv_call(effective(shown.stdout))
    if call.unknown:
        return f"uv has nothing like pip's {', '.join(call.unknown)}, which this machine's configuration sets"
    # No build from source: it would need Rust, and many minutes.
    get = [*_PIP, "install", "-q", *CONSTRAINTS, "--only-binary", "uv", "uv"]
    got = subprocess.run(get, capture_output=True, text=True, check=False)
    if got.returncode:
        lines = got.stderr.strip().splitlines()
        return f"uv cannot be installed: {lines[-1] if lines else f'exit status {got.returncode}'}"
    command = [
        str(Path(sysconfig.get_path("scripts")) / "uv"),
        "pip",
        "install",
        "--no-config",
        "--python",
        sys.executable,
    ]
    # As pip: the best version of all indexes, not that of the first index with the name.
    command += ["--index-strategy", "unsafe-best-match", *CONSTRAINTS, *call.options, "-e", target]
    if sys.dont_write_bytecode:  # else each module is compiled when it is first imported, which most never are
        command.append("--compile-bytecode")
    try:
        environment = {**os.environ, **call.environment}  # noqa: TID251  # of others' programs, before ours is there
        done = subprocess.run(command, env=environment, check=False)
    except OSError as error:  # a file system without the right to execute, or a wheel for another machine
        return f"uv cannot be run: {error.strerror}"
    return f"uv has failed with exit status {done.returncode}" if done.returncode else ""


def effective(listed: str) -> dict[str, str]:
    """The settings that hold for ``pip install``, from the output of ``pip config list``.

    >>> effective("global.index-url='https://a.example'\\n:env:.index-url='https://b.example'\\nlist.format='json'")
    {'index-url': 'https://b.example'}
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if equals and section in found:
            found[section][key] = str(ast.literal_eval(value))
    merged: dict[str, str] = {}
    for section in _SECTIONS:
        merged |= {key: value for key, value in found[section].items() if value}  # pip ignores empty ones, too
    return merged


def uv_call(configuration: Mapping[str, str]) -> UvCall:
    """uv's options and environment for a configuration of pip.

    >>> uv_call({"index-url": "https://a.example", "constraint": "a.txt b.txt", "quiet": "1"})
    UvCall(options=('-c', 'a.txt', '-c', 'b.txt'), environment={'UV_DEFAULT_INDEX': 'https://a.example'}, unknown=())
    >>> uv_call({"pre": "true"}).unknown
    ('pre',)
    """
    options: list[str] = []
    environment: dict[str, str] = {}
    unknown: list[str] = []
    for key, value in configuration.items():
        match key:
            case "find-links" if "," not in value:
                environment[_ENVIRONMENT[key]] = ",".join(value.split())
            case "extra-index-url":
                environment[_ENVIRONMENT[key]] = " ".join(value.split())
            case "cache-dir":
                environment[_ENVIRONMENT[key]] = str(Path(value) / "uv")
            case _ if key in _ENVIRONMENT and key != "find-links":
                environment[_ENVIRONMENT[key]] = value
            case _ if key in _MANY:
                options += [part for one in value.split() for part in (_MANY[key], one)]
            case _ if key in _SWITCHES and value.lower() in {"1", "true", "yes", "on", "y", "t"}:
                options.append(_SWITCHES[key])
            case _ if key not in _WITHOUT_EFFECT and key not in _SWITCHES:
                unknown.append(key)
    return UvCall(tuple(options), environment, tuple(unknown))


if __name__ == "__main__":
    sys.exit(main())
