import pytest

from kserve_has.cli.fleet import Replica


@pytest.fixture
def replica():
    def make(pod="resnet50-a", **changes):
        values = {
            "service": "has-demo/resnet50",
            "phase": "ready",
            "node": "gpu-node-0",
            "gpu_uuid": "GPU-1",
            "sm_partition": 66,
            "quota_percent": 50,
            "epoch": 1,
            "in_force_epoch": 1,
            "capacity_rps": 20.0,
            "memory_bytes": 10**9,
            "sm_groups": 0xFF,
        }
        return Replica(pod=pod, **{**values, **changes})

    return make
