"""What is exposed of usage and limits, and how counters survive the end of processes."""

from prometheus_client import CollectorRegistry

from kserve_has.demo.collect import TO_IN_FORCE
from quota_runtime.accounting import Account, in_force_since, live
from quota_runtime.agent.backend import MpsState
from quota_runtime.agent.metrics import AgentMetrics
from quota_runtime.region import Usage, UsageSlot

from .mps_bench import MpsBench

LABELS = {"namespace": "default", "pod": "pod-a", "service": "resnet", "gpu_uuid": "GPU-a"}


def slot(pid=1, **values):
    zeros = dict.fromkeys(UsageSlot.__slots__, 0)
    return UsageSlot(**{**zeros, "pid": pid, "start_time": pid, **values})


def test_counters_add_up_over_processes_and_do_not_fall_when_one_ends():
    account = Account()
    account.take(Usage(70, (slot(1, launches=5), slot(2, launches=7))))
    account.take(Usage(30, (slot(2, launches=9),)))
    account.take(Usage(30, (slot(2, launches=9), slot(3, launches=1))))
    assert (15, 30, 2) == (account.totals["launches"], account.memory_bytes, account.processes)


def test_the_peak_and_the_last_resize_are_remembered():
    account = Account()
    account.take(Usage(0, (slot(1, memory_peak_bytes=9, resize_last_ns=4),)))
    account.take(Usage(0, (slot(2, memory_peak_bytes=3),)))
    assert (9, 4) == (account.memory_peak_bytes, account.resize_last_ns)


def test_a_process_that_does_not_look_at_its_limits_is_not_alive():
    assert [1] == [s.pid for s in live([slot(1, heartbeat_ns=90), slot(2)], 100, 10)]


def test_an_epoch_is_in_force_when_the_last_process_follows_it():
    early, late = slot(1, epoch_in_force=2, in_force_at_ns=50), slot(2, epoch_in_force=1)
    assert in_force_since([early, late], 2, 10) is None
    late = slot(2, epoch_in_force=2, in_force_at_ns=80)
    assert 80 == in_force_since([early, late], 2, 10)
    assert 10 == in_force_since([], 2, 10)
    assert 10 == in_force_since([slot(1, epoch_in_force=3, in_force_at_ns=99)], 2, 10)


def figures(bench):
    registry = CollectorRegistry()
    AgentMetrics(bench.keeper, registry)
    return lambda name, **more: registry.get_sample_value(f"kserve_has_{name}", {**LABELS, **more})


def test_a_replica_is_exposed_with_what_it_was_granted_and_what_it_used(bench):
    value = figures(bench)
    bench.put("a", groups=0b1001, quota=50, epoch=4)
    bench.step()
    bench.follow("a", 4, launches=3, area_sm_ns=2_000_000_000, throttled_ns=500_000_000)
    bench.step(after_s=2.0)
    assert (20, 0.5, 100, 4) == tuple(
        value(name) for name in ("sm_partition", "quota_ratio", "memory_limit_bytes", "epoch")
    )
    assert (3, 2.0, 0.5) == tuple(
        value(name)
        for name in ("launches_total", "used_sm_seconds_total", "throttled_seconds_total")
    )
    assert 20.0 == value("granted_sm_seconds_total")


def test_resizes_are_observed_and_refusals_named(bench):
    value = figures(bench)
    bench.put("a", quota=50)
    bench.step()
    bench.follow("a", 1)
    bench.put("a", quota=60, epoch=2)
    bench.step()
    assert 1 == value("pending")
    bench.follow("a", 2)
    bench.step(after_s=0.01)
    assert 0 == value("pending")
    bench.put("a", quota=60, epoch=1)
    bench.step()
    assert 1 == value("refused", reason="epoch 1 after 2: it must grow")


def test_the_demo_reads_the_histogram_that_the_agent_exports(bench):
    registry = CollectorRegistry()
    AgentMetrics(bench.keeper, registry)
    assert registry.get_sample_value(f"{TO_IN_FORCE}_count") is not None


def test_gpus_and_the_daemon_are_exposed(bench, tmp_path):
    registry = CollectorRegistry()
    mps = MpsBench(tmp_path)
    AgentMetrics(bench.keeper, registry, mps.guard)

    def value(name, **labels):
        return registry.get_sample_value(f"kserve_has_{name}", labels)

    assert 1 == value("gpu_healthy", gpu_uuid="GPU-a", product="toy", backend="A")
    assert (0, 0, 0) == (value("mps_up"), value("mps_faults_total"), value("mps_starts_total"))
    mps.daemon.state, mps.guard.faults = MpsState(serving=True), 2
    mps.guard.victims["ended"] += 3
    mps.guard.terminated["done"] += 4
    assert (1, 2, 3, 4) == (
        value("mps_up"),
        value("mps_faults_total"),
        value("mps_victims_total", outcome="ended"),
        value("mps_terminations_total", outcome="done"),
    )


def test_the_resize_histogram_counts_every_resize(bench):
    registry = CollectorRegistry()
    AgentMetrics(bench.keeper, registry)
    bench.keeper.on_resize(0.003)
    assert 1 == registry.get_sample_value("kserve_has_agent_resize_seconds_count")
    name = "kserve_has_agent_resize_seconds_bucket"
    assert 1 == registry.get_sample_value(name, {"le": "0.005"})
    assert 0 == registry.get_sample_value(name, {"le": "0.002"})
