"""The operators of a network as a graph with real branches and activation shapes (torch.export).

Views cost nothing on a GPU and are contracted: an operator's inputs are the operators whose
results it reads, however often they were reshaped on the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

KINDS: Final = (
    "conv",
    "depthwise",
    "linear",
    "matmul",
    "attention",
    "norm",
    "pool",
    "softmax",
    "embedding",
    "elementwise",
    "move",
)
_KIND_OF: Final[Mapping[str, str]] = {
    "linear": "linear",
    "addmm": "linear",
    "mm": "matmul",
    "bmm": "matmul",
    "matmul": "matmul",
    "scaled_dot_product_attention": "attention",
    "batch_norm": "norm",
    "_native_batch_norm_legit_no_training": "norm",
    "layer_norm": "norm",
    "rms_norm": "norm",
    "group_norm": "norm",
    "softmax": "softmax",
    "embedding": "embedding",
    "cat": "move",
    "stack": "move",
    "roll": "move",
    "pad": "move",
    "constant_pad_nd": "move",
    "clone": "move",
    "contiguous": "move",
    "index": "move",
    "copy_": "move",
}
_VIEWS: Final = frozenset(
    (
        *("view", "reshape", "flatten", "unflatten", "transpose", "permute", "t", "numpy_T"),
        *("squeeze", "unsqueeze", "expand", "expand_as", "movedim", "alias", "detach"),
        *("chunk", "split", "split_with_sizes", "unsafe_split", "unbind", "slice", "select"),
        *("getitem", "narrow", "dropout", "to", "_to_copy", "type_as"),
        *("_assert_tensor_metadata",),
    )
)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator that runs on the GPU.

    Attributes:
        kind: one of ``KINDS``.
        flops: floating-point operations for the traced batch.
        read_bytes, written_bytes: activations in and out, four bytes an element.
        weight_shape: of its largest parameter, empty without one.
        output_shape: of its first result, batch first.
        attributes: kernel, stride, padding, dilation, groups of a convolution or pool.
        inputs: indices of the operators it reads, ascending.
        name: of the operation in torch, such as ``conv2d``.

    """

    kind: str
    flops: float
    read_bytes: float
    written_bytes: float
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    attributes: Mapping[str, tuple[int, ...]]
    inputs: tuple[int, ...]
    name: str = ""


def operators_of(
    module: torch.nn.Module, example: torch.Tensor | tuple[torch.Tensor, ...]
) -> tuple[Operator, ...]:
    """Return the operators of a network in the order they run.

    Works on any device, ``meta`` too, on which nothing is allocated or computed.
    """
    import torch

    arguments = example if isinstance(example, tuple) else (example,)
    program = torch.export.export(module.eval(), arguments)
    weights = program.graph_signature.inputs_to_parameters.keys()
    found: list[Operator] = []
    source: dict[Node, tuple[int, ...]] = {}
    live: set[Node] = set()  # what depends on the input; the rest is computed once, before
    for node in program.graph.nodes:
        if node.op != "call_function":
            source[node] = ()
            if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
                live.add(node)
            continue
        tensors = [n for n in node.all_input_nodes if shape_of(n) is not None]
        source[node] = tuple(sorted({i for n in tensors for i in source[n]}))
        if live.isdisjoint(tensors):
            continue
        live.add(node)
        name = name_of(node)
        if not is_view(name):
            found.append(_operator(node, name, tensors, weights, source[node]))
            source[node] = (len(found) - 1,)
    return tuple(found)


def _operator(
    node: Node,
    name: str,
    tensors: Sequence[Node],
    weights: AbstractSet[str],
    inputs: tuple[int, ...],
) -> Operator:
    parameters = [n for n in tensors if n.name in weights]
    data = [n for n in tensors if n.name not in weights]
    weight = max((shape_of(n) or () for n in parameters), key=math.prod, default=())
    output = shape_of(node) or ()
    attributes = attributes_of(node, name)
    kind = _kind(name, weight, attributes)
    read = sum(math.prod(shape_of(n) or ()) for n in data)
    return Operator(
        kind,
        _flops(kind, weight, output, [shape_of(n) or () for n in data]),
        4.0 * read,
        4.0 * math.prod(output),
        weight,
        output,
        attributes,
        inputs,
        name,
    )


def is_view(name: str) -> bool:
    """Return whether an operation of torch moves nothing."""
    return name in _VIEWS


def name_of(node: Node) -> str:
    """Return the operation a node calls, such as ``conv2d``."""
    target = node.target
    return str(getattr(target, "_opname", None) or getattr(target, "__name__", "")).split(".")[0]


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of a node's first result."""
    value = node.meta.get("val")
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(int(n) for n in shape)


def attributes_of(node: Node, name: str) -> dict[str, tuple[int, ...]]:
    """Return kernel, stride, padding, dilation and groups of a convolution or pool."""
    if not name.startswith("conv") and "pool" not in name:
        return {}
    target: Any = node.target
    names = [a.name for a in target._schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    wanted = ("kernel_size", "stride", "padding", "dilation", "groups")
    kept: dict[str, tuple[int, ...]] = {}
    for key in wanted:
        value = given.get(key)
        if isinstance(value, int):
            kept[key] = (value,)
        elif isinstance(value, tuple | list) and all(isinstance(v, int) for v in value):
            kept[key] = tuple(value)
    return kept


def _kind(name: str, weight: tuple[int, ...], attributes: Mapping[str, tuple[int, ...]]) -> str:
    if name.startswith("conv"):
        groups = attributes.get("groups", (1,))[0]
        return "depthwise" if groups > 1 and weight[:1] == (groups,) else "conv"
    if "pool" in name:
        return "pool"
    return _KIND_OF.get(name, "elementwise")


def _flops(
    kind: str, weight: tuple[int, ...], output: tuple[int, ...], data: Sequence[tuple[int, ...]]
) -> float:
    size = float(math.prod(output))
    if kind in ("conv", "depthwise", "linear") and weight:
        return 2.0 * size * math.prod(weight[1:])
    if kind in ("matmul", "linear") and data:
        return 2.0 * size * data[0][-1]
    if kind == "attention" and data:
        keys = data[min(1, len(data) - 1)]  # query and keys may be one tensor
        return 4.0 * math.prod(data[0]) * keys[-2]
    return size
