"""The section ``policy``: what must hold before a version is promoted, see docs/approval.md."""

from __future__ import annotations

from divisions.errors import PipelineError
from divisions.names import NAME_RULE, is_name
from divisions.pipeline.yaml_nodes import Mapping, Node
from divisions.pipeline.yaml_sections import Problems, Section, integer, items, parsed, text
from divisions.promotion import (
    MOST_APPROVALS,
    MOST_WINDOWS,
    REQUIREMENTS,
    WINDOW_RULE,
    FreezeWindow,
    PromotionPolicy,
    is_registry,
)


def promotion_policy(section: Section) -> PromotionPolicy:
    default = PromotionPolicy()
    with section:
        return PromotionPolicy(
            environment=section.take("environment", parsed(_environment), default.environment),
            approvals=section.take("approvals", integer(0, MOST_APPROVALS), default.approvals),
            freeze=section.take("freeze", items(_window, most=MOST_WINDOWS), default.freeze),
            require=section.take("require", items(parsed(_requirement)), default.require),
            registries=section.take("registries", items(parsed(_registry), most=MOST_WINDOWS), default.registries),
            images=section.take("images", items(parsed(_image), most=MOST_WINDOWS), default.images),
        )


def _environment(name: str) -> str:
    if not is_name(name):
        raise PipelineError(f"{name[:60]!r} is no name", remedy=f"write {NAME_RULE}, such as production")
    return name


def _requirement(name: str) -> str:
    if name not in REQUIREMENTS:
        raise PipelineError(f"nothing is known as {name[:60]!r}", remedy=f"write some of {', '.join(REQUIREMENTS)}")
    return name


def _registry(address: str) -> str:
    if not is_registry(address):
        raise PipelineError(
            f"{address[:60]!r} is no address", remedy="write its beginning, such as oci://registry.example.com/models"
        )
    return address


def _image(name: str) -> str:
    if not is_registry(name):
        raise PipelineError(
            f"{name[:60]!r} is no name of images", remedy="write its beginning, such as registry.example.com/divisions"
        )
    return name


def _window(node: Node) -> FreezeWindow:
    if not isinstance(node, Mapping):
        raise PipelineError("must be a section with from and to", remedy=f"write times like {WINDOW_RULE}")
    problems = Problems("")
    with Section(node, "", problems) as section:
        window = FreezeWindow(
            section.require("from", text, ""), section.require("to", text, ""), section.take("zone", text, "UTC")
        )
    problems.raise_any()
    if problem := window.problem():
        raise PipelineError(problem, remedy="see docs/approval.md for examples")
    return window
