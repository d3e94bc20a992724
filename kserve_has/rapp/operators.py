"""A first estimate with no point measured: every operator's time from its shapes, added up.

An operator's arithmetic runs in tiles of 128 x 128 results; ``ceil(tiles / SMs)`` waves of them take
their time each (NeuSight, ASPLOS'25, bounds by the roofline in the same way). Beside it stand its
traffic, limited by what one SM and what the memory can move, and a fixed time a kernel. The host's
launches bound the sum. Thirteen constants, learnt over networks, turn shapes into milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .core import Vector
from .graph import Operator

CONSTANTS: Final = (
    *("conv", "matmul", "attention", "depthwise", "other", "grouped"),  # GFLOP a ms and SM
    *("sm_bandwidth", "bandwidth"),  # GB a ms
    *("arithmetic_traffic", "waves", "other_traffic"),  # factors; waves as a logit
    *("kernel", "host"),  # ms
)
START: Final[Mapping[str, tuple[float, ...]]] = {
    "fp32-eager": (0.35, 0.4, 0.3, 0.02, 0.3, 0.1, 0.05, 3.5, 0.5, 1.0, 0.7, 0.003, 0.015),
    "bf16-graph": (3.0, 3.0, 3.0, 0.02, 1.5, 0.5, 0.05, 3.5, 0.5, 1.0, 0.5, 0.002, 0.0001),
}
"""Constants before any network is seen, from the H200's data sheet and a launch's usual cost."""
BYTES: Final = {"fp32": 4.0, "bf16": 2.0}
_TILE: Final = 128.0
_CLASS: Final = {"conv": 0, "linear": 1, "matmul": 1, "attention": 2, "depthwise": 3}
_PLAIN, _GROUPED = 4, 5
_GIGA: Final = 1e9


@dataclass(frozen=True)
class Shapes:
    """Operators as columns, for one instance.

    Attributes:
        kind: class of arithmetic, 0..5 as in ``CONSTANTS``.
        flops: floating-point operations.
        elements: of activations read and written.
        weights: elements of the weights.
        rows, columns, groups: of the matrix product an operator amounts to.

    """

    kind: Vector
    flops: Vector
    elements: Vector
    weights: Vector
    rows: Vector
    columns: Vector
    groups: Vector


def shapes_of(operators: Sequence[Operator]) -> Shapes:
    """Return the columns of a network's operators, traced with batch 1."""
    table = np.array([_row(operator) for operator in operators])
    return Shapes(*table.T)


def log_ms(
    constants: Vector, shapes: Shapes, batch: Vector, sm: Vector, element_bytes: float
) -> Vector:
    """Return log milliseconds at points; ``constants`` are logarithms (``waves``: a logit)."""
    value = dict(zip(CONSTANTS, np.exp(constants), strict=True))
    rate = np.exp(constants[:6])[shapes.kind.astype(int)] * _GIGA
    b, s = batch[:, None], sm[:, None]
    tiles = _tiles(shapes, b)
    whole = value["waves"] / (1.0 + value["waves"])
    waves = whole * np.ceil(tiles / s) + (1.0 - whole) * tiles / s
    arithmetic = shapes.kind != _PLAIN
    compute = np.where(arithmetic, waves * shapes.flops * b / tiles / rate, 0.0)
    moved = element_bytes * (b * shapes.elements + shapes.weights) / _GIGA
    reach = ((s * value["sm_bandwidth"]) ** -4 + value["bandwidth"] ** -4) ** -0.25
    factor = np.where(arithmetic, value["arithmetic_traffic"], value["other_traffic"])
    device = np.hypot(compute, factor * moved / reach) + value["kernel"]
    host = value["host"] * len(shapes.flops)
    answer: Vector = np.log((device.sum(axis=1) ** 4 + host**4) ** 0.25)
    return answer


def learn_constants(
    networks: Sequence[tuple[Shapes, Vector, Vector, Vector]], way: str, steps: int = 15
) -> Vector:
    """Return the constants that fit networks (shapes, batch, sm, log ms) best.

    Least absolute deviations, held near the start: constants that no network tells stay there.
    """
    start = np.log(START[way])
    element_bytes = BYTES[way.split("-")[0]]

    def left(at: Vector) -> Vector:
        parts = [log_ms(at, n, b, s, element_bytes) - y for n, b, s, y in networks]
        return np.concatenate(parts)

    def cost(at: Vector, gaps: Vector) -> float:
        return float(0.15 * np.abs(gaps).sum() + 0.3 * np.sum((at - start) ** 2))

    now, gaps, damping = start, left(start), 1e-2
    for _ in range(steps):
        nudges = 1e-4 * np.eye(len(start))
        slope = np.stack([(left(now + nudge) - gaps) / 1e-4 for nudge in nudges], axis=1)
        weight = 0.075 / np.maximum(np.abs(gaps), 0.03)
        hessian = slope.T @ (weight[:, None] * slope) + 0.3 * np.eye(len(start))
        gradient = slope.T @ (weight * gaps) + 0.3 * (now - start)
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
    return now


def _row(operator: Operator) -> tuple[float, ...]:
    kind, output, weight = operator.kind, operator.output_shape, operator.weight_shape
    rows, columns, groups = float(math.prod(output)), 1.0, 1.0
    number = _CLASS.get(kind, _PLAIN)
    if kind in ("conv", "depthwise"):
        groups = float(operator.attributes.get("groups", (1,))[0])
        rows, columns = float(math.prod(output[2:])), weight[0] / groups
        number = _GROUPED if kind == "conv" and groups > 1 else number
    elif kind in ("linear", "matmul"):
        rows, columns = float(math.prod(output[:-1])), float(output[-1])
    elif kind == "attention":
        rows, columns = float(output[-2]), 64.0
        groups = float(output[-3]) if len(output) > 3 else 1.0
    elements = (operator.read_bytes + operator.written_bytes) / 4.0
    weights = float(math.prod(weight)) if weight else 0.0
    return (number, operator.flops, elements, weights, rows, columns, groups)


def _tiles(shapes: Shapes, batch: Vector) -> Vector:
    product = np.ceil(batch * shapes.rows / _TILE)
    dense = product * np.ceil(shapes.columns / _TILE) * shapes.groups
    grouped = product * np.maximum(1.0, shapes.columns * shapes.groups / _TILE)
    depthwise = np.maximum(1.0, batch * shapes.rows * shapes.groups / 4096.0)
    others = np.maximum(1.0, batch * shapes.rows / 2048.0)
    kinds = [shapes.kind <= 2, shapes.kind == 3, shapes.kind == _GROUPED]
    tiles: Vector = np.select(kinds, [dense, depthwise, grouped], others)
    return tiles
