"""What makes a network slow on a piece of a GPU: launches, or work shared among SMs.

::

    work(b, s) = (w0 + w1 b) / s + c0 + c1 b           milliseconds
    g(b, s)    = (floor^p + work^p)^(1/p)

``floor`` is the time the host needs to launch everything (small with CUDA graphs). ``w1 b / s`` is
arithmetic divided among ``s`` SMs; ``w0 / s`` is the half-filled last wave that every kernel ends
with, whatever the batch; ``c0 + c1 b`` does not shrink with SMs: kernels of fewer blocks than SMs,
and memory traffic. All five are positive, so the fit runs on their logarithms.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[Any]

SHARPNESS: Final = 4.0
"""How sharp the knee is; 3 to 8 fit the H200's networks equally well."""

PARAMETERS: Final = ("floor", "wave", "work", "serial", "traffic")


def log_ms(theta: Vector, batch: Vector, sm: Vector) -> tuple[Vector, Vector]:
    """Return log milliseconds of every point and its derivative by the log-parameters.

    Args:
        theta: logarithms of the five parameters, milliseconds.
        batch: instances in a request, one a point.
        sm: SMs granted (or per cent of the GPU where the data know only that), one a point.

    Returns:
        Vectors of shape (points,) and (points, 5).

    """
    floor, wave, work, serial, traffic = np.exp(theta)
    parts = np.stack(
        (
            np.full_like(batch, floor),
            wave / sm,
            work * batch / sm,
            np.full_like(batch, serial),
            traffic * batch,
        ),
        axis=1,
    )
    busy = parts[:, 1:].sum(axis=1)
    ratio = (parts[:, 0] / busy) ** SHARPNESS
    value = np.log(busy) + np.log1p(ratio) / SHARPNESS
    slope = parts / busy[:, None]
    slope[:, 0] = ratio
    slope /= (1.0 + ratio)[:, None]
    return value, slope


def starting_point(batch: Vector, sm: Vector, ms: Vector) -> Vector:
    """Return log-parameters of about the right size for measured points."""
    per_unit = float(np.median(ms * sm / batch))
    least = float(ms.min())
    guess: Vector = np.log(
        np.array([0.7 * least, 0.2 * per_unit, 0.6 * per_unit, 0.1 * least, 0.02 * least])
    )
    return guess
