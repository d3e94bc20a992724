"""The same shares and rounds under HAMi-core, which is built and kept outside this repository.

It finds out a process's number on the host by looking which one is new on the GPU, so its
processes start one after another. It knows GPUs by index alone: they work on the first one.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.quota_overhead import overhead as costs
from benchmarks.gpu.quota_parts import PhaseError
from benchmarks.gpu.quota_processes import Processes
from benchmarks.gpu.quota_shares import plain_shares, together

PAIRS = {"hami-30": "hami-70", "hami-50": "hami-51", "hami-10": "hami-90"}
SETTLE_S = 3.0  # its control loop looks several times a second


def shares(
    processes: Processes, seconds: float, first: str, modes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return a row for a pair of limits in each mode; without MPS."""
    [alone] = processes.of("plain-a")
    names = (first, PAIRS[first])
    for name in names:
        if failed := processes.start([name])["failed"]:
            raise PhaseError(str(failed))
    wanted = float(first.split("-")[1]) / 100
    pair = processes.of(*names)
    rows = []
    for mode in modes:
        together(pair, SETTLE_S if not processes.args.check else 0.1, mode)
        rows.append(plain_shares(pair, mode, seconds, [wanted, 1 - wanted], alone))
    processes.end(names)
    return rows


def overhead(processes: Processes, rounds: int) -> list[dict[str, Any]]:
    """Return what it costs at batch 1 where its limit is 100 %, and what MPS costs by itself."""
    if failed := processes.start(["hami"])["failed"]:
        raise PhaseError(str(failed))
    names = {"bare": "unshared", "HAMi-core": "hami", "MPS": "bare"}
    kinds = {kind: processes.of(name) for kind, name in names.items()}
    rows = [costs(kinds, "resnet50", mode, rounds, []) for mode in ("eager", "graph")]
    processes.end(["hami"])
    return rows
