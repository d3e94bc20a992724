"""The GPU benchmark's pods on the emulated driver: limits come into force in a process at rest."""

import pytest

from benchmarks.gpu import quota_parts
from benchmarks.gpu.quota_parts import GPU, PhaseError, Pod, share_time, share_turns
from quota_runtime.lease_file import LeaseFile

from .workers import SMS, answer, tell

LIMITS = {
    "half of the time": {"quota": 500},
    "half of the SMs": {"first": 0.5},
    "the other half": {"first": 0.5, "last": True},
    "an eighth of them": {"first": 0.125},
    "the same half again": {"first": 0.5},
    "less memory": {"memory": 1 << 30},
    "nothing limited": {"flags": 0},
    "all but a hundredth": {"quota": 990, "flags": 7},
    "everything": {},
}


class BenchPod(Pod):
    def wait_in_force(self) -> None:
        """For the fixture: limits that were there before the process."""
        self.put()


@pytest.fixture
def leases(tmp_path):
    folder = tmp_path / "leases"
    folder.mkdir()
    LeaseFile(folder, GPU).close()
    return folder


@pytest.fixture
def pods(tmp_path):
    return [BenchPod(tmp_path / name, SMS) for name in ("a", "b")]


def test_every_kind_of_limits_without_a_launch(pods, start):
    start(pods[0])
    launches = pods[0].counters()["launches"]
    for limits in LIMITS.values():
        asked = dict(limits)
        if "first" in asked:
            asked["groups"] = pods[0].groups(asked.pop("first"), asked.pop("last", False))
        pods[0].put(**asked)
    assert pods[0].counters()["launches"] == launches


def test_partitions_at_rest_right_after_graphs(pods, start):
    worker = start(pods[0])
    for share in (0.5, 0.25, 0.5, 1.0):
        tell(worker, "graph", 60)
        answer(worker)
        pods[0].put(groups=pods[0].groups(share))
        pods[0].put(groups=pods[0].groups(share, last=True))


@pytest.mark.parametrize("share", [share_time, share_turns])
def test_shares_of_two_at_rest_and_after_work(pods, start, leases, share):
    workers = [start(pod, KSERVE_HAS_LEASES=str(leases)) for pod in pods]
    for first in (100, 300, 500):
        share(pods, first)
        for worker in workers:
            tell(worker, "eager", 60)
        for worker in workers:
            answer(worker)
        for pod in pods:
            pod.put()


def test_a_pod_whose_process_has_not_called_the_driver_is_told(pods, monkeypatch):
    monkeypatch.setattr(quota_parts, "PATIENCE_S", 0.05)
    with pytest.raises(PhaseError, match="not in force"):
        pods[0].put(quota=500)
