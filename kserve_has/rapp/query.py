"""Many questions in one request: checked as a whole, answered together. Pure.

::

    {"configurations": [{"model": "resnet50", "gpu": "NVIDIA H200",
                         "batch": 4, "sm": 48, "quota": 50}, ...]}

Answers come in the same order: mean, upper and lower milliseconds of a lone request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .grid import Grid
from .profiled import ProfiledLatency, impossible

MOST: Final = 10_000
_LISTED: Final = 20
_WHOLE: Final = ("batch", "sm", "quota")
_KEYS: Final = ("model", "gpu", *_WHOLE)


class QueryError(Exception):
    """A request that cannot be answered.

    Attributes:
        problems: everything that is wrong, one sentence each.

    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems[:_LISTED])
        if len(problems) > _LISTED:
            self.problems += (f"and {len(problems) - _LISTED} more",)
        super().__init__("; ".join(self.problems))


def answer(model: ProfiledLatency, document: object) -> list[dict[str, float]]:
    """Return one answer a configuration.

    Raises:
        QueryError: with everything that is wrong; then nothing is answered.

    """
    configurations = _configurations(document)
    problems: list[str] = []
    by_network: dict[tuple[str, str], list[int]] = {}
    for index, found in enumerate(configurations):
        wrong = _problems(model, found)
        problems += [f"configuration {index}: {text}" for text in wrong]
        if not wrong:
            by_network.setdefault((found["model"], found["gpu"]), []).append(index)
    if problems:
        raise QueryError(problems)
    answers: list[dict[str, float]] = [{} for _ in configurations]
    for (served_model, gpu), places in by_network.items():
        batch, sm, quota = ([configurations[i][key] for i in places] for key in _WHOLE)
        window_ms = model.served(served_model, gpu).quota_window_ms
        grid = Grid.of(batch, sm, quota, window_ms)
        sides = model.predict_grid(served_model, gpu, grid)
        for place, mean, upper, lower in zip(places, *(s.tolist() for s in sides), strict=True):
            answers[place] = {"mean_ms": mean, "upper_ms": upper, "lower_ms": lower}
    return answers


def _configurations(document: object) -> list[Any]:
    found = document.get("configurations") if isinstance(document, Mapping) else None
    if not isinstance(found, list) or not found:
        raise QueryError(['expected {"configurations": [...]} with at least one configuration'])
    if len(found) > MOST:
        raise QueryError([f"{len(found)} configurations; at most {MOST} in one request"])
    return found


def _problems(model: ProfiledLatency, found: object) -> list[str]:
    if not isinstance(found, Mapping):
        return [f"expected an object with {', '.join(_KEYS)}"]
    problems = [f"{key} is missing" for key in _KEYS if key not in found]
    problems += [
        f"no such key {key!r}; known are {', '.join(_KEYS)}" for key in found if key not in _KEYS
    ]
    problems += [
        f"{key} {found[key]!r} is not a whole number"
        for key in _WHOLE
        if key in found and type(found[key]) is not int
    ]
    problems += [
        f"{key} {found[key]!r} is not a name"
        for key in ("model", "gpu")
        if key in found and not isinstance(found[key], str)
    ]
    if problems:
        return problems
    if not model.knows(found["model"], found["gpu"]):
        return [model.unknown(found["model"], found["gpu"])]
    served = model.served(found["model"], found["gpu"])
    return impossible(served, found["batch"], found["sm"], found["quota"])
