"""RaPP's features of operators, from a traced network: 32 static ones, six measured times if known.

The published features came from TVM graphs that were chains; here edges are the network's real
ones and an operator without weights is a node too. The four last sizes are those of the weights, as
published, and of the activation where there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from .core import Vector
from .graph import Operator

KINDS: Final = (
    *("conv2d", "conv2d_transpose", "dense", "layer_norm", "relu", "bias_add", "max_pool2d"),
    *("adaptive_avg_pool2d", "batch_matmul", "softmax", "batch_norm", "multiply", "add"),
    *("squeeze", "reshape", "transpose"),
)
"""The published one-hot of operator kinds, in its order."""
_PUBLISHED: Final[Mapping[str, str]] = {
    **{name: "conv2d" for name in ("conv2d", "convolution", "conv1d")},
    "conv_transpose2d": "conv2d_transpose",
    **{name: "dense" for name in ("linear", "addmm", "mm")},
    **{name: "layer_norm" for name in ("layer_norm", "rms_norm", "group_norm")},
    **{name: "relu" for name in ("relu", "relu_", "hardtanh", "hardtanh_")},
    **{name: "max_pool2d" for name in ("max_pool2d", "max_pool2d_with_indices")},
    **{name: "adaptive_avg_pool2d" for name in ("adaptive_avg_pool2d", "avg_pool2d", "mean")},
    **{name: "batch_matmul" for name in ("bmm", "matmul", "scaled_dot_product_attention")},
    "softmax": "softmax",
    **{name: "batch_norm" for name in ("batch_norm", "_native_batch_norm_legit_no_training")},
    **{name: "multiply" for name in ("mul", "mul_", "sigmoid", "silu", "hardswish", "gelu")},
    **{name: "add" for name in ("add", "add_", "sub", "cat")},
}
TIMES: Final = 6
WIDTH: Final = len(KINDS) + 12 + 4 + TIMES


def node_features(operators: Sequence[Operator], times_ms: Vector | None = None) -> Vector:
    """Return 38 features a node; ``times_ms`` (nodes, 6) at 5, 10, 30, 60, 80 and 100 % of the SMs."""
    times = np.zeros((len(operators), TIMES)) if times_ms is None else times_ms
    static = np.array([_static(operator) for operator in operators])
    features: Vector = np.hstack((static, times))
    return features


def edges(operators: Sequence[Operator]) -> Vector:
    """Return pairs (from, to) of node indices, shape (2, edges)."""
    pairs = [(source, index) for index, o in enumerate(operators) for source in o.inputs]
    return np.array(pairs, dtype=int).reshape(-1, 2).T


def graph_features(operators: Sequence[Operator], quota_profile_ms: Sequence[float]) -> Vector:
    """Return the 10 graph features; the profile is at quota 20, 40, 60, 80 and 100 %."""
    published = [_PUBLISHED.get(o.name) for o in operators]
    gmac = sum(o.flops for o in operators if o.weight_shape) / 2e9
    counts = (published.count(kind) for kind in ("conv2d", "dense", "relu"))
    return np.array([1.0, gmac, *counts, *quota_profile_ms])


def _static(operator: Operator) -> list[float]:
    published = _PUBLISHED.get(operator.name)
    one_hot = [float(kind == published) for kind in KINDS]
    shape = operator.weight_shape or operator.output_shape
    sizes = [float(size) for size in (*shape, 0, 0, 0, 0)[:4]]
    if published != "conv2d":
        return [*one_hot, *[0.0] * 12, *sizes]
    found = operator.attributes
    kernel = _pair(operator.weight_shape[2:])
    padding = _pair(found.get("padding", (0,)))
    return [
        *one_hot,
        *kernel,
        float(operator.weight_shape[0]),
        *_pair(found.get("stride", (1,))),
        *padding,
        *padding,
        *_pair(found.get("dilation", (1,))),
        float(found.get("groups", (1,))[0]),
        *sizes,
    ]


def _pair(values: Sequence[int]) -> tuple[float, float]:
    return float(values[0]), float(values[-1])
