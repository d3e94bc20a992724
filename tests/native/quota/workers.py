"""Worker processes of pods on the emulated GPU, and what the GPU's own books say of them."""

import subprocess
from collections.abc import Callable

SMS = 132

Worker = subprocess.Popen[str]
Start = Callable[..., Worker]


def shares(workers: list[Worker], mode: str, ms: int) -> list[float]:
    """Share of the whole GPU that each got while all of them wanted it."""
    for worker in workers:
        assert worker.stdin
        worker.stdin.write(f"{mode} {ms}\n")
        worker.stdin.flush()
    assert all(worker.stdout for worker in workers)
    return [float(w.stdout.readline()) / (ms * 1e6 * SMS) for w in workers if w.stdout]
