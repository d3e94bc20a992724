"""Smooth departures from the core: products of hat functions over log batch, SMs and quota."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .core import Vector


@dataclass(frozen=True)
class Basis:
    """Hat functions on a grid of knots; outside the knots the nearest value holds.

    Attributes:
        knots: per dimension, ascending positions (batch, SMs, ...), in the unit of the points.

    """

    knots: tuple[tuple[float, ...], ...]

    @property
    def size(self) -> int:
        """Number of functions."""
        return int(np.prod([len(k) for k in self.knots]))

    def at(self, *columns: Vector) -> Vector:
        """Return the functions' values, shape (points, size); each row sums to one."""
        product = np.ones((len(columns[0]), 1))
        for knots, column in zip(self.knots, columns, strict=True):
            hats = _hats(np.log(np.asarray(knots)), np.log(column))
            product = np.einsum("ij,ik->ijk", product, hats).reshape(
                len(column), product.shape[1] * hats.shape[1]
            )
        return product


def _hats(knots: Vector, x: Vector) -> Vector:
    if len(knots) == 1:
        return np.ones((len(x), 1))
    x = np.clip(x, knots[0], knots[-1])
    at = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    part = (x - knots[at]) / (knots[at + 1] - knots[at])
    hats = np.zeros((len(x), len(knots)))
    rows = np.arange(len(x))
    hats[rows, at] = 1.0 - part
    hats[rows, at + 1] = part
    return hats
