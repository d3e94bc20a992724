"""Checking claims on anyone's data: four ways to hide points, one set of figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import LatencyModelError
from .basis import Basis
from .core import Vector
from .heldout import answers, fitted_to_few, held_out_priors, surprises
from .hidden_rows import hidden_rows
from .learn import Assumption
from .metrics import Answers, report, together
from .points import Table
from .quotas import full_quota, under_law

SPLITS: Final = ("random", "configuration", "model", "family")
_MOST_KNOTS: Final = 8


@dataclass(frozen=True)
class Task:
    """What is to be shown.

    Attributes:
        split: ``random``: 5 % of all rows are hidden; ``configuration``: all but ``points`` rows
            of one network in ten are, its relatives known; ``model`` and ``family``: all but
            ``points`` rows of networks whose model, or whole family, the prior never saw.
        points: measured of a hidden network.
        seed: of random choices.
        quota_window_ms: of the runtime that enforced the table's quotas, whose law then tells what
            they do; None: they are learnt like batch and SMs. Not for ``random``.
        one_launch: whether that law is the one of captured graphs, each a single launch.

    """

    split: str
    points: int = 6
    seed: int = 0
    quota_window_ms: float | None = None
    one_launch: bool = False


def basis_for(table: Table) -> Basis:
    """Return hats at the values a table has, thinned where it has many."""
    every = list(table.networks.values())
    columns: list[Vector] = [
        np.concatenate([getattr(p, name) for p in every]) for name in ("batch", "sm")
    ]
    if table.has_quota:
        columns.append(np.concatenate([p.quota for p in every]))
    most = _MOST_KNOTS if len(columns) == 2 else 5
    return Basis(tuple(_knots(np.unique(column), most) for column in columns))


def evaluate(table: Table, task: Task) -> dict[str, Any]:
    """Return the figures of one split, ready for ``metrics.json``."""
    if task.quota_window_ms is not None and task.split == "random":
        raise LatencyModelError(
            "the random split learns quotas from their neighbours; leave the quota window out"
        )
    ways: dict[str, Callable[[Table, Task], dict[str, Answers]]] = {
        "random": lambda t, k: hidden_rows(t, basis_for(t), k.seed),
        "configuration": lambda t, k: _held_out(t, k, str),
        "model": lambda t, k: _held_out(t, k, str),
        "family": lambda t, k: _held_out(t, k, lambda name: t.family[name]),
    }
    figures = report(ways[task.split](table, task), table.family)
    about = {"split": task.split, "measured_points": task.points, "seed": task.seed}
    about |= {"quota_window_ms": task.quota_window_ms, "one_launch": task.one_launch}
    return {**about, "noise_floor": table.noise_floor, **figures}


def write(metrics: dict[str, Any], folder: Path) -> Path:
    """Write ``metrics.json`` into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.json"
    path.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return path


def _knots(values: Vector, most: int) -> tuple[float, ...]:
    if len(values) <= most:
        return tuple(float(v) for v in values)
    wanted = np.linspace(np.log(values[0]), np.log(values[-1]), most)
    nearest = {float(values[np.argmin(np.abs(np.log(values) - w))]) for w in wanted}
    return tuple(sorted(nearest))


def _held_out(table: Table, task: Task, group_of: Callable[[str], str]) -> dict[str, Answers]:
    """Return answers for networks the prior never saw; the bound comes from the other folds."""
    assumption = Assumption(least_noise=table.least_noise)
    window_ms, every = task.quota_window_ms, table
    if window_ms is not None:
        table = full_quota(table)
    enough = [name for name, points in table.networks.items() if len(points) > task.points]
    if not enough:
        raise LatencyModelError(
            f"no network has more than the {task.points} points to measure; measure fewer"
        )
    priors = list(held_out_priors(table, basis_for(table), group_of, assumption))
    above = [surprises(prior, table, names, task.points) for prior, names in priors]
    found = {}
    for index, (prior, names) in enumerate(priors):
        others = [a for i, a in enumerate(above) if i != index] or above
        deviations = float(np.quantile(np.concatenate(others), 0.95))
        for name in (n for n in names if n in enough):
            found[name] = answers(prior, table, name, task.points, deviations)
            if window_ms is not None:
                fitted, _ = fitted_to_few(prior, table, name, task.points, deviations)
                throttled = every.networks[name]
                throttled = throttled.take(throttled.quota < 100)
                more = under_law(
                    fitted, throttled, deviations, window_ms, one_launch=task.one_launch
                )
                found[name] = together([found[name], more])
    return found
