"""Quantities with a unit: parse from what users write, format for what they read.

Durations are floats in the unit their name carries, sizes are integers in bytes, shares are
integer percents. There is one converter per pair and no arithmetic across units.
"""

from __future__ import annotations

import re
from typing import Final

_DURATION: Final = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m)\s*$")
_DURATION_MS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_BYTES: Final = re.compile(r"^\s*(\d+)\s*(|k|M|G|T|Ki|Mi|Gi|Ti)\s*$")
_BYTES_FACTOR: Final = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def parse_duration_ms(text: str) -> float:
    """Return the milliseconds of ``"80ms"``, ``"0.25s"``, ``"1m"`` or ``"500us"``.

    Raises:
        ValueError: the text is not a positive number followed by one of those units.

    """
    match = _DURATION.match(text)
    if match is None or float(match.group(1)) <= 0:
        raise ValueError(f"{text!r} is not a duration; write for example 80ms or 0.25s")
    return float(match.group(1)) * _DURATION_MS[match.group(2)]


def parse_bytes(text: str) -> int:
    """Return the bytes of a Kubernetes quantity such as ``"4Gi"`` or ``"500M"``.

    Raises:
        ValueError: the text is not a positive whole number with a known suffix.

    """
    match = _BYTES.match(text)
    if match is None or int(match.group(1)) <= 0:
        raise ValueError(f"{text!r} is not a size; write for example 4Gi or 500M")
    return int(match.group(1)) * _BYTES_FACTOR[match.group(2)]


def parse_whole(text: str, lowest: int, highest: int) -> int:
    """Return the whole number in ``text`` when it lies in ``lowest..highest``.

    Raises:
        ValueError: not a whole number, or outside the range.

    """
    if not re.fullmatch(r"\s*-?\d+\s*", text):
        raise ValueError(f"{text!r} is not a whole number in {lowest}..{highest}")
    value = int(text)
    if not lowest <= value <= highest:
        raise ValueError(f"{value} is outside {lowest}..{highest}")
    return value


def format_bytes(size_bytes: int) -> str:
    """Return a size with the largest binary suffix that keeps it readable."""
    value = float(size_bytes)
    for suffix in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {suffix}" if suffix == "B" else f"{value:.1f} {suffix}"
        value /= 1024
    return f"{value:.1f} TiB"
