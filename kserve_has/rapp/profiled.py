"""The latency model made of profiles: what the autoscaler asks when it is told to use RaPP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LatencyModelError
from ..latency import Latency
from ..latency.duty import alone_mean_ms, elapsed_upper_ms
from .grid import Grid
from .network import FittedNetwork
from .priors import LearntPrior, packaged
from .profiles import Profile, read_folder

QUOTA_WINDOW_MS = 50.0


@dataclass(frozen=True, eq=False)
class Served:
    """A fitted network and the GPU it was measured on."""

    network: FittedNetwork
    sm_count: int


class ProfiledLatency:
    """Predictions for every profiled (served model, GPU product); unchanging, hashed by identity."""

    def __init__(
        self,
        served: Mapping[tuple[str, str], Served],
        quota_window_ms: float = QUOTA_WINDOW_MS,
    ) -> None:
        self._served = dict(served)
        self.quota_window_ms = quota_window_ms
        self._surfaces: dict[tuple[str, str, int, int], tuple[float, float]] = {}

    @property
    def known(self) -> tuple[tuple[str, str], ...]:
        """Every (served model, GPU product) that was profiled."""
        return tuple(sorted(self._served))

    def knows(self, served_model: str, gpu_product: str) -> bool:
        """Whether this model was profiled on this GPU."""
        return (served_model, gpu_product) in self._served

    def predict(
        self, served_model: str, gpu_product: str, batch: int, sm: int, quota_percent: int
    ) -> Latency:
        """Return the service time of a batch alone on a piece of the GPU.

        Raises:
            LatencyModelError: the model or GPU is unknown, or the piece is impossible.

        """
        served = self.served(served_model, gpu_product)
        problems = impossible(served, batch, sm, quota_percent)
        if problems:
            raise LatencyModelError("; ".join(problems))
        key = (served_model, gpu_product, batch, sm)
        surface = self._surfaces.get(key)
        if surface is None:
            found = served.network.surface(np.array([float(batch)]), np.array([float(sm)]))
            surface = self._surfaces[key] = (float(found[0][0]), float(found[1][0]))
        mean_ms, upper_ms = surface
        return Latency(
            alone_mean_ms(mean_ms, quota_percent, self.quota_window_ms),
            elapsed_upper_ms(upper_ms, quota_percent, self.quota_window_ms),
        )

    def predict_grid(
        self, served_model: str, gpu_product: str, grid: Grid
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean, upper and lower milliseconds of every configuration of a grid.

        Raises:
            LatencyModelError: the model or GPU is unknown.

        """
        return self.served(served_model, gpu_product).network.predict(grid)

    def served(self, served_model: str, gpu_product: str) -> Served:
        """Return what is known of a served model on a GPU.

        Raises:
            LatencyModelError: it was not profiled there.

        """
        served = self._served.get((served_model, gpu_product))
        if served is None:
            raise LatencyModelError(self.unknown(served_model, gpu_product))
        return served

    def unknown(self, served_model: str, gpu_product: str) -> str:
        """Return what to say of a model that was not profiled on a GPU."""
        known = ", ".join(f"{m} on {g}" for m, g in self.known) or "nothing"
        return (
            f"{served_model!r} was not profiled on {gpu_product!r}; known: {known}; "
            f"run on that GPU: kserve-has profile --model {served_model}"
        )


def impossible(served: Served, batch: int, sm: int, quota_percent: int) -> list[str]:
    """Return a sentence for everything that is wrong with a configuration."""
    problems = []
    if batch < 1:
        problems.append(f"batch {batch} must be at least 1")
    if not 1 <= sm <= served.sm_count:
        problems.append(f"{sm} SMs are outside 1..{served.sm_count} of this GPU")
    if not 1 <= quota_percent <= 100:
        problems.append(f"quota {quota_percent} is outside 1..100 per cent")
    return problems


def from_profiles(
    profiles: Iterable[Profile],
    priors: Mapping[str, LearntPrior] | None = None,
    quota_window_ms: float = QUOTA_WINDOW_MS,
) -> ProfiledLatency:
    """Return the model fitted to profiles.

    Raises:
        LatencyModelError: two profiles of one model and GPU, or a way of running without a prior.

    """
    priors = packaged() if priors is None else priors
    served: dict[tuple[str, str], Served] = {}
    problems = []
    for profile in profiles:
        key, way = (profile.model, profile.gpu), f"{profile.dtype}-{profile.mode}"
        if key in served:
            problems.append(f"{profile.model} on {profile.gpu} has two profiles; keep one")
        elif way not in priors:
            problems.append(
                f"{profile.model}: no prior for {way}; known: {', '.join(sorted(priors))}"
            )
        else:
            points = profile.without_quota()
            learnt = priors[way]
            fitted = FittedNetwork.fit(learnt.prior, points, learnt.deviations_after(len(points)))
            served[key] = Served(fitted, profile.sm_count)
    if problems:
        raise LatencyModelError("; ".join(problems))
    return ProfiledLatency(served, quota_window_ms)


def load_profiles(folder: Path) -> ProfiledLatency:
    """Return the model of every profile in a folder.

    Raises:
        LatencyModelError: with every problem of every file.

    """
    return from_profiles(read_folder(folder))
