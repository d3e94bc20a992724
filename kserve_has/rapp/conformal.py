"""Upper bounds that hold: a quantile of past surprises, adapted to what is observed.

A surprise is how far a measurement lies above its prediction, in predicted standard deviations.
The bound starts at the 95 % quantile over networks held out when the prior was learnt (pooled).
Every observation of one network then moves that network's own bound (adaptive conformal
inference, Gibbs and Candes 2021): up after a miss, down a nineteenth of that after a hit, so that
in the long run one in twenty misses, whatever the distribution and however it drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MISSES: Final = 0.05
FIRST_STEP: Final = 0.5
LAST_STEP: Final = 0.25
LOWEST: Final = 0.5
HIGHEST: Final = 8.0


@dataclass(frozen=True, slots=True)
class Bound:
    """How many standard deviations above the prediction the bound lies.

    Attributes:
        deviations: now.
        seen: observations it was adapted to.

    """

    deviations: float
    seen: int = 0

    def after(self, surprise: float) -> Bound:
        """Return the bound after one more observation."""
        step = max(LAST_STEP, FIRST_STEP / (1.0 + self.seen) ** 0.25)
        move = step * (1.0 - MISSES) if surprise > self.deviations else -step * MISSES
        moved = min(HIGHEST, max(LOWEST, self.deviations + move))
        return replace(self, deviations=moved, seen=self.seen + 1)
