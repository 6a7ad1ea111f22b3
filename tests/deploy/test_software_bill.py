"""The bill of materials of the installed product: complete, valid by the standard's schema, the same each time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from deploy import software_bill
from deploy.software_bill import PRODUCT, Package, bill, installed, licence_of, needed
from divisions.attestation.provenance import package_url
from divisions.errors import SettingsError
from tests.cyclonedx_schema import validator


def test_what_is_installed_here_is_listed_whole_and_valid(capsysbinary):
    assert software_bill.main([]) == 0
    first = capsysbinary.readouterr().out
    document = json.loads(first)
    assert [error.message for error in validator().iter_errors(document)] == []
    packages = installed()
    purls = {each["purl"] for each in document["components"]}
    for name in ("ray", "torch", "PyJWT", "cryptography", "msgspec"):
        assert package_url(name, packages[canonicalize_name(name)].version) in purls
    assert not any(purl.startswith("pkg:pypi/pytest@") for purl in purls), "tools of tests are no part of the product"
    refs = {document["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in document["components"])}
    assert {each["ref"] for each in document["dependencies"]} == refs
    assert {other for each in document["dependencies"] for other in each["dependsOn"]} <= refs
    assert software_bill.to_json(bill(packages, needed(packages))) + b"\n" == first


def of(**needs: tuple[str, ...]) -> dict[str, Package]:
    return {name: Package(name, "1.0", "MIT", listed) for name, listed in needs.items()}


def test_extras_and_markers_decide_what_is_needed():
    packages = of(
        divisions=("web>=1", "redis; extra == 'cluster'", "windows; sys_platform == 'win32'", "tool[fast]"),
        web=("core",),
        core=("web",),
        redis=(),
        windows=(),
        tool=("speed; extra == 'fast'", "docs; extra == 'docs'"),
        speed=(),
        docs=(),
        alien=(),
    )
    assert needed(packages) == {
        "core": ("web",),
        "divisions": ("tool", "web"),
        "speed": (),
        "tool": ("speed",),
        "web": ("core",),
    }
    assert "redis" in needed(packages, ["cluster"])
    with pytest.raises(SettingsError, match="web, which divisions needs, is not installed"):
        needed({name: each for name, each in packages.items() if name != "web"})
    with pytest.raises(SettingsError, match="divisions is not installed here"):
        needed({})


MIT, BSD = "License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License"


@pytest.mark.parametrize(
    ("named", "classifiers", "licence"),
    [
        (" Apache 2.0 ", [MIT], "Apache 2.0"),
        ("Copyright\nall rights", [MIT], "MIT License"),
        ("x" * 500, [], ""),
        ("", ["Topic :: Internet", MIT, BSD], "MIT License OR BSD License"),
        ("", [], ""),
    ],
)
def test_a_licence_is_named_by_its_field_or_else_by_classifiers(named, classifiers, licence):
    assert licence_of(named, classifiers) == licence


def test_nearly_every_distribution_here_names_its_licence():
    packages = installed()
    document = json.loads(software_bill.to_json(bill(packages, needed(packages))))
    components = document["components"]
    assert len(components) > 100
    assert sum("licenses" not in each for each in components) <= 3
    assert [error.message for error in validator().iter_errors(document)] == []


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_all_that_is_reached_and_nothing_else_is_listed(pairs):
    names = [PRODUCT, *(f"p{number}" for number in range(1, 8))]
    listed: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for start, end in pairs:
        listed[names[start]] += (names[end],)
    reached, waiting = set(), [PRODUCT]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += listed[name]
    assert set(needed(of(**listed))) == reached
