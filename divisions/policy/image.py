"""The image that a cluster is served from, as policies read it. Pure."""

from __future__ import annotations

from typing import Final

from divisions.policy.facts import ImageFact

_DEFAULT: Final = "docker.io"


def image_fact(name: str) -> ImageFact | None:
    """The parts of an image's name, as container engines read it; None without a name.

    >>> image_fact("registry.example:5000/ml/divisions:1.2@sha256:ab")
    ImageFact(registry='registry.example:5000', repository='ml/divisions', digest='sha256:ab')
    >>> image_fact("divisions:gpu")
    ImageFact(registry='docker.io', repository='library/divisions', digest='')
    """
    if not name:
        return None
    path, _, digest = name.partition("@")
    first, slash, rest = path.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, repository = (first, rest) if is_registry else (_DEFAULT, path)
    repository = repository.partition(":")[0]
    if not is_registry and "/" not in repository:
        repository = f"library/{repository}"
    return ImageFact(registry, repository, digest)
