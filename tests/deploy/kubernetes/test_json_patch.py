"""Patches between documents."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from deploy.kubernetes.json_patch import difference

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("a/~", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("a/~b", max_size=2), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("a/~b", max_size=2), DOCUMENTS, max_size=4)


def patched(document, operations):
    """RFC 6902, as far as `difference` uses it."""
    root = {"": copy.deepcopy(document)}
    for each in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in each["path"].split("/")]
        place = root
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if isinstance(place, list) and last == "-":
            place.append(each["value"])
            continue
        key = int(last) if isinstance(place, list) else last
        if each["op"] == "remove":
            del place[key]
        else:
            assert each["op"] == "add" or key in (place if isinstance(place, dict) else range(len(place)))
            place[key] = each["value"]
    return root[""]


@given(OBJECTS, OBJECTS)
def test_a_patch_makes_of_one_document_the_other(before, after):
    found = patched(before, difference(before, after))
    assert repr(sorted_keys(found)) == repr(sorted_keys(after)), "1 and True are not the same"


@given(OBJECTS)
def test_nothing_is_to_be_done_between_equal_documents(document):
    assert difference(document, copy.deepcopy(document)) == []


def test_one_is_not_true_however_deep():
    assert difference({"a": [{"b": 1}]}, {"a": [{"b": True}]}) == [{"op": "replace", "path": "/a/0/b", "value": True}]


def sorted_keys(value):
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(each) for each in value] if isinstance(value, list) else value
