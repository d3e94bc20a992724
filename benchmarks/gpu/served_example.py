"""A served model that is in no catalogue, as ``kserve-has profile --factory`` wants it.

kserve-has profile --model googlenet --factory benchmarks.gpu.served_example:googlenet
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchvision


def googlenet() -> tuple[torch.nn.Module, Callable[[int], torch.Tensor]]:
    """Return the network, and a function from batch size to an input on the GPU (bf16)."""
    module = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False)

    def inputs(batch: int) -> torch.Tensor:
        return torch.rand((batch, 3, 224, 224), device="cuda", dtype=torch.bfloat16)

    return module, inputs
