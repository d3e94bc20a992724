"""Make ``data/sequences.json``: launch sequences that cost what a real network cost.

A profile of one inference on the whole GPU says which kernels run, in which order, for how long
and with how many blocks. The latency measured on partitions of 8..132 SMs says how much of that
time still shrinks with more SMs. Neither alone is enough: block counts overstate the parallelism
of memory-bound kernels, and eager mode keeps a host-bound floor. So the kernels keep their order
and their share of the time, and the *effective* parallelism of each is fitted to the curve:

1. consecutive kernels merge into at most ``MERGED`` launches of about equal time;
2. the curve is written as ``L(s) = sum of D_m * m / min(s, m)`` with every ``D_m >= 0``;
3. launches, ordered by their block counts, fill the shares ``D_m`` from narrow to wide.

Run: ``python -m kserve_has.modelserver.calibrate KERNELS.csv LATENCY.csv OUT.json``.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SM_COUNT = 132
MERGED = 26
PARALLELISM = (8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 112, 132)


@dataclass(frozen=True, slots=True)
class Profiled:
    """One or several consecutive kernels: short name, microseconds on the whole GPU, blocks."""

    name: str
    duration_us: float
    blocks: float


def short_name(kernel: str) -> str:
    """Return the bare name of a C++ kernel, usable as one word."""
    bare = re.sub(r"^void ", "", kernel).replace("(anonymous namespace)::", "")
    return re.sub(r"\W+", "_", re.split(r"[<(]", bare)[0].split("::")[-1]).strip("_") or "kernel"


def merge(kernels: Sequence[Profiled], at_most: int = MERGED) -> list[Profiled]:
    """Merge consecutive kernels into at most ``at_most`` of about equal time; the sum is kept."""
    total = sum(k.duration_us for k in kernels)
    groups: dict[int, list[Profiled]] = {}
    elapsed = 0.0
    for kernel in kernels:
        middle = elapsed + kernel.duration_us / 2
        groups.setdefault(min(at_most - 1, int(middle / total * at_most)), []).append(kernel)
        elapsed += kernel.duration_us
    merged = []
    for group in groups.values():
        time_us = sum(k.duration_us for k in group)
        blocks = sum(k.blocks * k.duration_us for k in group) / time_us
        merged.append(Profiled(max(group, key=lambda k: k.duration_us).name, time_us, blocks))
    return merged


def fit_parallelism(curve_ms: Mapping[int, float]) -> dict[int, float]:
    """Return effective parallelism (SMs) -> milliseconds on the whole GPU, all non-negative.

    Least squares of the relative error by coordinate descent; twenty unknowns at most.
    """
    sms = np.array(sorted(curve_ms), dtype=float)
    measured = np.array([curve_ms[int(s)] for s in sms])
    basis = np.array([[m / min(s, m) for m in PARALLELISM] for s in sms]) / measured[:, None]
    time_ms = np.zeros(len(PARALLELISM))
    norms = (basis**2).sum(axis=0)
    for _ in range(20_000):
        for j in range(len(PARALLELISM)):
            residual = 1.0 - basis @ time_ms
            time_ms[j] = max(0.0, time_ms[j] + float(basis[:, j] @ residual) / norms[j])
    kept = {m: float(t) for m, t in zip(PARALLELISM, time_ms, strict=True)}
    return {m: t for m, t in kept.items() if t > 0.002 * sum(kept.values())}


def assign(launches: Sequence[Profiled], shares_ms: Mapping[int, float]) -> list[list[object]]:
    """Return ``[name, work in SM-microseconds, max_sm]`` in order of launch.

    A launch that spans two shares is cut in two, so the shares are met exactly.
    """
    total_us = sum(launch.duration_us for launch in launches)
    scale = 1000.0 * sum(shares_ms.values()) / total_us
    pieces: dict[int, list[list[object]]] = {}
    remaining = [[m, 1000.0 * t] for m, t in sorted(shares_ms.items())]
    for index in sorted(range(len(launches)), key=lambda i: launches[i].blocks):
        left_us = launches[index].duration_us * scale
        while left_us > 1e-6 and remaining:
            m, room_us = remaining[0]
            taken = left_us if len(remaining) == 1 else min(left_us, room_us)
            pieces.setdefault(index, []).append([launches[index].name, round(taken * m, 1), int(m)])
            left_us -= taken
            remaining[0][1] = room_us - taken
            if remaining[0][1] <= 1e-6 and len(remaining) > 1:
                remaining.pop(0)
    return [piece for index in range(len(launches)) for piece in pieces[index]]


def read_kernels(path: Path) -> dict[str, dict[int, list[Profiled]]]:
    """Return model -> batch -> kernels in order from a profile (grid as ``XxYxZ``)."""
    found: dict[str, dict[int, list[Profiled]]] = {}
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            blocks = float(np.prod([int(n) for n in row["grid"].split("x")]))
            kernel = Profiled(short_name(row["kernel"]), float(row["dur_us"]), blocks)
            found.setdefault(row["model"], {}).setdefault(int(row["batch"]), []).append(kernel)
    return found


def read_curves(path: Path) -> dict[str, dict[int, dict[int, float]]]:
    """Return model -> batch -> SMs -> milliseconds (fp32, eager), noise removed by monotony."""
    curves: dict[str, dict[int, dict[int, float]]] = {}
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if (row["dtype"], row["mode"]) == ("fp32", "eager"):
                by_batch = curves.setdefault(row["model"], {})
                by_batch.setdefault(int(row["batch"]), {})[int(row["sm"])] = float(row["p50_ms"])
    for by_batch in curves.values():
        for curve in by_batch.values():
            best = float("inf")
            for sm in sorted(curve):
                best = curve[sm] = min(best, curve[sm])
    return curves


def read_weights(path: Path) -> dict[str, int]:
    """Return model -> bytes of its fp32 weights."""
    with path.open(encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        return {row["model"]: round(float(row["params_m"]) * 4e6) for row in rows}


def sequences(kernels_csv: Path, latency_csv: Path) -> dict[str, dict[str, object]]:
    """Return model -> {"weights_bytes", "batches": batch -> {"launches", "measured_ms"}}."""
    curves, weights = read_curves(latency_csv), read_weights(latency_csv)
    found: dict[str, dict[str, object]] = {}
    for model, profiles in read_kernels(kernels_csv).items():
        batches: dict[str, object] = {}
        for batch, curve in sorted(curves[model].items()):
            profile = profiles[min(profiles, key=lambda b: abs(b - batch))]
            launches = assign(merge(profile), fit_parallelism(curve))
            batches[str(batch)] = {"launches": launches, "measured_ms": curve}
        found[model] = {"weights_bytes": weights[model], "batches": batches}
    return found


def main() -> None:
    """Write the sequences of the two CSV files named on the command line."""
    kernels_csv, latency_csv, out = (Path(argument) for argument in sys.argv[1:4])
    lines = []
    for model, entry in sequences(kernels_csv, latency_csv).items():
        batches = entry["batches"]
        assert isinstance(batches, dict)
        body = ",\n".join(f'  "{b}": {json.dumps(batches[b])}' for b in batches)
        head = f' "{model}": {{"weights_bytes": {entry["weights_bytes"]}, "batches": {{\n'
        lines.append(f"{head}{body}\n }}}}")
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
