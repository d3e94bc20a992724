"""How good predictions are: errors, coverage of the bound, and how far above the truth it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .core import Vector


@dataclass(frozen=True)
class Answers:
    """Predictions beside what was measured, milliseconds, one value a point."""

    measured: Vector
    mean: Vector
    upper: Vector

    @property
    def errors(self) -> Vector:
        """Absolute relative errors."""
        return np.abs(self.mean / self.measured - 1.0)


def together(parts: Sequence[Answers]) -> Answers:
    """Return the answers of several as one."""
    names = ("measured", "mean", "upper")
    return Answers(*(np.concatenate([getattr(a, name) for a in parts]) for name in names))


def summary(answers: Answers) -> dict[str, float]:
    """Return MAPE, median, p95 and largest error, coverage and inflation, as shares."""
    errors = answers.errors
    return {
        "points": len(errors),
        "mape": float(errors.mean()),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "max": float(errors.max()),
        "coverage": float(np.mean(answers.measured <= answers.upper)),
        "inflation": float(np.mean(answers.upper / answers.measured)),
    }


def report(by_model: Mapping[str, Answers], family: Mapping[str, str]) -> dict[str, Any]:
    """Return the summary of all points, of every model and every family."""
    models = {name: summary(a) for name, a in sorted(by_model.items())}
    families: dict[str, list[float]] = {}
    for name, figures in models.items():
        families.setdefault(family.get(name, name), []).append(figures["mape"])
    return {
        **summary(together(list(by_model.values()))),
        "mape_of_models": float(np.mean([f["mape"] for f in models.values()])),
        "families": {name: float(np.mean(v)) for name, v in sorted(families.items())},
        "models": models,
    }
