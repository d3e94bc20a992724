"""The catalogue of networks whose latency is measured: names, families, how each is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from ..errors import LatencyModelError
from .transformers import VOCABULARY, Decoder, Encoder

IMAGE: Final = (3, 224, 224)


@dataclass(frozen=True, slots=True)
class Network:
    """One entry of the catalogue.

    Attributes:
        name: the served model's name in latency models.
        family: networks of one family share their building blocks.
        tokens: length of the input text, 0 for an image network.
        build: makes the module, with random weights, on the CPU.

    """

    name: str
    family: str
    tokens: int
    build: Callable[[], nn.Module]

    def inputs(self, batch: int, device: str, dtype: torch.dtype) -> torch.Tensor:
        """Return a batch of random inputs: images (batch, 3, 224, 224) or ids (batch, tokens)."""
        if self.tokens:
            return torch.randint(VOCABULARY, (batch, self.tokens), device=device)
        return torch.rand((batch, *IMAGE), device=device, dtype=dtype)


_VISION: Final[Mapping[str, tuple[str, ...]]] = {
    "resnet": ("resnet50", "resnet18", "resnet101", "resnet152"),
    "resnext": ("resnext50_32x4d",),
    "vgg": ("vgg16", "vgg11_bn"),
    "densenet": ("densenet121", "densenet169"),
    "efficientnet": ("efficientnet_b0", "efficientnet_b4"),
    "mobilenet": ("mobilenet_v2", "mobilenet_v3_large"),
    "shufflenet": ("shufflenet_v2_x1_0", "shufflenet_v2_x0_5"),
    "regnet": ("regnet_y_8gf", "regnet_x_3_2gf"),
    "convnext": ("convnext_tiny", "convnext_base", "convnext_large"),
    "swin": ("swin_t", "swin_s"),
    "vit": ("vit_b_16", "vit_l_16"),
    "alexnet": ("alexnet",),
}


def _vision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision  # an image server has it; a text server need not

        module: nn.Module = torchvision.models.get_model(name, weights=None)
        return module

    return build


def _text() -> tuple[Network, ...]:
    def encoder(name: str, tokens: int, *shape: int) -> Network:
        return Network(f"{name}_{tokens}", "encoder", tokens, lambda: Encoder(*shape))

    llama = (16, 2048, 16, 5632)
    return (
        encoder("bert_base", 384, 12, 768, 12),
        encoder("bert_base", 128, 12, 768, 12),
        encoder("bert_base", 512, 12, 768, 12),
        encoder("bert_large", 384, 24, 1024, 16),
        encoder("distil", 128, 6, 768, 12),
        Network("llama_1b_prefill_512", "decoder", 512, lambda: Decoder(*llama)),
        Network("llama_1b_decode_512", "decoder", 1, lambda: Decoder(*llama, context=512)),
    )


def catalogue() -> dict[str, Network]:
    """Return every network by name."""
    vision = (
        Network(name, family, 0, _vision(name))
        for family, names in _VISION.items()
        for name in names
    )
    return {network.name: network for network in (*vision, *_text())}


def network(name: str) -> Network:
    """Return one network.

    Raises:
        LatencyModelError: the name is not in the catalogue.

    """
    known = catalogue()
    if name not in known:
        raise LatencyModelError(f"no network {name!r}; known: {', '.join(sorted(known))}")
    return known[name]
