"""What PyTorch runs on the GPU for a network, read off its exported graph: one row a kernel's kind.

The exported graph says which operators there are; this says what they cost a device that runs them
one after the other. A reshape that cannot be a view is a copy, a tensor that lies in memory in
another order is read slowly, what depends on weights alone is nevertheless computed anew every
time, and some modules have a native path that copies less than their Python says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .core import Vector
from .graph import attributes_of, is_view, name_of, shape_of

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

PRODUCTS: Final = ("pointwise", "convolution", "stem", "grouped", "linear", "matmul", "attention")
"""Kinds that amount to matrix products; the first four are convolutions."""
CLASSES: Final = (
    *PRODUCTS,
    "depthwise",
    *("elementwise", "rowwise", "pool", "transposed"),  # traffic alone
)
_CLASS: Final = {name: number for number, name in enumerate(CLASSES)}
CALLS: Final = ("arithmetic", "other", "view")
"""Kinds of calls from the host."""
_FREE: Final = frozenset(
    # getitem takes a tensor out of several that one call returned
    ("scalar_tensor", "_assert_tensor_metadata", "alias", "detach", "dropout", "getitem")
)
_ROWWISE: Final = frozenset(
    (
        *("layer_norm", "rms_norm", "group_norm", "softmax", "embedding"),
        *("stack", "cat", "index", "roll", "pad", "constant_pad_nd"),
    )
)
_COPIES: Final = frozenset(("reshape", "flatten", "contiguous", "clone"))


@dataclass(frozen=True)
class Kernels:
    """Kernels as columns, for one instance; equal ones stand in one row.

    Attributes:
        kind: index in ``CLASSES``.
        flops: floating-point operations.
        elements: of activations, read and written.
        weights: elements read whatever the batch.
        rows, columns, depth: of the matrix product it amounts to; depth is what is summed over,
            for a depthwise convolution the taps of its filter.
        groups: independent products an instance.
        batched: 1 where the batch makes it larger, 0 where it does not.
        count: how many there are of it.
        calls: from the host, one number for each of ``CALLS``.

    """

    kind: Vector
    flops: Vector
    elements: Vector
    weights: Vector
    rows: Vector
    columns: Vector
    depth: Vector
    groups: Vector
    batched: Vector
    count: Vector
    calls: Vector


def kernels_of(module: torch.nn.Module, example: torch.Tensor) -> Kernels:
    """Return the kernels of a network, traced with a batch of one, on any device or ``meta``."""
    import torch

    with torch.no_grad():
        program = torch.export.export(module.eval(), (example,))
    signature = program.graph_signature
    walk = _Walk(frozenset(signature.inputs_to_parameters), frozenset(signature.user_inputs))
    for node in program.graph.nodes:
        walk.visit(node)
    return walk.kernels()


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def size(self) -> float:
        return float(math.prod(self.shape))

    @property
    def contiguous(self) -> bool:
        expected = 1
        for length, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if length != 1 and stride != expected:
                return False
            expected *= length
        return True

    @property
    def channels_last(self) -> bool:
        wide = len(self.shape) == 4 and self.shape[1] > 1
        return wide and self.stride[1] == 1 and not self.contiguous

    @property
    def batches_merge(self) -> bool:
        """Whether the two outer dimensions of four can be seen as one."""
        return len(self.shape) != 4 or self.stride[0] == self.stride[1] * self.shape[1]


class _Walk:
    """Goes through a graph in order and notes every kernel."""

    def __init__(self, weights: frozenset[str], inputs: frozenset[str]) -> None:
        self._weights, self._inputs = weights, inputs
        self._rows: Counter[tuple[float, ...]] = Counter()
        self._calls: Counter[str] = Counter()
        self._grows: set[str] = set()  # what depends on the input, and so on the batch
        self._last: set[str] = set()  # what a convolution left with its channels last
        self._batched = 1.0

    def kernels(self) -> Kernels:
        """Return what was noted."""
        table = np.array([(*row, count) for row, count in self._rows.items()], dtype=float)
        calls = np.array([float(self._calls[c]) for c in CALLS])
        columns: list[Vector] = [*table.T, calls]
        return Kernels(*columns)

    def visit(self, node: Node) -> None:
        """Note what one node of the graph runs."""
        if node.op != "call_function":
            if node.name in self._inputs:
                self._grows.add(node.name)
            return
        name, sources = name_of(node), [n.name for n in node.all_input_nodes]
        data = [n for n in node.all_input_nodes if n.name not in self._weights]
        tensors = [t for t in map(_tensor, data) if t is not None]
        if name != "new_zeros" and not self._grows.isdisjoint(sources):
            self._grows.add(node.name)
        if not self._last.isdisjoint(sources) or (
            name.startswith("conv") and tensors and tensors[0].channels_last
        ):
            self._last.add(node.name)
        output = _tensor(node)
        if output is None or name in _FREE:
            return
        self._batched = float(node.name in self._grows)
        native = _native(node)
        if is_view(name) or name in _COPIES:
            if "attention" not in native:
                self._view(name, tensors, output, node.name in self._last)
        elif not ("layer" in native and name == "gelu"):  # part of the product before it
            shapes = [
                s
                for n in node.all_input_nodes
                if n.name in self._weights
                for s in [shape_of(n)]
                if s
            ]
            self._kernel(node, name, tensors, output, shapes)

    def _view(self, name: str, tensors: Sequence[_Tensor], output: _Tensor, last: bool) -> None:
        copies = name == "clone" or (
            name in _COPIES and bool(tensors) and not tensors[0].contiguous and output.contiguous
        )
        if copies:
            self._traffic("rowwise" if last else "transposed", 2 * output.size)
        else:
            self._calls["view"] += 1

    def _kernel(
        self,
        node: Node,
        name: str,
        tensors: Sequence[_Tensor],
        output: _Tensor,
        weights: Sequence[tuple[int, ...]],
    ) -> None:
        read = sum(t.size for t in tensors)
        fixed = float(sum(math.prod(w) for w in weights))
        last = node.name in self._last
        slow = not last and any(not t.contiguous and t.shape == output.shape for t in tensors)
        if name.startswith("conv"):
            groups = attributes_of(node, name).get("groups", (1,))[0]
            self._convolution(weights[0], groups, output, read, fixed)
        elif name in ("linear", "addmm", "matmul", "bmm", "mm"):
            self._matrix(tensors, output, read, weights, fixed)
        elif name == "scaled_dot_product_attention":
            self._attention(tensors, output, read)
        elif "pool" in name:
            self._traffic("pool", read + output.size)
        elif name in _ROWWISE:
            if slow and "norm" in name:
                self._traffic("transposed", 2 * read)
                slow = False
            moved = 2 * output.size if name in ("index", "embedding") else read + output.size
            for _ in range(2 if name == "roll" else 1):  # a kernel a dimension
                self._traffic("transposed" if slow else "rowwise", moved, fixed)
        else:
            self._traffic("transposed" if slow else "elementwise", read + output.size, fixed)

    def _convolution(
        self,
        weight: tuple[int, ...],
        groups: int,
        output: _Tensor,
        read: float,
        fixed: float,
    ) -> None:
        taps = float(math.prod(weight[2:]))
        depth = weight[1] * taps
        if groups > 1:
            kind = "depthwise" if weight[1] == 1 else "grouped"
        elif weight[1] <= 4:
            kind = "stem"
        else:
            kind = "pointwise" if taps == 1 else "convolution"
        area = float(math.prod(output.shape[2:]))
        moved, flops = read + output.size, 2.0 * output.size * depth
        self._note(kind, flops, moved, fixed, area, weight[0] / groups, depth, float(groups))
        self._calls["arithmetic"] += 1

    def _matrix(
        self,
        tensors: Sequence[_Tensor],
        output: _Tensor,
        read: float,
        weights: Sequence[tuple[int, ...]],
        fixed: float,
    ) -> None:
        depth, columns = float(tensors[0].shape[-1]), float(output.shape[-1])
        flops, moved = 2.0 * output.size * depth, read + output.size
        self._calls["arithmetic"] += 1
        if weights:
            rows = output.size / columns
            self._note("linear", flops, moved, fixed, rows, columns, depth, 1.0)
            return
        for tensor in tensors:
            if not tensor.batches_merge:
                self._traffic("transposed", 2 * tensor.size)
        groups = float(math.prod(output.shape[:-2]))
        rows = float(output.shape[-2])
        self._note("matmul", flops, moved, 0.0, rows, columns, depth, groups)

    def _attention(self, tensors: Sequence[_Tensor], output: _Tensor, read: float) -> None:
        query, keys = tensors[0].shape, tensors[min(1, len(tensors) - 1)].shape
        flops, groups = 4.0 * tensors[0].size * keys[-2], float(math.prod(query[:-2]))
        moved, rows, width = read + output.size, float(query[-2]), float(query[-1])
        self._note("attention", flops, moved, 0.0, rows, width, float(keys[-2]), groups)
        self._calls["arithmetic"] += 1

    def _traffic(self, kind: str, elements: float, fixed: float = 0.0) -> None:
        self._note(kind, 0.0, elements, fixed, 1.0, 1.0, 1.0, 1.0)
        self._calls["other"] += 1

    def _note(self, kind: str, *figures: float) -> None:
        self._rows[(float(_CLASS[kind]), *figures, self._batched)] += 1


def _tensor(node: Node) -> _Tensor | None:
    value: Any = node.meta.get("val")
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if getattr(value, "shape", None) is None:
        return None
    return _Tensor(tuple(map(int, value.shape)), tuple(map(int, value.stride())))


def _native(node: Node) -> frozenset[str]:
    """Return whether a node is part of a module that PyTorch runs natively: attention, a layer."""
    inside = {
        str(kind).rsplit(".", 1)[-1] for _, kind in node.meta.get("nn_module_stack", {}).values()
    }
    layer = "TransformerEncoderLayer" in inside
    found = {"layer"} if layer else set()
    if layer or "MultiheadAttention" in inside:
        found.add("attention")
    return frozenset(found)
