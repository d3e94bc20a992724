"""The latency model made of profiles: what the autoscaler asks when it is told to use RaPP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
    """A fitted network and the GPU it was measured on; hashed by identity.

    Attributes:
        network: what is believed of it.
        sm_count: of the GPU.
        quota_window_ms: the quota window the runtime enforces.
        one_launch: whether a request is a captured graph, which a quota does not pause.

    """

    network: FittedNetwork
    sm_count: int
    quota_window_ms: float = QUOTA_WINDOW_MS
    one_launch: bool = False
    _surfaces: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict, repr=False)

    def predict(self, batch: int, sm: int, quota_percent: int) -> Latency:
        """Return the service time of a batch alone on a piece of the GPU.

        Raises:
            LatencyModelError: the piece is impossible.

        """
        problems = impossible(self, batch, sm, quota_percent)
        if problems:
            raise LatencyModelError("; ".join(problems))
        surface = self._surfaces.get((batch, sm))
        if surface is None:
            found = self.network.surface(np.array([float(batch)]), np.array([float(sm)]))
            surface = self._surfaces[batch, sm] = (float(found[0][0]), float(found[1][0]))
        mean_ms, upper_ms = surface
        alone = alone_mean_ms(mean_ms, quota_percent, self.quota_window_ms)
        return Latency(
            mean_ms if self.one_launch else alone,
            elapsed_upper_ms(upper_ms, quota_percent, self.quota_window_ms),
        )


class ProfiledLatency:
    """Predictions for every profiled (served model, GPU product); unchanging, hashed by identity."""

    def __init__(self, served: Mapping[tuple[str, str], Served]) -> None:
        self._served = dict(served)

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
        return self.served(served_model, gpu_product).predict(batch, sm, quota_percent)

    def part(self, served_model: str, gpu_product: str) -> Served:
        """Return what is known of one model on one GPU; see :meth:`served`."""
        return self.served(served_model, gpu_product)

    def with_network(
        self, served_model: str, gpu_product: str, network: FittedNetwork
    ) -> ProfiledLatency:
        """Return the same model with another network in one place; the other parts stay.

        Raises:
            LatencyModelError: the model was not profiled on this GPU.

        """
        former = self.served(served_model, gpu_product)
        fresh = Served(network, former.sm_count, former.quota_window_ms, former.one_launch)
        return ProfiledLatency({**self._served, (served_model, gpu_product): fresh})

    def predict_grid(
        self, served_model: str, gpu_product: str, grid: Grid
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean, upper and lower milliseconds of every configuration of a grid.

        Raises:
            LatencyModelError: the model or GPU is unknown.

        """
        served = self.served(served_model, gpu_product)
        return served.network.predict(grid, one_launch=served.one_launch)

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
            graph = profile.mode == "graph"
            served[key] = Served(fitted, profile.sm_count, quota_window_ms, graph)
    if problems:
        raise LatencyModelError("; ".join(problems))
    return ProfiledLatency(served)


def load_profiles(folder: Path) -> ProfiledLatency:
    """Return the model of every profile in a folder.

    Raises:
        LatencyModelError: with every problem of every file.

    """
    return from_profiles(read_folder(folder))
