import ctypes
from pathlib import Path

import pytest

from kserve_has import contract
from kserve_has.config.agent import AgentSettings
from kserve_has.gpu import GpuGeometry
from quota_runtime import layout, region
from quota_runtime.agent.backend import Backend
from quota_runtime.agent.inventory import NodeGpu
from quota_runtime.agent.keeper import Keeper, Now
from quota_runtime.agent.leases import LeaseFiles

TOY = GpuGeometry("toy", sm_count=36, sm_group_size=8, memory_bytes=1000)
GPU = NodeGpu("GPU-a", TOY, Backend("A", "of a test"))
WALL_S = 1_800_000_000.0


def make_pod(uid, groups=0b0001, quota=50, epoch=1, **changes):
    annotations = {
        contract.GPU_UUID: GPU.uuid,
        contract.SM_GROUPS: f"{groups:#06x}",
        contract.SM_PARTITION: str(GPU.geometry.sm_of(groups)),
        contract.QUOTA: str(quota),
        contract.MEMORY_LIMIT: "100",
        contract.EPOCH: str(epoch),
        **changes,
    }
    metadata = {
        "uid": uid,
        "name": f"pod-{uid}",
        "namespace": "default",
        "labels": {contract.KSERVE_ISVC_LABEL: "resnet"},
        "annotations": annotations,
    }
    leases = {"name": contract.ENV_LEASES, "value": contract.LEASES_DIR}
    spec = {"containers": [{"name": contract.KSERVE_CONTAINER, "env": [leases]}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


class Bench:
    """A node's files, a clock that is moved by hand, and processes that answer when told."""

    def __init__(self, root):
        self.root = root
        self.ns = 10**12
        self.pods = {}
        self.slots = {}
        self.resizes = []
        self.leases = None
        self.restart_agent()

    def restart_agent(self, gpu=GPU):
        files = LeaseFiles(self.leases)
        self.keeper = Keeper(self.root, AgentSettings(), lambda: self.ns, files)
        self.keeper.gpus = {gpu.uuid: gpu}
        self.keeper.on_resize = self.resizes.append

    def folder(self, uid):
        return Path(contract.kubelet_volume_dir(str(self.root), uid))

    def put(self, uid, groups=0b0001, quota=50, epoch=1, *, volume=True, **changes):
        self.pods[uid] = make_pod(uid, groups, quota, epoch, **changes)
        if volume:
            self.folder(uid).mkdir(parents=True, exist_ok=True)

    def now(self):
        return Now(self.ns, WALL_S + self.ns / 1e9)

    def step(self, after_s=0.0):
        self.ns += int(after_s * 1e9)
        return self.keeper.step(self.pods.values(), self.now())

    def limits(self, uid):
        return region.read_limits(self.folder(uid) / contract.LIMITS_FILE)

    def follow(self, uid, epoch, *, pid=1, silent_s=0.0, **counters):
        """Let a process report that it follows an epoch."""
        raw = layout.RawUsageSlot(
            state=region.SLOT_LIVE,
            pid=pid,
            start_time=pid,
            epoch_in_force=epoch,
            in_force_at_ns=self.ns,
            heartbeat_ns=self.ns - int(silent_s * 1e9),
            **counters,
        )
        self.slots.setdefault(uid, {})[pid] = raw
        self._write_usage(uid)

    def end_processes(self, uid):
        self.slots[uid] = {}
        self._write_usage(uid)

    def _write_usage(self, uid):
        header = layout.RawUsageHeader(
            magic=region.USAGE_MAGIC, abi_version=region.ABI_VERSION, slots=region.USAGE_SLOTS
        )
        data = bytes(header) + b"".join(bytes(raw) for raw in self.slots[uid].values())
        size = region.USAGE_SIZE
        assert ctypes.sizeof(header) < size
        (self.folder(uid) / contract.USAGE_FILE).write_bytes(data.ljust(size, b"\0"))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
