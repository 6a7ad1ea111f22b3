"""How people and MLflow name a version of a model. Pure.

==========================  =====================================================
``3.2``                     the label
``2``                       the number in the registry
``production``              an alias
``models:/MODEL/2``         MLflow's address of a number or a label
``models:/MODEL@ALIAS``     MLflow's address of an alias
``runs:/RUN_ID``            what a run has registered; a path after it is ignored
==========================  =====================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from divisions.errors import RegistryError
from divisions.versions import RegisteredVersion

_MODELS: Final = "models:/"
_RUNS: Final = "runs:/"


@dataclass(frozen=True, slots=True)
class VersionName:
    """A parsed name. Of ``version``, ``alias`` and ``run_id`` one is given; a plain name is both of the first two."""

    version: str = ""
    alias: str = ""
    run_id: str = ""

    def names(self, candidate: RegisteredVersion) -> bool:
        is_numbered = self.version in {candidate.version, str(candidate.registry_version)}
        is_from_run = bool(self.run_id) and candidate.run_id == self.run_id
        return is_numbered or is_from_run or (bool(self.alias) and self.alias in candidate.aliases)


def parse_version(text: str, model: str) -> VersionName:
    """Reads a name.

    >>> parse_version("models:/churn-predictor@production", "churn-predictor").alias
    'production'

    Raises:
        RegistryError: it is malformed, or of another model.
    """
    if text.startswith(_RUNS):
        run_id = text.removeprefix(_RUNS).partition("/")[0]
        if not run_id:
            raise RegistryError(f"{text!r} names no run", remedy="write runs:/RUN_ID")
        return VersionName(run_id=run_id)
    if not text.startswith(_MODELS):
        return VersionName(version=text, alias=text)
    name, version = parse_address(text)
    if name != model:
        raise RegistryError(f"{text!r} is no version of {model!r}", remedy="name the pipeline file of that model")
    return version


def parse_address(text: str) -> tuple[str, VersionName]:
    """The model and the version that ``models:/MODEL/NUMBER`` or ``models:/MODEL@ALIAS`` names.

    >>> parse_address("models:/sentiment/2")[0]
    'sentiment'

    Raises:
        RegistryError: it is malformed.
    """
    named = text.removeprefix(_MODELS)
    name, at, alias = named.rpartition("@")
    version = ""
    if not at:
        name, _, version = named.rpartition("/")
    if not name or not (alias if at else version):
        raise RegistryError(f"{text!r} names no version", remedy="write models:/MODEL/NUMBER or models:/MODEL@ALIAS")
    return name, VersionName(alias=alias) if at else VersionName(version=version)
