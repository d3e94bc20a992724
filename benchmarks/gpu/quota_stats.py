"""The statistics of the GPU benchmark: paired rounds, percentiles of segments, shares over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BIN_S = 0.05  # one quota window: what work is counted in
RESAMPLES = 2000
BEST_PERCENT = 75
Figures = dict[str, Any]
Floats = NDArray[np.float64]
Speeds = list[list[float]]  # by process, then round


def lost_percent(speeds: Speeds, base: Speeds, *, paired: bool = False) -> Figures:
    """Return what `speeds` lose against `base` in percent, with its 95 % bootstrap interval.

    Both are by process and round, of the same rounds; a process counts by its median against the
    mean of `base` in each round. Rounds are resampled together, processes too. `paired`: both are
    of the same processes, each compared with itself.
    """
    ours, theirs = np.log(np.asarray(speeds, float)), np.log(np.asarray(base, float))
    random = np.random.default_rng(7)

    def lost(mine: Floats, other: Floats) -> float:
        ratio = np.median(mine - (other if paired else other.mean(axis=0)), axis=1).mean()
        return float(100 * (1 - np.exp(ratio)))

    samples = []
    for _ in range(RESAMPLES):
        rounds = random.integers(0, ours.shape[1], ours.shape[1])
        mine = random.integers(0, len(ours), len(ours))
        other = mine if paired else random.integers(0, len(theirs), len(theirs))
        samples.append(lost(ours[mine][:, rounds], theirs[other][:, rounds]))
    low, high = np.percentile(samples, (2.5, 97.5))
    return {"median": lost(ours, theirs), "low": float(low), "high": float(high)}


def lost_undisturbed_percent(speeds: Speeds, base: Speeds) -> Figures:
    """Return what `speeds` lose against `base` in percent where the host disturbs least.

    A process counts by the upper quartile of its rounds: a busy host only makes rounds slower.
    Rounds and processes are resampled for the 95 % interval.
    """
    ours, theirs = np.log(np.asarray(speeds, float)), np.log(np.asarray(base, float))
    random = np.random.default_rng(7)

    def lost(mine: Floats, other: Floats) -> float:
        best = [np.percentile(side, BEST_PERCENT, axis=1).mean() for side in (mine, other)]
        return float(100 * (1 - np.exp(best[0] - best[1])))

    samples = []
    for _ in range(RESAMPLES):
        rounds = random.integers(0, ours.shape[1], ours.shape[1])
        mine, other = (random.integers(0, len(side), len(side)) for side in (ours, theirs))
        samples.append(lost(ours[mine][:, rounds], theirs[other][:, rounds]))
    low, high = np.percentile(samples, (2.5, 97.5))
    return {"median": lost(ours, theirs), "low": float(low), "high": float(high)}


def spread_percent(speeds: Speeds) -> float:
    """Return by how much the slowest of like processes is behind the fastest, by their medians."""
    medians = np.median(np.asarray(speeds, float), axis=1)
    return float(100 * (1 - medians.min() / medians.max()))


def more_percent(
    busy: Sequence[Sequence[float]], quiet: Sequence[Sequence[float]], *, paired: bool = False
) -> Figures:
    """Return by how much the pooled p99 of `busy` segments is above that of `quiet` ones, in %.

    The interval resamples whole segments, since what disturbs lasts longer than one step. `paired`:
    each segment together with the one of the other side next to it in time.
    """
    if paired:
        pairs = [(b, q) for b, q in zip(busy, quiet, strict=False) if len(b) and len(q)]
        busy, quiet = [b for b, _ in pairs], [q for _, q in pairs]
    parts = [[np.asarray(segment) for segment in side if len(segment)] for side in (busy, quiet)]
    if not all(parts):
        return {"median": float("nan"), "low": float("nan"), "high": float("nan")}
    random = np.random.default_rng(7)

    def p99(side: list[Floats], picked: NDArray[np.int64]) -> float:
        return float(np.percentile(np.concatenate([side[i] for i in picked]), 99))

    ratios = []
    for _ in range(RESAMPLES // 4):
        first, second = (random.integers(0, len(side), len(side)) for side in parts)
        if paired:
            second = first
        ratios.append(100 * (p99(parts[0], first) / p99(parts[1], second) - 1))
    pooled = [float(np.percentile(np.concatenate(side), 99)) for side in parts]
    low, high = np.percentile(ratios, (2.5, 97.5))
    each = [[round(float(np.percentile(s, 99)), 4) for s in side] for side in parts]
    return {
        **({"each_p99_ms": list(zip(*each, strict=True))} if paired else {}),
        "median": 100 * (pooled[0] / pooled[1] - 1),
        "low": float(low),
        "high": float(high),
        "busy_p99_ms": pooled[0],
        "quiet_p99_ms": pooled[1],
        "busy_p50_ms": float(np.percentile(np.concatenate(parts[0]), 50)),
        "quiet_p50_ms": float(np.percentile(np.concatenate(parts[1]), 50)),
    }


def segments(
    ends: Sequence[float], took_s: Sequence[float], spans: Sequence[tuple[float, float]]
) -> list[list[float]]:
    """Return the milliseconds of the steps that lie wholly in each span of time."""
    end, took = np.asarray(ends), np.asarray(took_s)
    return [[float(1e3 * t) for t in took[(end - took >= a) & (end <= b)]] for a, b in spans]


def window_errors(
    counts: Sequence[float], per_second: float, granted: float, seconds: float
) -> list[float]:
    """Return the error in points of every window of `seconds`, one beginning at every bin."""
    width = round(seconds / BIN_S)
    if len(counts) < width:
        return []
    total = np.concatenate(([0.0], np.cumsum(counts)))
    shares = (total[width:] - total[:-width]) / (seconds * per_second)
    return [float(100 * (share - granted)) for share in shares]


def spread(errors: Sequence[float]) -> Figures | None:
    """Return percentiles of the size of errors, and the worst to each side; None of nothing."""
    if not len(errors):
        return None
    sizes = np.abs(errors)
    p50, p95, p99 = (float(p) for p in np.percentile(sizes, (50, 95, 99)))
    worst = {"max": float(sizes.max()), "most_above": float(max(errors))}
    return {"p50": p50, "p95": p95, "p99": p99, **worst, "most_below": float(min(errors))}
