"""Encoders and decoders with random weights: the shapes of well-known text models, in torch alone.

Latency depends on shapes, not on weights, so nothing has to be downloaded.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

VOCABULARY = 30522


class Encoder(nn.Module):
    """A BERT-shaped encoder with a classifier on the first token."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1000)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 1000) of token ids (batch, length)."""
        logits: torch.Tensor = self.head(self.layers(self.embed(tokens))[:, 0])
        return logits


class _Block(nn.Module):
    """One pre-normalised decoder block with a gated feed-forward part."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(
        self, x: torch.Tensor, past: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        """Return the output (batch, length, width); ``past`` holds earlier keys and values."""
        batch, length, width = x.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = self.qkv(self.norm_1(x)).view(shape).permute(2, 0, 3, 1, 4)
        if past is not None:
            key = torch.cat((past[0], key), dim=2)
            value = torch.cat((past[1], value), dim=2)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        y = self.norm_2(x)
        result: torch.Tensor = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return result


class Decoder(nn.Module):
    """A Llama-shaped decoder: a prefill, or one decode step over a context that is there already."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int, context: int = 0) -> None:
        super().__init__()
        self.context = context
        self.heads = heads
        self.embed = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(_Block(width, heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self._past: dict[tuple[int, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return next-token logits (batch, vocabulary) of token ids (batch, length)."""
        x = self.embed(tokens)
        past = self._keys_and_values(x) if self.context else None
        for block in self.blocks:
            x = block(x, past)
        logits: torch.Tensor = self.head(self.norm(x[:, -1]))
        return logits

    def _keys_and_values(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one context shared by the layers: its size costs bandwidth, its values do not."""
        batch, _, width = x.shape
        key = (batch, x.dtype)
        if key not in self._past:
            shape = (batch, self.heads, self.context, width // self.heads)
            self._past[key] = (x.new_zeros(shape), x.new_zeros(shape))
        return self._past[key]
