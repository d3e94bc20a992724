"""Request-rate traces: read, check, cut and stretch. No clock, no randomness."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from ..errors import TraceError

HEADER: Final = ["t_s", "rps"]
HIGHEST_RPS: Final = 100_000.0
SHORTEST_STEP_S: Final = 0.001  # a run of an hour then has 3.6 million steps at most
SMOOTH_S: Final = 20


@dataclass(frozen=True, slots=True)
class Trace:
    """A rate of arrivals that is constant between its steps.

    Attributes:
        starts_s: start of each step, strictly ascending, the first at 0, seconds.
        rates_rps: arrivals per second during each step, not negative.
        end_s: end of the last step, seconds.

    """

    starts_s: tuple[float, ...]
    rates_rps: tuple[float, ...]
    end_s: float

    def scaled(self, factor: float) -> Trace:
        """Return the trace with every rate multiplied by one factor."""
        return Trace(self.starts_s, tuple(rate * factor for rate in self.rates_rps), self.end_s)

    def hastened(self, speed: float) -> Trace:
        """Return the trace played ``speed`` times as fast: its rates stay, its steps shorten."""
        starts = tuple(start / speed for start in self.starts_s)
        return Trace(starts, self.rates_rps, self.end_s / speed)

    def cut(self, start_s: float, seconds: float) -> Trace:
        """Return ``seconds`` of the trace from ``start_s``, beginning at 0.

        A cut beyond the end repeats the trace from its start, so that any length can be had.
        """
        starts, rates = [], []
        position, taken = start_s % self.end_s, 0.0
        while taken < seconds - 1e-9:
            index = self._step_at(position)
            until = self._end_of(index)
            starts.append(taken)
            rates.append(self.rates_rps[index])
            taken += until - position
            position = until if until < self.end_s else 0.0
        return Trace(tuple(starts), tuple(rates), seconds)

    def led_in(self, seconds: float) -> Trace:
        """Return the trace after a linear rise of ``seconds`` from nothing to its first rate."""
        if seconds <= 0:
            return self
        steps = math.ceil(seconds)
        width = seconds / steps
        rise = [self.rates_rps[0] * (i + 0.5) / steps for i in range(steps)]
        starts = [i * width for i in range(steps)] + [seconds + s for s in self.starts_s]
        return Trace(tuple(starts), (*rise, *self.rates_rps), seconds + self.end_s)

    def mean_rps(self) -> float:
        """Return arrivals per second over the whole trace."""
        total = sum(r * (self._end_of(i) - self.starts_s[i]) for i, r in enumerate(self.rates_rps))
        return total / self.end_s

    def liveliest_start(self, seconds: float, avoid: Sequence[tuple[float, float]] = ()) -> float:
        """Return where the cut of ``seconds`` begins whose mean rate rises and falls the most.

        The rate is taken over stretches of twenty seconds; a cut counts by the lesser of its rise
        from the first stretch to the highest and its fall from there to the last.

        Args:
            seconds: length of the cut.
            avoid: (start, end) spans that the cut may not touch, unless nothing else is left.

        """
        per_second = self._per_second()
        length = min(int(seconds), len(per_second))
        smooth = _moving_mean(per_second, min(SMOOTH_S, length))
        candidates = range(len(per_second) - length + 1)
        free = [
            start
            for start in candidates
            if all(start + length <= low or start >= high for low, high in avoid)
        ]
        width = max(1, length - SMOOTH_S + 1)
        return float(max(free or candidates, key=lambda s: _hill(smooth[s : s + width])))

    def _per_second(self) -> list[float]:
        """Return the mean rate of every whole second."""
        means = [0.0] * int(self.end_s)
        for index, (start, rate) in enumerate(zip(self.starts_s, self.rates_rps, strict=True)):
            end = min(self._end_of(index), len(means))
            for second in range(int(start), math.ceil(end)):
                means[second] += rate * (min(end, second + 1) - max(start, second))
        return means

    def _step_at(self, t_s: float) -> int:
        low, high = 0, len(self.starts_s) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.starts_s[middle] <= t_s:
                low = middle
            else:
                high = middle - 1
        return low

    def _end_of(self, index: int) -> float:
        return self.starts_s[index + 1] if index + 1 < len(self.starts_s) else self.end_s


def parse(lines: Iterable[str], name: str) -> Trace:
    """Return the trace written as CSV with the header ``t_s,rps``.

    The last step lasts as long as the one before it, one second when there is only one.

    Raises:
        TraceError: names the file, the line and what is wrong with it.

    """
    rows = _rows(lines, name)
    _, header = next(rows, (1, None))
    if header is None or [cell.strip() for cell in header] != HEADER:
        raise TraceError(
            f"{name}, line 1: expected the header t_s,rps, found {header or 'nothing'}"
        )
    starts: list[float] = []
    rates: list[float] = []
    for line, row in rows:
        if not row:
            continue
        start, rate = _step(row, f"{name}, line {line}")
        if starts and start <= starts[-1]:
            raise TraceError(
                f"{name}, line {line}: t_s {start:g} is not after {starts[-1]:g}; steps must ascend"
            )
        # Written decimals are inexact: 0.003 - 0.002 is less than 0.001.
        if starts and start - starts[-1] < SHORTEST_STEP_S - 1e-9:
            raise TraceError(
                f"{name}, line {line}: the step before t_s {start:g} lasts "
                f"{start - starts[-1]:g} s; one must last {SHORTEST_STEP_S:g} s at least"
            )
        if not starts and start != 0:
            raise TraceError(f"{name}, line {line}: the first t_s must be 0, was {start:g}")
        starts.append(start)
        rates.append(rate)
    if not any(rates):
        raise TraceError(f"{name}: holds no step with a rate above 0")
    last = starts[-1] - starts[-2] if len(starts) > 1 else 1.0
    return Trace(tuple(starts), tuple(rates), starts[-1] + last)


def read(path: Path) -> Trace:
    """Return the trace of a CSV file.

    Raises:
        TraceError: the file cannot be read, or names the line and what is wrong with it.

    """
    try:
        # Spreadsheets put a mark at the start.
        return parse(path.read_text(encoding="utf-8-sig").splitlines(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error


def bundled() -> Trace:
    """Return the Azure LLM 2023 conversation trace (CC BY 4.0, see data/LICENSE.md)."""
    name = "azure_conv_2023.csv"
    source = files(__package__) / "data" / name
    return parse(source.read_text(encoding="utf-8").splitlines(), name)


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(lines)
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise TraceError(f"{name}, line {rows.line_num}: {error}") from None


def _step(row: list[str], where: str) -> tuple[float, float]:
    if len(row) != len(HEADER):
        raise TraceError(f"{where}: expected two columns t_s,rps, found {len(row)}")
    values = []
    for column, cell in zip(HEADER, row, strict=True):
        try:
            value = float(cell)
        except ValueError:
            raise TraceError(f"{where}: {column} is not a number: {cell!r}") from None
        if not math.isfinite(value) or value < 0:
            raise TraceError(f"{where}: {column} must be a finite number >= 0, was {cell.strip()}")
        values.append(value)
    if values[1] > HIGHEST_RPS:
        raise TraceError(f"{where}: rps {values[1]:g} is above {HIGHEST_RPS:g}")
    return values[0], values[1]


def _moving_mean(values: Sequence[float], width: int) -> list[float]:
    total = sum(values[:width])
    means = [total / width]
    for leaving, entering in zip(values, values[width:], strict=False):
        total += entering - leaving
        means.append(total / width)
    return means


def _hill(values: Sequence[float]) -> float:
    highest = max(values)
    return min(highest - values[0], highest - values[-1])
