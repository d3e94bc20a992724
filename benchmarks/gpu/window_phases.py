"""At which moments of the quota window a lone request is measured, and the mean over all moments.

The wall time of a request under a quota jumps where one more pause begins, and falls by as much as
the phase rises where the request waits for a window's edge; elsewhere it is flat. So phases are put
where neighbours differ by neither, and straight lines between them give the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Phases:
    """Measured phases of one configuration.

    Attributes:
        window_ms: the quota window.
        offset_ms: of the first, evenly spaced phases; draw it at random.
        least, most: requests.
        tolerance: stop when what may hide between neighbours is below this share of the mean.
        walls: phase to wall time, both in milliseconds.

    """

    window_ms: float
    offset_ms: float
    least: int = 6
    most: int = 16
    tolerance: float = 0.005
    walls: dict[float, float] = field(default_factory=dict)

    def next_ms(self) -> float | None:
        """Return the phase to measure next; None: enough is known."""
        count = len(self.walls)
        if count < self.least:
            # Each a bit earlier in its window than the one before: the next window's comes sooner.
            return (self.offset_ms - count * self.window_ms / self.least) % self.window_ms
        hidden = [(self._hidden(*gap), gap) for gap in self._gaps()]
        unknown = sum(size for size, _ in hidden) / 2 / self.window_ms
        if count >= self.most or unknown < self.tolerance * self.mean_ms():
            return None
        _, (phase, width, _, _) = max(hidden)
        return (phase + width / 2) % self.window_ms

    def add(self, phase_ms: float, wall_ms: float) -> None:
        """Take what a request took that began at a phase."""
        self.walls[phase_ms] = wall_ms

    def mean_ms(self) -> float:
        """Return the mean wall time over all phases of the window."""
        area = sum(width * (first + last) / 2 for _, width, first, last in self._gaps())
        return area / self.window_ms

    def _gaps(self) -> list[tuple[float, float, float, float]]:
        """Return (phase, width, wall there, wall at the next phase) around the window."""
        at = sorted(self.walls)
        following = [*at[1:], at[0] + self.window_ms]
        walls = [self.walls[phase] for phase in at]
        return [
            (phase, after - phase, wall, later)
            for phase, after, wall, later in zip(
                at, following, walls, walls[1:] + walls[:1], strict=True
            )
        ]

    def _hidden(self, _phase: float, width: float, first: float, last: float) -> float:
        change = last - first
        return width * min(abs(change), abs(change + width))
