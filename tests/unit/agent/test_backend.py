import pytest

from kserve_has import contract
from kserve_has.allocation import Allocation
from kserve_has.gpu import H200
from quota_runtime import region
from quota_runtime.agent.backend import (
    Backend,
    Facts,
    MpsState,
    choose,
    driver_major,
    from_time,
    in_time,
    of_pod,
)
from quota_runtime.agent.inventory import NodeGpu

from .conftest import GPU, TOY

SERVING = MpsState(serving=True)


def facts(driver="580.65.06", capability=(9, 0), mps=SERVING, emulated=False):
    return Facts(driver, capability, mps, emulated)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({}, "A", "driver 580.65.06 has green contexts"),
        ({"driver": "555.42.02"}, "A", "green contexts"),
        ({"driver": "550.90.07"}, "C", "driver 550.90.07 is older than 555"),
        ({"driver": "unknown"}, "C", "driver unknown is older"),
        ({"capability": (6, 1)}, "B", "compute capability 6.1 is below 7.0"),
        ({"capability": (7, 0)}, "A", "green contexts"),
        ({"mps": MpsState(why_not="nobody answers")}, "B", "no MPS: nobody answers"),
        ({"mps": MpsState(True, percentage=50.0)}, "C", "limits its clients to 50 %"),
        ({"mps": MpsState(), "emulated": True, "capability": (0, 0)}, "A", "emulated"),
    ],
)
def test_the_backend_follows_from_driver_gpu_and_daemon_and_says_why(changes, name, words):
    backend = choose(facts(**changes))
    assert name == backend.name
    assert words in backend.reason


def test_a_driver_without_a_number_is_old():
    assert (0, 580) == (driver_major(""), driver_major("580"))


def test_a_pod_that_asks_for_isolation_stays_out_of_mps_on_every_gpu():
    assert ["B"] * 3 == [of_pod(name, True) for name in "ABC"]
    assert list("ABC") == [of_pod(name, False) for name in "ABC"]


def test_area_becomes_time_and_back():
    allocation = Allocation("u", 0x00FF, H200.sm_of(0x00FF), 60, 1)
    assert 291 == in_time(allocation, H200)  # 60 % of 64 of 132 SMs
    assert 60 == from_time(291, 64, H200)


def backend_gpu(name):
    return NodeGpu(GPU.uuid, TOY, Backend(name, "of a test"))


@pytest.mark.parametrize("name", ["B", "C"])
def test_without_live_partitions_pods_get_their_area_as_turns_on_the_whole_gpu(bench, name):
    bench.restart_agent(backend_gpu(name))
    bench.put("a", groups=0b0001, quota=100)
    bench.put("b", groups=0b0110, quota=90)
    bench.step()
    a, b = bench.limits("a"), bench.limits("b")
    assert not (a.flags | b.flags) & region.FLAG_SM
    assert (222, 400) == (a.quota_permille, b.quota_permille)  # 8/36 and 0.9 x 16/36
    spans = sorted((limits.phase_ns, limits.quota_permille) for limits in (a, b))
    assert spans[1][0] >= spans[0][0] + spans[0][1] * 50_000 * 0.98


def test_an_agent_that_restarts_without_partitions_rewrites_nothing(bench):
    bench.restart_agent(backend_gpu("B"))
    bench.put("a", groups=0b0001, quota=37)
    bench.put("b", groups=0b1110, quota=83)
    bench.step()
    before = {uid: (bench.folder(uid) / contract.LIMITS_FILE).read_bytes() for uid in "ab"}
    bench.restart_agent(backend_gpu("B"))
    bench.step(after_s=1.0)
    bench.step(after_s=2.0)
    assert before == {u: (bench.folder(u) / contract.LIMITS_FILE).read_bytes() for u in "ab"}


def test_a_quota_that_time_cannot_tell_exactly_does_not_hold_up_a_neighbour(bench):
    bench.restart_agent(NodeGpu(GPU.uuid, H200, Backend("B", "of a test")))
    bench.put("a", groups=0b0001, quota=1)  # 0.6 permille of the GPU, rounded to 1
    bench.put("b", groups=0b0001, quota=98)
    bench.step()
    assert (1, 59) == (bench.limits("a").quota_permille, bench.limits("b").quota_permille)
    bench.put("b", groups=0b0001, quota=99, epoch=2)
    bench.step(after_s=0.01)
    assert (2, 60) == (bench.limits("b").epoch, bench.limits("b").quota_permille)


def test_an_exclusive_pod_is_limited_in_time_alone_and_says_so(bench):
    bench.put("a", groups=0b1111, quota=30, **{contract.ISOLATION: "exclusive"})
    (owed,) = bench.step()
    assert (300, 0) == (bench.limits("a").quota_permille, bench.limits("a").flags & region.FLAG_SM)
    assert '"backend": "B"' in owed.value
    assert frozenset() == bench.keeper.under_mps()


def test_when_the_daemon_comes_back_partitions_are_enforced_again_under_the_same_epoch(bench):
    bench.restart_agent(backend_gpu("B"))
    bench.put("a", groups=0b0001, quota=50, epoch=3)
    bench.step()
    bench.keeper.gpus = {GPU.uuid: GPU}
    bench.step(after_s=0.1)
    limits = bench.limits("a")
    assert (3, 500) == (limits.epoch, limits.quota_permille)
    assert limits.flags & region.FLAG_SM
    assert frozenset({"a"}) == bench.keeper.under_mps()
