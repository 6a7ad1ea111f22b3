"""What the product consists of where it is installed, as CycloneDX 1.6: ``python -m deploy.software_bill``.

The wheel itself has only our code; its dependencies are what matters. So the document lists each distribution that is
installed and needed, directly or by others, with its version, licence and address, and who needs whom. It is read from
the metadata of what is installed: in an image, it is the image's. Without a time and with a number made of the content,
the same installation always gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from divisions.attestation.provenance import package_url
from divisions.attestation.sbom import to_json
from divisions.errors import SettingsError

PRODUCT: Final = "divisions"
_NAMESPACE: Final = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # of OIDs (RFC 9562); any fixed one would do
_MAX_LICENCE: Final = 100
"""Some packages have the whole text of their licence where its name belongs."""


@dataclass(frozen=True, slots=True)
class Package:
    """One distribution. ``needs`` are requirements as its metadata writes them."""

    name: str
    version: str
    licence: str = ""
    needs: tuple[str, ...] = ()


def installed() -> dict[str, Package]:
    """Every distribution of this Python, by its canonical name; the first one that imports would find."""
    found: dict[str, Package] = {}
    for each in metadata.distributions():
        about = each.metadata
        name = about["Name"]
        if name:
            named = next((about[key] for key in ("License-Expression", "License") if key in about), "")
            licence = licence_of(named, about.get_all("Classifier") or [])
            package = Package(name, each.version, licence, tuple(each.requires or ()))
            found.setdefault(canonicalize_name(name), package)
    return found


def licence_of(named: str, classifiers: Sequence[str]) -> str:
    """What a distribution names as its licence, else the licences of its classifiers; empty without either.

    A whole text where the name belongs is no name.

    >>> licence_of(" MIT ", []), licence_of("", ["License :: OSI Approved :: MIT License"])
    ('MIT', 'MIT License')
    """
    named = named.strip()
    if named and len(named) <= _MAX_LICENCE and "\n" not in named:
        return named
    return " OR ".join(each.rsplit("::", 1)[-1].strip() for each in classifiers if each.startswith("License ::"))


def needed(packages: Mapping[str, Package], extras: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """The distributions that the product needs, itself among them, each with those that it needs; canonical names.

    What a requirement's marker leaves out here is not needed here, and neither is what is not installed: an extra of a
    dependency, say.

    Raises:
        SettingsError: the product is not installed, or a dependency of its own is missing.
    """
    if PRODUCT not in packages:
        raise SettingsError(f"{PRODUCT} is not installed here", remedy="install it: pip install -e .")
    asked: dict[str, set[str]] = {}
    waiting = [(PRODUCT, frozenset({"", *extras}))]
    edges: dict[str, set[str]] = {}
    while waiting:
        name, wanted = waiting.pop()
        fresh = wanted - asked.setdefault(name, set())
        asked[name] |= fresh
        edges.setdefault(name, set())
        for extra in fresh:
            for requirement in _requirements(packages[name], extra):
                other = canonicalize_name(requirement.name)
                if other in packages:
                    edges[name].add(other)
                    waiting.append((other, frozenset({"", *requirement.extras})))
                elif name == PRODUCT:
                    message = f"{requirement.name}, which {PRODUCT} needs, is not installed"
                    raise SettingsError(message, remedy="install it with pip, or leave the extra out")
        edges[name].discard(name)
    return {name: tuple(sorted(others)) for name, others in sorted(edges.items())}


def _requirements(package: Package, extra: str) -> list[Requirement]:
    found = []
    for text in package.needs:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # of an old package: pip reads it no better
            continue
        marker = requirement.marker
        if (marker is None and not extra) or (
            marker is not None and marker.evaluate({"extra": extra}) and not (extra and marker.evaluate({"extra": ""}))
        ):
            found.append(requirement)
    return found


def bill(
    packages: Mapping[str, Package], edges: Mapping[str, Sequence[str]], extras: Iterable[str] = ()
) -> dict[str, Any]:
    """The document about what `needed` has found."""
    components = {name: _component(packages[name]) for name in edges}
    product = {**components[PRODUCT], "type": "application"}
    others = [component for name, component in components.items() if name != PRODUCT]
    dependencies = [
        {"ref": components[name]["bom-ref"], "dependsOn": [components[other]["bom-ref"] for other in sorted(needs)]}
        for name, needs in edges.items()
    ]
    content = hashlib.sha256(to_json({"components": [product, *others], "dependencies": dependencies})).hexdigest()
    named = ",".join(sorted(extras))
    properties = [{"name": "divisions:extras", "value": named}] if named else []
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": product, **({"properties": properties} if properties else {})},
        "components": others,
        "dependencies": dependencies,
    }


def _component(package: Package) -> dict[str, Any]:
    url = package_url(canonicalize_name(package.name), package.version)
    named = [{"license": {"name": package.licence}}] if package.licence else []
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        **({"licenses": named} if named else {}),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.software_bill",
        description="The bill of materials of the product as it is installed here.",
    )
    parser.add_argument("--extra", action="append", default=[], help="with what this extra needs; may be repeated")
    options = parser.parse_args(arguments)
    packages = installed()
    try:
        edges = needed(packages, options.extra)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(to_json(bill(packages, edges, options.extra)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
