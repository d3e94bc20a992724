"""The JSON patch (RFC 6902) that turns one document into another."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_has.kube import JsonObject


def json_patch(before: object, after: object) -> list[JsonObject]:
    """Return the operations, in order, that turn ``before`` into ``after``; none when equal.

    Lists are compared position by position: right for lists that grow at their end, correct for
    all others.
    """
    return list(_changes(before, after, ""))


def _changes(before: object, after: object, path: str) -> Iterator[JsonObject]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _in_object(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_list(before, after, path)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _in_object(before: JsonObject, after: JsonObject, path: str) -> Iterator[JsonObject]:
    for key in before:
        if key not in after:
            yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        inner = f"{path}/{_escaped(key)}"
        if key in before:
            yield from _changes(before[key], value, inner)
        else:
            yield {"op": "add", "path": inner, "value": value}


def _in_list(before: list[object], after: list[object], path: str) -> Iterator[JsonObject]:
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        yield from _changes(old, new, f"{path}/{index}")
    # From the end, so that the positions of those still to go stay what they were.
    for index in range(len(before) - 1, len(after) - 1, -1):
        yield {"op": "remove", "path": f"{path}/{index}"}
    for value in after[len(before) :]:
        yield {"op": "add", "path": f"{path}/-", "value": value}


def _same(before: object, after: object) -> bool:
    # Python takes True for 1; JSON does not.
    return type(before) is type(after) and bool(before == after)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
