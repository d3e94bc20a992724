"""The packaged prior: what measured networks of a GPU have in common, as safetensors with a card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import LatencyModelError
from .basis import Basis
from .hierarchy import CORE, Prior

FORMAT: Final = "kserve-has latency prior 1"
MODES: Final = ("fp32-eager", "bf16-graph")
PACKAGED: Final = "h200_prior.safetensors"


@dataclass(frozen=True)
class LearntPrior:
    """A prior and how far its bound must reach.

    Attributes:
        prior: over networks.
        deviations: 95 % quantile of held-out surprises, by number of points (4, 6).

    """

    prior: Prior
    deviations: dict[int, float]

    def deviations_after(self, points: int) -> float:
        """Return the start of the bound of a network with so many points."""
        return self.deviations[
            max((n for n in self.deviations if n <= points), default=min(self.deviations))
        ]


def save(path: Path, priors: dict[str, LearntPrior], card: dict[str, Any]) -> None:
    """Write priors by ``dtype-mode``; what is not a tensor stands in the card."""
    tensors, modes = {}, {}
    for name, learnt in priors.items():
        tensors[f"{name}.mean"] = learnt.prior.mean
        tensors[f"{name}.covariance"] = learnt.prior.covariance
        modes[name] = {
            "knots": learnt.prior.basis.knots,
            "noise": learnt.prior.noise,
            "deviations": {str(k): v for k, v in learnt.deviations.items()},
        }
    whole = {"format": FORMAT, "modes": modes, **card}
    save_file(tensors, path, metadata={"card": json.dumps(whole)})


def read(path: Path) -> tuple[dict[str, LearntPrior], dict[str, Any]]:
    """Return the priors of a file and its card.

    Raises:
        LatencyModelError: not such a file, or its numbers cannot be a prior.

    """
    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})["card"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if card["format"] != FORMAT:
            raise ValueError(f"format {card['format']!r}, expected {FORMAT!r}")
        return {name: _prior(name, about, tensors) for name, about in card["modes"].items()}, card
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LatencyModelError(
            f"{path} is no latency prior ({error}); make one with benchmarks/rapp_prior.py"
        ) from error


def _prior(name: str, about: dict[str, Any], tensors: dict[str, Any]) -> LearntPrior:
    basis = Basis(tuple(tuple(float(k) for k in knots) for knots in about["knots"]))
    mean = np.asarray(tensors[f"{name}.mean"], dtype=float)
    covariance = np.asarray(tensors[f"{name}.covariance"], dtype=float)
    size = CORE + basis.size
    if mean.shape != (size,) or covariance.shape != (size, size):
        raise ValueError(f"{name}: expected {size} parameters, found {mean.shape}")
    if not (np.isfinite(mean).all() and np.linalg.eigvalsh(covariance).min() > 0):
        raise ValueError(f"{name}: mean or covariance is no normal distribution")
    work, launch = about["noise"]
    prior = Prior(basis, len(basis.knots) > 2, mean, covariance, (float(work), float(launch)))
    return LearntPrior(prior, {int(k): float(v) for k, v in about["deviations"].items()})


@cache
def packaged() -> dict[str, LearntPrior]:
    """Return the priors that come with kserve-has, learnt from networks on an H200."""
    with as_file(files("kserve_has.rapp") / "data" / PACKAGED) as path:
        return read(path)[0]
