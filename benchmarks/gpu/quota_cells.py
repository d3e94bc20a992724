"""Cells of the benchmark's tables: a figure, a figure with its interval, met or not."""

from __future__ import annotations

Row = tuple[str, str, str, str]  # what, must, found, met


def figure(value: object, digits: int = 2) -> str:
    """Return a number as text, a dash for none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def met(value: float | None, most: float) -> str:
    """Return yes or no, a dash where nothing was measured."""
    return "-" if value is None else "yes" if value <= most else "no"


def between(value: dict[str, float], most: float) -> str:
    """Return whether a bound is met: yes if the whole interval is, no if none of it is."""
    low, middle, high = (value[k] for k in ("low", "median", "high"))
    if high <= most or low > most:
        return "yes" if high <= most else "no"
    return f"median {'yes' if middle <= most else 'no'}, interval undecided"


def ranged(value: dict[str, float], digits: int = 1) -> str:
    """Return a median with its interval."""
    low, middle, high = (figure(value[k], digits) for k in ("low", "median", "high"))
    return f"{middle} [{low}, {high}] %"
