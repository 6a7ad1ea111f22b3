"""The JSON patch (RFC 6902) that turns one document into another. Pure."""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any, path: str = "") -> list[Operation]:
    """The operations.

    >>> difference({"a": 1, "b": [1, 2]}, {"b": [1, 3]})
    [{'op': 'remove', 'path': '/a'}, {'op': 'replace', 'path': '/b/1', 'value': 3}]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        found = [{"op": "remove", "path": f"{path}/{_escaped(key)}"} for key in before if key not in after]
        for key, value in after.items():
            place = f"{path}/{_escaped(key)}"
            if key in before:
                found += difference(before[key], value, place)
            else:
                found.append({"op": "add", "path": place, "value": value})
        return found
    if isinstance(before, list) and isinstance(after, list):
        shared = min(len(before), len(after))
        found = [one for index in range(shared) for one in difference(before[index], after[index], f"{path}/{index}")]
        found += [{"op": "remove", "path": f"{path}/{index}"} for index in reversed(range(shared, len(before)))]
        return found + [{"op": "add", "path": f"{path}/-", "value": value} for value in after[shared:]]
    same = type(before) is type(after) and before == after  # 1 is not True
    return [] if same else [{"op": "replace", "path": path, "value": after}]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
