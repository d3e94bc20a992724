"""What the programs load when they start."""

import subprocess
import sys

import pytest

PROGRAMS = (
    "kserve_has.cli.__main__",
    "autoscaler.__main__",
    "autoscaler.gateway.__main__",
    "webhook.__main__",
    "quota_runtime.agent.__main__",
    "quota_runtime.agent.mps.__main__",
    "quota_runtime.sidecar.__main__",
    "kserve_has.modelserver.__main__",
)
HEAVY = {"torch", "torchvision", "sklearn", "transformers"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_needs_torch_to_start(program):
    script = f"import sys, {program}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert set() == HEAVY & {name.partition(".")[0] for name in done.stdout.split()}
