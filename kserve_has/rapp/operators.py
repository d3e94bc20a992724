"""A first estimate with no point measured: every kernel's time from its shapes, added up.

A matrix product runs in tiles; ``ceil(tiles / SMs)`` waves of them take their time each (NeuSight,
ASPLOS'25, bounds by the roofline in the same way). Libraries choose a tiling for the whole GPU and
keep it on a piece, where it is often a poor one: small tiles, made to fill many SMs, are slow on
few. Grouped convolutions may take longer below some batch, where libraries choose another algorithm.
Beside arithmetic stand traffic, limited by what one SM, the cache and the memory can move, and a
fixed time a kernel. The host's calls bound the sum. The constants are learnt over networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .core import Vector
from .kernels import CLASSES, PRODUCTS, Kernels

CONSTANTS: Final[Mapping[str, tuple[float, float, float]]] = {
    # GFLOP a millisecond and SM
    "pointwise": (0.35, 3.5, 0.5),
    "convolution": (0.4, 3.5, 0.5),
    "stem": (0.3, 1.0, 0.5),
    "grouped": (0.12, 0.5, 0.7),
    "linear": (0.4, 6.5, 0.2),
    "matmul": (0.25, 1.0, 0.5),
    "attention": (0.25, 3.0, 0.5),
    "depthwise": (0.03, 0.02, 0.7),  # at nine taps
    # grouped convolutions below a batch: how many times as long, and below which
    "grouped_slower": (1.0, 1.0, 0.7),
    "grouped_batch": (6.0, 6.0, 0.4),
    # what comes on top of the depth of a tile, and of the taps of a filter
    "tile_start": (16.0, 64.0, 0.5),
    "filter_start": (20.0, 20.0, 0.5),
    # rates of other tiles, times that of 128 x 128
    "large_tile": (1.1, 1.1, 0.1),
    "half_tile_conv": (0.6, 0.5, 0.3),
    "half_tile_matrix": (0.6, 0.4, 0.4),
    "small_tile": (0.7, 0.6, 0.2),
    # odds that a wave once begun is paid whole
    "waves_conv": (1.5, 1.5, 0.5),
    "waves_matrix": (3.0, 3.0, 0.5),
    # GB a millisecond: one SM, the memory; and how much faster the cache is
    "sm_bandwidth": (0.05, 0.05, 0.3),
    "bandwidth": (3.8, 3.8, 0.15),
    "cache": (2.0, 2.0, 0.3),
    # traffic, times that of the shapes
    "traffic_conv": (0.7, 2.0, 0.5),
    "traffic_matrix": (0.7, 0.7, 0.5),
    "traffic_elementwise": (0.8, 0.8, 0.2),
    "traffic_rowwise": (1.0, 1.0, 0.3),
    "traffic_pool": (1.2, 1.2, 0.5),
    "traffic_transposed": (2.0, 2.0, 0.4),
    # milliseconds a kernel
    "kernel_pointwise": (0.004, 0.008, 0.5),
    "kernel_conv": (0.004, 0.010, 0.5),
    "kernel_matrix": (0.004, 0.004, 0.5),
    "kernel": (0.0018, 0.0018, 0.3),
    # milliseconds a call of the host
    "call_arithmetic": (0.03, 0.0003, 0.4),
    "call_other": (0.015, 0.00015, 0.4),
    "call_view": (0.005, 0.00005, 0.4),
}
"""Before any network is seen: in fp32 eager, in bf16 as a graph, and how sure that is (log)."""
WAYS: Final = ("fp32-eager", "bf16-graph")
BYTES: Final = {"fp32": 4.0, "bf16": 2.0}
TILES: Final = (
    # rows, columns, parts of the depth, and what its rate is multiplied by
    (128.0, 256.0, 1.0, ("large_tile",)),
    (128.0, 128.0, 1.0, ()),
    (128.0, 128.0, 4.0, ()),
    (64.0, 64.0, 1.0, ("half_tile",)),
    (64.0, 64.0, 4.0, ("half_tile",)),
    (32.0, 32.0, 1.0, ("half_tile", "small_tile")),
    (4.0, 128.0, 1.0, ("half_tile", "small_tile")),
)
WHOLE_SMS: Final = 132
"""SMs of the GPU for which the constants hold; libraries choose tilings for so many."""

_NAMES: Final = tuple(CONSTANTS)
_GIGA: Final = 1e9
_NINE_TAPS: Final = 9.0
_CACHED_GB: Final = 0.02
_DEPTHWISE_TILE: Final = 2048.0
_KNEE: Final = 0.15
_KINK: Final = 0.02
_TILINGS: Final = np.array([tile[:3] for tile in TILES])
_CONVOLUTIONS: Final = PRODUCTS.index("linear")
_GROUPED: Final = PRODUCTS.index("grouped")
_TRAFFIC: Final = (
    *("conv",) * _CONVOLUTIONS,
    *("matrix", "matrix", "rowwise", "elementwise", "elementwise", "rowwise", "pool", "transposed"),
)
_KERNEL: Final = (
    "kernel_pointwise",
    *("kernel_conv",) * (_CONVOLUTIONS - 1),
    *("kernel_matrix",) * (len(PRODUCTS) - _CONVOLUTIONS),
    *("kernel",) * (len(CLASSES) - len(PRODUCTS)),
)


def start(way: str) -> Vector:
    """Return the constants before any network is seen, logarithms, for ``dtype-mode``."""
    found: Vector = np.log([values[WAYS.index(way)] for values in CONSTANTS.values()])
    return found


@dataclass(frozen=True, eq=False)
class Workload:
    """A network's kernels at points: all that does not depend on the constants.

    Attributes:
        kernels: of the network.
        sm: of each point, a column.
        instances: that make each kernel larger, shape (points, kernels).
        waves, full_waves: tiles an SM, of the piece and of the whole GPU, rounded up there; shape
            (tilings, points, kernels).
        moved: GB of traffic, shape (points, kernels).

    """

    kernels: Kernels
    sm: Vector
    instances: Vector
    waves: Vector
    full_waves: Vector
    moved: Vector

    @classmethod
    def of(
        cls,
        kernels: Kernels,
        batch: Vector,
        sm: Vector,
        element_bytes: float,
        whole_sms: int = WHOLE_SMS,
    ) -> Workload:
        """Return the workload of a network at points of batch and SMs of a GPU."""
        k, column = kernels, sm[:, None]
        instances = np.where(k.batched > 0, batch[:, None], 1.0)
        moved = element_bytes * (instances * k.elements + k.weights) / _GIGA
        tiles = _tiles(k, instances)
        return cls(k, column, instances, tiles / column, np.ceil(tiles / whole_sms), moved)


def log_ms(constants: Vector, work: Workload) -> Vector:
    """Return log milliseconds at a workload's points; ``constants`` are logarithms."""
    value = dict(zip(_NAMES, np.exp(constants), strict=True))
    kernels = work.kernels
    kind = kernels.kind.astype(int)
    factor = np.array([value[f"traffic_{name}"] for name in _TRAFFIC])[kind]
    fixed = np.array([value[name] for name in _KERNEL])[kind]
    cache = 1.0 + (value["cache"] - 1.0) / (1.0 + (work.moved / _CACHED_GB) ** 2)
    reach = ((work.sm * value["sm_bandwidth"]) ** -4 + (value["bandwidth"] * cache) ** -4) ** -0.25
    device = np.hypot(_arithmetic(value, work), factor * work.moved / reach) + fixed
    host = kernels.calls @ np.array([value[f"call_{c}"] for c in ("arithmetic", "other", "view")])
    answer: Vector = np.log(((device @ kernels.count) ** 4 + host**4) ** 0.25)
    return answer


