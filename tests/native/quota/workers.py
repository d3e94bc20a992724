"""Worker processes of pods on the emulated GPU, and what the GPU's own books say of them."""

import subprocess
from collections.abc import Callable

SMS = 132

Worker = subprocess.Popen[str]
Start = Callable[..., Worker]


def tell(worker: Worker, command: str, number: int = 0) -> None:
    """Send a command without waiting for its answer."""
    assert worker.stdin
    worker.stdin.write(f"{command} {number}\n")
    worker.stdin.flush()


def answer(worker: Worker) -> list[float]:
    """Return the numbers that a worker answers to the oldest command."""
    assert worker.stdout
    return [float(word) for word in worker.stdout.readline().split()]


def shares(workers: list[Worker], mode: str, ms: int) -> list[float]:
    """Share of the whole GPU that each got while all of them wanted it."""
    for worker in workers:
        tell(worker, mode, ms)
    return [answer(worker)[0] / (ms * 1e6 * SMS) for worker in workers]


def shared_ms(worker: Worker) -> float:
    """Milliseconds for which its kernels have run on SMs beside those of other processes."""
    tell(worker, "shared")
    return answer(worker)[0] / 1e6
