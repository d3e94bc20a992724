"""The latency model: what any piece of any GPU would deliver (RaPP for users)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Latency:
    """Service time of one request alone on an allocation, without queueing.

    Attributes:
        mean_ms: expected time over a random phase of the quota window, milliseconds.
        upper_ms: one-sided 95 % bound, milliseconds; decisions use this one.

    """

    mean_ms: float
    upper_ms: float


class Part(Protocol):
    """What a latency model knows of one served model on one GPU.

    Answers can be remembered by its identity: a part whose answers change is a new object.
    """

    def predict(self, batch: int, sm: int, quota_percent: int) -> Latency:
        """Return the service time of a batch.

        Raises:
            LatencyModelError: the piece is impossible.

        """
        ...


class LatencyModel(Protocol):
    """Anything that predicts the service time of a served model on a piece of a GPU."""

    def knows(self, served_model: str, gpu_product: str) -> bool:
        """Whether a prediction can be made for this model on this GPU."""
        ...

    def part(self, served_model: str, gpu_product: str) -> Part:
        """Return what is known of one model on one GPU, the same object while that is the same.

        Raises:
            LatencyModelError: the model or GPU is unknown.

        """
        ...

    def predict(
        self, served_model: str, gpu_product: str, batch: int, sm: int, quota_percent: int
    ) -> Latency:
        """Return the service time of a batch.

        Raises:
            LatencyModelError: the model or GPU is unknown, or the piece is impossible.

        """
        ...