def learn_constants(
    networks: Sequence[tuple[Workload, Vector, float]],
    begin: Vector,
    evidence: float,
    steps: int = 15,
) -> Vector:
    """Return the constants that fit networks (workload, log ms, weight) best.

    Least absolute deviations, held near where they begin: constants that no network tells stay
    there. ``evidence`` is what a network counts beside that, points over the size of their error,
    whatever was measured of it: 60 are six points with an error of a tenth.
    """
    spread = np.array([values[2] for values in CONSTANTS.values()])
    share = np.concatenate([np.full(len(y), w * evidence / len(y)) for _, y, w in networks])

    def left(at: Vector) -> Vector:
        parts = [log_ms(begin + spread * at, work) - y for work, y, _ in networks]
        return np.concatenate(parts)

    def cost(at: Vector, gaps: Vector) -> float:
        return float(share @ np.hypot(gaps, _KINK)) + 0.5 * float(at @ at)

    now = np.zeros_like(begin)
    gaps, damping = left(now), 1e-2
    for _ in range(steps):
        slope = np.stack([(left(now + nudge) - gaps) / 1e-4 for nudge in 1e-4 * np.eye(len(now))])
        weight = share / np.hypot(gaps, _KINK)
        hessian = (slope * weight) @ slope.T + np.eye(len(now))
        gradient = slope @ (weight * gaps) + now
        gain = 0.0
        while damping < 1e6:
            tried = now - np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            tried_gaps = left(tried)
            gain = cost(now, gaps) - cost(tried, tried_gaps)
            if gain > 0.0:
                now, gaps, damping = tried, tried_gaps, damping / 4
                break
            damping *= 4
        if gain < 1e-3 * cost(now, gaps):
            break
    found: Vector = begin + spread * now
    return found


