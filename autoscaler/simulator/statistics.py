"""Paired comparisons with intervals: the same traces and seeds for both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def ratio(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 0, rounds: int = 2000
) -> Interval:
    """Return the geometric mean of theirs / ours over pairs, with its interval.

    Raises:
        ValueError: the sides are empty, differ in length or hold a value that is not positive.
    """
    if not ours or len(ours) != len(theirs) or min(*ours, *theirs) <= 0:
        raise ValueError("a ratio needs as many positive values on both sides")
    logs = np.log(np.asarray(theirs) / np.asarray(ours))
    mean = _bootstrap(logs, seed, rounds)
    return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high))


def difference(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 0, rounds: int = 2000
) -> Interval:
    """Return the mean of theirs - ours over pairs, with its interval.

    Raises:
        ValueError: the sides are empty or differ in length.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError("a difference needs as many values on both sides")
    return _bootstrap(np.asarray(theirs) - np.asarray(ours), seed, rounds)


def _bootstrap(values: np.ndarray, seed: int, rounds: int) -> Interval:
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), size=(rounds, len(values)))
    means = values[picks].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
