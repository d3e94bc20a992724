"""Two pods on one emulated GPU: who gets how much of it, by the GPU's own books.

The oracle is the SM time that the emulated GPU gave to each process, which the library neither
reads nor writes.
"""

import os
import time

import pytest

from quota_runtime.region import FLAG_MEMORY, FLAG_QUIESCE, FLAG_SM, FLAG_TIME

from .pod import ALL_GROUPS, HALF, Pod
from .workers import SMS, shares

MS = 2500
WINDOW_NS = 50_000_000
AT_ONCE_NS = 1  # the turn that begins with the window; 0 means no turn


def is_calm() -> bool:
    """Whether the machine has a processor for each that wants one."""
    return os.getloadavg()[0] <= (os.cpu_count() or 1)


def fits(got: list[float], wanted: list[float], points: float) -> bool:
    """Whether shares are as granted; a busy machine takes from them, and never gives more."""
    least = 1 if is_calm() else 0.6
    rows = zip(got, wanted, strict=True)
    return all(least * w - points / 100 < g < w + points / 100 for g, w in rows)


@pytest.mark.parametrize(
    ("mode", "first"), [("eager", 100), ("eager", 300), ("eager", 500), ("graph", 300)]
)
def test_two_pods_get_the_shares_they_were_granted(mode, first, tmp_path, start):
    pods = [Pod(tmp_path / name) for name in ("a", "b")]
    granted = [first, 1000 - first]
    pods[0].set(quota=first, phase=AT_ONCE_NS)
    pods[1].set(quota=granted[1], phase=WINDOW_NS * first // 1000)
    workers = [start(pod) for pod in pods]
    wanted = [permille / 1000 for permille in granted]
    for _ in range(3):  # a machine that starts the two late, or holds one up, costs shares
        got = shares(workers, mode, MS)
        if got == pytest.approx(wanted, abs=0.03):
            break
    assert fits(got, wanted, 3), (granted, got)
    assert all(pod.slot().ungated_launches == 0 for pod in pods)


def test_a_pod_alone_gets_its_quota_to_the_point_and_its_books_agree(pod, start):
    pod.set(quota=250)
    worker = start(pod)
    before = pod.slot().gpu_time_ns
    [share] = shares([worker], "eager", MS)
    assert fits([share], [0.25], 1.5), share
    metered = (pod.slot().gpu_time_ns - before) / (MS * 1e6)
    assert share * 0.97 < metered < 0.26  # gaps between kernels are metered, never less than all


def test_disjoint_partitions_do_not_take_from_each_other(tmp_path, start):
    pods = [Pod(tmp_path / name) for name in ("a", "b")]
    pods[0].set(groups=HALF)
    pods[1].set(groups=ALL_GROUPS & ~HALF, quota=500)
    workers = [start(pod) for pod in pods]
    got = shares(workers, "eager", 1500)
    assert fits(got, [64 / SMS, 68 / SMS / 2], 4), got


def test_a_quota_changes_within_a_window_or_two(pod, start):
    pod.set(quota=1000)
    worker = start(pod)
    assert shares([worker], "eager", 300)[0] > 0.5
    pod.set(quota=100)
    assert fits(shares([worker], "eager", 1000), [0.1], 2)
    pod.set(quota=900)
    assert fits(shares([worker], "eager", 1000), [0.9], 6)


def test_without_an_agent_the_last_limits_stay(pod, start):
    pod.set(quota=200)
    worker = start(pod)
    (pod.folder / "limits").unlink()
    pod.writer.close()
    assert fits(shares([worker], "eager", 1500), [0.2], 2)


def test_a_pod_that_is_about_to_end_launches_nothing_more_but_is_not_held_for_ever(pod, start):
    pod.set()
    worker = start(pod)
    pod.set(flags=FLAG_TIME | FLAG_SM | FLAG_MEMORY | FLAG_QUIESCE)
    before = time.monotonic()
    [share] = shares([worker], "eager", 300)
    assert share < 0.02
    assert 1.9 < time.monotonic() - before < 8
    assert 1 <= pod.slot().ungated_launches < 5
    pod.set()
    assert shares([worker], "eager", 300)[0] > 0.5
