"""The kinds of targets. This is the one place that names them; a kind's code is imported only when a file names it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import assert_never

from deploy.shipping.target import TargetSettings
from divisions.pipeline.yaml_sections import Section


class Kind(enum.StrEnum):
    """The kinds of targets that this release can ship to."""

    LOCAL = "local"
    SAGEMAKER = "sagemaker"
    KUBERNETES = "kubernetes"


def settings_reader(kind: Kind) -> Callable[[Section], TargetSettings]:
    """What reads the section of a target of this kind. The keys that every kind has are read already."""
    match kind:
        case Kind.LOCAL:
            from deploy.shipping.local.settings import read_settings

            return read_settings
        case Kind.SAGEMAKER:
            from deploy.shipping.sagemaker.settings import read_settings as read_sagemaker

            return read_sagemaker
        case Kind.KUBERNETES:
            from deploy.shipping.kubernetes.settings import read_settings as read_cluster

            return read_cluster
        case _:
            assert_never(kind)
