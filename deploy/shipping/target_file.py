"""``.divisions/targets.yaml``: where ``divisions deploy`` may ship to. Errors have a line and a column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.shipping.kinds import Kind, settings_reader
from deploy.shipping.target import TargetSettings
from divisions.errors import PipelineError, SettingsError, UsageError, reason_of
from divisions.names import NAME_RULE, is_name
from divisions.oci.reference import names_repository, parse_repository
from divisions.pipeline.yaml_nodes import MAX_BYTES, read_nodes
from divisions.pipeline.yaml_nodes import Mapping as YamlMapping
from divisions.pipeline.yaml_sections import Problems, Section, choice, flag, parsed

LOCAL = "local"
"""The target that needs no file: the cluster of this home."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One target. An empty ``artifacts`` is that of ``DIVISIONS_ARTIFACTS``.

    With ``verify_image``, a trusted key must have signed its image.
    """

    name: str
    kind: Kind
    settings: TargetSettings
    artifacts: str = ""
    verify_image: bool = False


def load_target(path: Path, name: str) -> TargetSpec:
    """The target of this name. Without the file there is ``local`` only.

    Raises:
        PipelineError: the file cannot be read, or is malformed. The error lists all problems of the file.
        UsageError: there is no such target.
    """
    found = load_targets(path)
    if name not in found:
        raise UsageError(
            f"there is no target {name!r}", remedy=f"{path} and the defaults have {', '.join(sorted(found))}"
        )
    return found[name]


def load_targets(path: Path) -> Mapping[str, TargetSpec]:
    """All targets by name, ``local`` among them.

    Raises:
        PipelineError: the file cannot be read, or is malformed. The error lists all problems of the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1).decode()
    except FileNotFoundError:
        content = ""
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(
            f"the file of targets cannot be read: {reason_of(error)}",
            remedy="check the path, and save it as UTF-8",
            path=str(path),
        ) from None
    return parse_targets(content, str(path)) if content else {LOCAL: _local()}


def parse_targets(content: str, path: str = "") -> Mapping[str, TargetSpec]:
    """The targets of a file's text by name. ``local`` is always among them.

    Raises:
        PipelineError: the text is malformed.
    """
    root = read_nodes(content, path)
    if not isinstance(root, YamlMapping):
        raise PipelineError(
            "the file must be a section with the key 'targets'", path=path, line=root.place.line, column=1
        )
    problems = Problems(path)
    found = {LOCAL: _local()}
    with Section(root, "", problems) as top:
        targets = top.section("targets", is_required=True)
        with targets:
            for name in targets.names:
                section = targets.section(name)
                if not is_name(name):
                    targets.report("a target's name is malformed", f"use {NAME_RULE}", name)
                with section:
                    kind = section.require("kind", choice(Kind), Kind.LOCAL)
                    artifacts = section.take("artifacts", parsed(_store), "")
                    verify_image = section.take("verify_image", flag, False)
                    settings = settings_reader(kind)(section)
                    if verify_image and kind is Kind.LOCAL:
                        section.report("a target of kind local has no image", "remove verify_image", "verify_image")
                found[name] = TargetSpec(name, kind, settings, artifacts, verify_image)
    problems.raise_any()
    return found


def _local() -> TargetSpec:
    return TargetSpec(LOCAL, Kind.LOCAL, settings_reader(Kind.LOCAL)(Section(None, "", Problems(""))))


def _store(value: str) -> str:
    if names_repository(value):
        try:
            parse_repository(value)
        except SettingsError as error:
            raise PipelineError(error.message, remedy=error.remedy) from None
    elif not value.startswith(("s3://", "/")):
        raise PipelineError(
            f"{value[:80]!r} names no store", remedy="write s3://bucket/prefix, oci://registry/path or an absolute path"
        )
    return value
