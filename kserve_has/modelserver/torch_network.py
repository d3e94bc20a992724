"""The same models in torch with random weights, for machines that have a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import torch

from ..errors import LatencyModelError
from .network import LABELS, payload_label

TEXT_TOKENS = 384
TEXT_VOCABULARY = 30522


def _image_model(name: str) -> torch.nn.Module:
    import torchvision  # an image server has it; a text server need not

    module: torch.nn.Module = torchvision.models.get_model(name, weights=None)
    return module


class _Encoder(torch.nn.Module):
    """BERT-base's shape: 12 layers, width 768, 12 heads, a classifier on the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(TEXT_VOCABULARY, 768)
        layer = torch.nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True)
        self.layers = torch.nn.TransformerEncoder(layer, 12)
        self.head = torch.nn.Linear(768, LABELS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 1000) of token ids (batch, length)."""
        logits: torch.Tensor = self.head(self.layers(self.embed(tokens))[:, 0])
        return logits


class TorchNetwork:
    """A network on the first CUDA device.

    Raises:
        LatencyModelError: the model is neither ``bert_base_384`` nor one of torchvision's.
    """

    def __init__(self, model: str, *, batch: int = 1, concurrency: int = 1) -> None:
        self._text = model == "bert_base_384"
        try:
            module = _Encoder() if self._text else _image_model(model)
        except (ImportError, ValueError) as error:
            raise LatencyModelError(f"torch cannot build {model!r}: {error}") from error
        self._module = module.eval().to("cuda")
        self._local = threading.local()
        # torch's own annotation of this class is incomplete.
        self._new_stream: Callable[[], torch.cuda.Stream] = torch.cuda.Stream
        self._slots = threading.BoundedSemaphore(concurrency)
        self.label([{}] * batch)

    def label(self, payloads: Sequence[object]) -> list[int]:
        """Return one label for each payload; inputs are drawn from a seed made of the payload."""
        generator = torch.Generator().manual_seed(payload_label(list(payloads)))
        if self._text:
            shape = (len(payloads), TEXT_TOKENS)
            inputs = torch.randint(TEXT_VOCABULARY, shape, generator=generator)
        else:
            inputs = torch.rand((len(payloads), 3, 224, 224), generator=generator)
        if not hasattr(self._local, "stream"):
            self._local.stream = self._new_stream()
        with self._slots, torch.inference_mode(), torch.cuda.stream(self._local.stream):
            labels: list[int] = self._module(inputs.to("cuda")).argmax(dim=1).tolist()
        return labels
