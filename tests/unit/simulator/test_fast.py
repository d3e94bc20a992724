from autoscaler.policy.plan import Place, SetScale
from autoscaler.simulator.baselines.fast import Fast, FastSettings, efficient_piece
from autoscaler.simulator.scenario import Second

from ..policy.worlds import SETTINGS, TABLE, gpus, piece, replica, service, world


def second(at_s, rps):
    return Second(at_s, rps, 0.0, at_s + 0.5, 0, 0, 0, 0, None)


def chosen(**fields):
    return efficient_piece(service(**fields), world([]), SETTINGS, TABLE, 0.6)


def test_the_piece_serves_most_for_its_share_among_those_that_answer_in_time():
    found = chosen()
    alone = TABLE.predict("resnet50", "NVIDIA H200", 1, found.sm, found.quota)
    assert alone.upper_ms <= 0.6 * 20.0
    assert 1000.0 / alone.mean_ms == found.rps  # profiled throughput, no queue in it
    wider = TABLE.predict("resnet50", "NVIDIA H200", 1, 64, 100)
    assert found.rps / found.area > 1000.0 / wider.mean_ms / (64 * 100)


def scaler(**fields):
    return Fast(FastSettings(load=0.5, **fields), SETTINGS, TABLE)


def wish(fast, now_s, seconds, replicas=1):
    held = [replica(f"r{i}", piece(1 << i, 100)) for i in range(replicas)]
    plan = fast.decide(world([service(replicas=held)], now_s=now_s), {"ns/a": seconds})
    return [a.replicas for a in plan.actions if isinstance(a, SetScale)]


def test_replicas_follow_the_mean_rate_of_the_last_ten_seconds():
    rps = chosen().rps
    seconds = [second(t, 500.0) for t in range(80, 90)]  # too old
    seconds += [second(t, 1.2 * rps) for t in range(91, 100)]
    assert wish(scaler(), 100.0, seconds) == [3]  # 1.2 / 0.5, rounded up


def test_seconds_that_cannot_be_seen_yet_do_not_count():
    rps = chosen().rps
    seconds = [second(t, 0.1 * rps) for t in range(91, 100)] + [second(99.9, 90 * rps)]
    assert wish(scaler(), 100.0, seconds) == []


def test_the_largest_wish_of_a_minute_holds():
    fast, rps = scaler(), chosen().rps
    assert wish(fast, 100.0, [second(99.0, 1.2 * rps)]) == [3]
    quiet = [second(t, 1.0) for t in range(101, 200)]
    assert wish(fast, 150.0, quiet, replicas=3) == []
    assert wish(fast, 161.0, quiet, replicas=3) == [1]


def test_sizes_never_change_and_new_pods_get_the_same_piece():
    fast = scaler()
    held = [replica("r0", piece(0b1, 100)), replica("new")]
    actions = fast.decide(world([service(replicas=held)], gpus(1)), {"ns/a": []}).actions
    (placed,) = [a for a in actions if isinstance(a, Place)]
    found = chosen()
    assert (found.sm, found.quota) == (
        placed.allocation.sm_partition,
        placed.allocation.quota_percent,
    )
