"""A latency objective: a percentile of end-to-end latency that must stay under a bound."""

from __future__ import annotations

from dataclasses import dataclass

from .units import parse_duration_ms


@dataclass(frozen=True, slots=True)
class Slo:
    """``percentile`` per cent of all offered requests are answered within ``latency_ms``.

    Attributes:
        latency_ms: bound on the time from arrival at the gateway to the last byte, milliseconds.
        percentile: 50..99, the share of offered requests that must meet the bound, per cent.

    """

    latency_ms: float
    percentile: int = 95

    def __post_init__(self) -> None:
        if not self.latency_ms > 0:
            raise ValueError(f"the latency bound must be positive, was {self.latency_ms}")
        if not 50 <= self.percentile <= 99:
            raise ValueError(f"the percentile must be in 50..99, was {self.percentile}")

    @property
    def allowed_violation_rate(self) -> float:
        """Share of offered requests that may miss the bound, 0..1."""
        return 1.0 - self.percentile / 100.0


def parse_percentile(text: str) -> int:
    """Return 95 for ``"p95"`` (50..99).

    Raises:
        ValueError: anything else.

    """
    digits = text.strip().removeprefix("p")
    if not text.strip().startswith("p") or not digits.isdigit() or not 50 <= int(digits) <= 99:
        raise ValueError(f"{text!r} is not a percentile; write p50 to p99")
    return int(digits)


def parse_slo(latency: str, percentile: str = "p95") -> Slo:
    """Return the objective written as ``"80ms"`` and ``"p95"``; ValueError when malformed."""
    return Slo(parse_duration_ms(latency), parse_percentile(percentile))
