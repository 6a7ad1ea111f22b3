"""A bundle: the rules of ours and of the cluster's owner with their data, read from files and known by a digest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from divisions.access.roles import PER_ENDPOINT, RIGHTS, Action, roles_with
from divisions.errors import PolicyError
from divisions.policy.gates import Gates, gates_document, parse_gates
from divisions.policy.source import CUSTOM, Module, custom_names

RULES: Final = Path(__file__).parent / "rules"
DATA_FILES: Final = ("data.yaml", "data.yml", "data.json")
MAX_BYTES: Final = 256 * 1024
MAX_FILES: Final = 200
MAX_NAME_BYTES: Final = 100
"""What the archive of a bundle has room for."""
OURS: Final = "divisions/"
"""How names of our own modules begin."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_KEY_TAGS: Final = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


@dataclass(frozen=True, slots=True)
class Bundle:
    """``data`` is the whole ``data`` document. ``digest`` is of all that can change a decision: tests cannot."""

    modules: tuple[Module, ...]
    data: dict[str, Any]
    digest: str

    @property
    def custom(self) -> tuple[str, ...]:
        """The names of the owner's policies."""
        return tuple(self.data["divisions"]["bundle"]["custom"])


def load_bundle(folder: Path | None) -> Bundle:
    """Reads our rules, and those of a folder beside them.

    Raises:
        PolicyError: a file cannot be read, or is not what it must be.
    """
    ours = [Module(OURS + path.name, path.read_text("utf-8"), is_ours=True) for path in sorted(RULES.glob("*.rego"))]
    theirs = list(_modules(folder)) if folder else []
    gates, own = _data(folder) if folder else (Gates(), {})
    data = {
        "divisions": {
            "access": access_document(),
            "settings": gates_document(gates),
            "bundle": {"custom": custom_names(theirs)},
        },
        CUSTOM: own,
    }
    modules = (*ours, *theirs)
    digest = _digest(modules, data)
    data["divisions"]["bundle"]["digest"] = digest
    return Bundle(modules, data, digest)


def access_document() -> dict[str, Any]:
    """`divisions.access.roles` as the rules read it: there is one table of roles, and this is it."""
    granted = {action for actions in RIGHTS.values() for action in actions}
    return {
        "rights": {role.value: sorted(action.value for action in actions) for role, actions in RIGHTS.items()},
        "per_endpoint": sorted(action.value for action in PER_ENDPOINT),
        "cluster_wide": sorted(action.value for action in granted - PER_ENDPOINT),
        "approvers": sorted(role.value for role in roles_with(Action.PROMOTE)),
    }


def _digest(modules: tuple[Module, ...], data: dict[str, Any]) -> str:
    rules = sorted((module.name, module.text) for module in modules if not module.is_test)
    return hashlib.sha256(json.dumps([rules, data], sort_keys=True).encode()).hexdigest()


def _modules(folder: Path) -> Iterator[Module]:
    if not folder.is_dir():
        raise PolicyError("there is no such folder", remedy="make it, or change DIVISIONS_POLICY", path=str(folder))
    paths = sorted(_paths(folder))
    if len(paths) > MAX_FILES:
        raise PolicyError(f"there are {len(paths)} files", remedy=f"keep at most {MAX_FILES}", path=str(folder))
    for path in paths:
        name = str(path.relative_to(folder))
        if not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
            raise PolicyError(
                "it has a name that a bundle cannot have",
                remedy=f"use at most {MAX_NAME_BYTES} bytes, and no control characters",
                path=ascii(name)[1:-1][:MAX_NAME_BYTES],
            )
        yield Module(name, _text(path))


def _paths(folder: Path) -> Iterator[Path]:
    """The files of rules. What cannot be looked at is a fault: a policy that is not seen refuses nothing."""

    def failed(error: OSError) -> None:
        raise PolicyError(
            f"it cannot be looked at: {error.strerror}", remedy="check its permissions", path=str(error.filename)
        )

    for place, folders, files in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if (path := Path(place, name)).is_symlink():
                raise PolicyError(
                    "it is a link to a folder, which is not followed",
                    remedy="copy the folder here, or link its files",
                    path=str(path.relative_to(folder)),
                )
        yield from (Path(place, name) for name in files if name.endswith(".rego") and not name.startswith("."))


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PolicyError("it is no file", remedy="remove or rename it", path=path.name)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode().removeprefix("\N{BOM}").replace("\r\n", "\n")
    except OSError as error:
        raise PolicyError(
            f"it cannot be read: {error.strerror}", remedy="check its permissions", path=path.name
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PolicyError("it is not UTF-8", remedy="save it as UTF-8", path=path.name, line=line) from None
    if len(data) > MAX_BYTES:
        raise PolicyError(f"it has more than {MAX_BYTES} bytes", remedy="split it", path=path.name)
    if odd := _CONTROL.search(text):  # the engine reads no further than a NUL
        line = text.count("\n", 0, odd.start()) + 1
        raise PolicyError("it has a control character", remedy="remove it", path=path.name, line=line)
    return text


def _data(folder: Path) -> tuple[Gates, dict[str, Any]]:
    """The settings of our gates, and the owner's own data."""
    found = [folder / name for name in DATA_FILES if os.path.lexists(folder / name)]
    if not found:
        return Gates(), {}
    if len(found) > 1:
        raise PolicyError("there is more than one file of data", remedy="keep one of them", path=found[1].name)
    path = found[0]
    try:
        document = _Loader(_text(path)).get_single_data()  # JSON is YAML, too
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise PolicyError(
            f"it is not YAML: {error.problem}", remedy="correct it", path=path.name, line=mark.line + 1 if mark else 0
        ) from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PolicyError(
            f"it has what JSON has not: {str(error)[:200]}", remedy="write plain values", path=path.name
        ) from None
    if document is None:
        return Gates(), {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise PolicyError("it must be a mapping", remedy="begin with a key, such as gates:", path=path.name)
    gates = parse_gates(document.pop("gates", {}), path.name)
    return gates, document


class _Loader(yaml.SafeLoader):
    """Plain data only: no aliases, no key twice, and times stay texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as PyYAML has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in _KEY_TAGS:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {str(key.value)[:40]!r} is no text: write it in quotes", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {str(key.value)[:40]!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=True)