def _arithmetic(value: Mapping[str, float], work: Workload) -> Vector:
    """Return milliseconds of arithmetic, shape (points, kernels), none for pure traffic."""
    kernels = work.kernels
    kind = kernels.kind.astype(int)
    rates = [value[c] for c in (*PRODUCTS, "depthwise")] + [1.0] * (
        len(CLASSES) - len(PRODUCTS) - 1
    )
    rate = _GIGA * np.array(rates)[kind]
    matrix = kind >= _CONVOLUTIONS
    half = np.where(matrix, value["half_tile_matrix"], value["half_tile_conv"])
    odds = np.where(matrix, value["waves_matrix"], value["waves_conv"])
    times = []
    for rows, columns, parts, slower in TILES:
        speed = rate
        for name in slower:
            speed = speed * (half if name == "half_tile" else value[name])
        times.append(2 * rows * columns * (kernels.depth / parts + value["tile_start"]) / speed)
    # the tiling that is best on the whole GPU is used on every piece of it
    best = (np.stack(times)[:, None, :] * work.full_waves).argmin(axis=0)
    time = np.take_along_axis(np.stack(times), best, axis=0)
    waves = np.take_along_axis(work.waves, best[None], axis=0)[0]
    whole = odds / (1.0 + odds)
    product = time * (whole * np.ceil(waves) + (1.0 - whole) * waves)
    knee = 1.0 + (work.instances / value["grouped_batch"]) ** (1.0 / _KNEE)
    product *= np.where(kind == _GROUPED, value["grouped_slower"] ** (1.0 / knee), 1.0)
    filters = work.instances * kernels.rows * kernels.groups / _DEPTHWISE_TILE
    filters = np.maximum(1.0, filters)
    begun = value["filter_start"]
    slow = (kernels.depth + begun) / kernels.depth / (1.0 + begun / _NINE_TAPS)
    part = work.instances * kernels.flops / filters / rate * slow
    conv_whole = value["waves_conv"] / (1.0 + value["waves_conv"])
    each = filters / work.sm
    depthwise = part * (conv_whole * np.ceil(each) + (1.0 - conv_whole) * each)
    answer: Vector = np.select([kind < len(PRODUCTS), kind == len(PRODUCTS)], [product, depthwise])
    return answer


def _tiles(kernels: Kernels, instances: Vector) -> Vector:
    """Return the tiles of every tiling, shape (tilings, points, kernels)."""
    name = np.array(CLASSES)[kernels.kind.astype(int)]
    apart = (name == "matmul") | (name == "attention")  # every instance has products of its own
    rows = np.where(apart, kernels.rows, instances * kernels.rows)
    often = np.where(apart, instances, 1.0)
    found = []
    for height, width, parts in _TILINGS:
        across = np.ceil(kernels.columns / width) * kernels.groups
        packed = np.maximum(1.0, kernels.columns * kernels.groups / width)
        across = np.where(name == "grouped", packed, across)
        found.append(np.ceil(rows / height) * across * often * parts)
    return np.stack(found)
