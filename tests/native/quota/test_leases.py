"""Pods that share SMs take them one after the other, by the emulated GPU's own books."""

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest

from quota_runtime.lease_file import LEASES_SIZE, LeaseFile, RawLeases
from quota_runtime.region import FLAG_BURST, FLAG_MEMORY, FLAG_SM, FLAG_TIME

from .pod import ALL_GROUPS, GPU, HALF, Pod
from .test_shares import fits, is_calm
from .workers import SMS, Worker, answer, shared_ms, shares, tell

MS = 2000
A, B, C = 1, 2, 3
BURST = FLAG_TIME | FLAG_SM | FLAG_MEMORY | FLAG_BURST


@pytest.fixture
def begin(start, leases):
    """Start a worker of a pod whose lease files are in the folder."""
    return lambda pod, folder=leases: start(pod, KSERVE_HAS_LEASES=str(folder))


@pytest.fixture
def pods(tmp_path) -> list[Pod]:
    return [Pod(tmp_path / name) for name in ("a", "b", "c")]


def once_ms(worker: Worker) -> float:
    """Milliseconds that one launch took to return."""
    tell(worker, "once")
    return answer(worker)[0] / 1e6


@pytest.mark.parametrize(("mode", "first"), [("eager", 100), ("eager", 300), ("graph", 500)])
def test_pods_on_the_same_sms_never_run_at_once_and_get_their_shares(mode, first, pods, begin):
    wanted = [first / 1000, 1 - first / 1000]
    pods[0].set(quota=first, slot=A, conflicts=1 << B)
    pods[1].set(quota=1000 - first, slot=B, conflicts=1 << A)
    workers = [begin(pod) for pod in pods[:2]]
    # A machine that starts the two late costs shares; one that holds a process up for two windows
    # has it taken for dead.
    for _ in range(3):
        before = shared_ms(workers[0])
        got = shares(workers, mode, MS)
        together = shared_ms(workers[0]) - before
        if got == pytest.approx(wanted, abs=0.02) and not together:
            break
    assert fits(got, wanted, 3), got
    assert together < (1 if is_calm() else 50)
    assert all(pod.slot().ungated_launches == 0 for pod in pods[:2])


def test_without_leases_the_same_pods_do_run_at_once(pods, begin, tmp_path):
    """The control: what the test above says is seen by these books when it is not so."""
    for pod, slot, other in ((pods[0], A, B), (pods[1], B, A)):
        pod.set(quota=500, slot=slot, conflicts=1 << other)
    workers = [begin(pod, folder=tmp_path / "nowhere") for pod in pods[:2]]
    shares(workers, "eager", MS)
    assert all(shared_ms(worker) > 200 for worker in workers)


def test_pods_on_disjoint_sms_never_wait_for_each_other(pods, begin):
    """Each shares SMs with a third pod, which is idle."""
    pods[0].set(quota=1000, groups=HALF, slot=A, conflicts=1 << C)
    pods[1].set(quota=1000, groups=ALL_GROUPS & ~HALF, slot=B, conflicts=1 << C)
    pods[2].set(quota=10, slot=C, conflicts=1 << A | 1 << B)
    workers = [begin(pod) for pod in pods]
    got = shares(workers[:2], "eager", 1000)
    assert fits(got, [64 / SMS, 68 / SMS], 3), got
    assert all(pod.slot().leases and not pod.slot().lease_wait_ns for pod in pods[:2])


def test_in_a_chain_of_overlapping_partitions_only_neighbours_take_turns(pods, begin):
    """The middle one shares a group with each end, and the ends share none."""
    pods[0].set(quota=500, groups=0x003F, slot=A, conflicts=1 << B)
    pods[1].set(quota=500, groups=0x07E0, slot=B, conflicts=1 << A | 1 << C)
    pods[2].set(quota=500, groups=0xFC00, slot=C, conflicts=1 << B)
    workers = [begin(pod) for pod in pods]
    before = [shared_ms(worker) for worker in workers]
    first, middle, last = shares(workers, "eager", MS)
    together = [shared_ms(w) - ms for w, ms in zip(workers, before, strict=True)]
    assert max(together) < (1 if is_calm() else 50)
    # More than the turns of three that all exclude each other could give.
    assert fits([first, last], [0.5 * 48 / SMS, 0.5 * 52 / SMS], 3)
    assert middle > 0.25 * 48 / SMS  # it needs both ends to be off at once


def test_one_over_two_that_alternate_keeps_its_share(pods, begin):
    """All time is promised, and it needs both of the others off at once."""
    pods[0].set(quota=250, slot=A, conflicts=1 << B | 1 << C)
    pods[1].set(quota=750, groups=HALF, slot=B, conflicts=1 << A)
    pods[2].set(quota=750, groups=ALL_GROUPS & ~HALF, slot=C, conflicts=1 << A)
    workers = [begin(pod) for pod in pods]
    wide, *sides = shares(workers, "eager", MS)
    whole = [side * SMS / sms for side, sms in zip(sides, (64, 68), strict=True)]
    assert wide > (0.21 if is_calm() else 0.14)
    assert min(whole) > (0.64 if is_calm() else 0.4)


def test_idle_time_goes_to_a_pod_that_may_borrow_and_back_when_it_is_wanted(pods, begin):
    pods[0].set(quota=300, slot=A, conflicts=1 << B, flags=BURST)
    pods[1].set(quota=700, slot=B, conflicts=1 << A)
    borrower, owner = (begin(pod) for pod in pods[:2])
    [share] = shares([borrower], "eager", 1000)
    assert share > (0.65 if is_calm() else 0.4)
    borrowed, metered = pods[0].slot().borrowed_ns, pods[0].slot().gpu_time_ns
    assert borrowed > metered / 4
    tell(borrower, "eager", 1000)
    time.sleep(0.1)
    waits = sorted(once_ms(owner) for _ in range(15))
    assert waits[3] < (12 if is_calm() else 60)  # a turn paid from the budget may last 8 ms
    answer(borrower)
    assert fits(shares([borrower, owner], "eager", MS), [0.3, 0.7], 5)


def test_without_the_permission_a_quota_stays_a_limit(pods, begin):
    pods[0].set(quota=300, slot=A, conflicts=1 << B)
    pods[1].set(quota=700, slot=B, conflicts=1 << A)
    lonely, _ = (begin(pod) for pod in pods[:2])
    assert fits(shares([lonely], "eager", 1000), [0.3], 2)
    assert pods[0].slot().borrowed_ns == 0


def running(leases) -> int:
    return int(RawLeases.from_buffer_copy((leases / GPU).read_bytes()).running)


@contextlib.contextmanager
def holding(worker: Worker) -> Iterator[None]:
    """While the worker has the GPU."""
    tell(worker, "eager", 3000)
    time.sleep(0.2)
    yield


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_holder_that_is_killed_or_stopped_is_stepped_over(number, pods, begin, leases):
    pods[0].set(quota=500, slot=A, conflicts=1 << B)
    pods[1].set(quota=500, slot=B, conflicts=1 << A, flags=BURST)
    waiter, holder = (begin(pod) for pod in pods[:2])
    with holding(holder):
        holder.send_signal(number)
        assert once_ms(waiter) < 1000
        # What it lost while it waited it may catch up on, a window's worth at most.
        assert fits(shares([waiter], "eager", 600), [0.5], 4 + 5000 / 600)
        assert pods[0].slot().ungated_launches == 0
    if number == signal.SIGKILL:
        assert not running(leases) & 1 << B
        holder.communicate(timeout=20)
    else:
        holder.send_signal(signal.SIGCONT)
        answer(holder)
        before = shared_ms(waiter)
        assert fits(shares([waiter, holder], "eager", 1000), [0.5, 0.5], 5)
        assert shared_ms(waiter) - before < (1 if is_calm() else 50)


def short(path):
    path.write_bytes(b"?" * 64)


def wrong(**fields):
    def write(path):
        raw = RawLeases.from_buffer_copy(path.read_bytes())
        for name, value in fields.items():
            setattr(raw, name, value)
        path.write_bytes(bytes(raw))

    return write


@pytest.mark.parametrize(
    "spoil",
    [short, wrong(magic=1), wrong(abi_version=1), wrong(size=64), wrong(gpu_uuid=b"GPU-other")],
    ids=["too short", "another magic", "another version", "another size", "another GPU"],
)
def test_a_lease_file_that_makes_no_sense_is_told_of_once_and_turns_stand_in(
    spoil, pods, begin, leases
):
    spoil(leases / GPU)
    pods[0].set(quota=200, slot=A, conflicts=1 << B)
    worker = begin(pods[0])
    assert fits(shares([worker], "eager", 400), [0.2], 6)
    assert pods[0].slot().lease_faults == 1
    assert pods[0].slot().leases == 0
    said = worker.communicate(timeout=20)[1]
    assert said.count("\n") == 1
    assert "take turns without leases" in said


def test_a_lease_file_that_comes_late_or_anew_is_found(pods, begin, leases):
    pods[0].set(quota=900, slot=A, conflicts=1 << B)
    (leases / GPU).unlink()
    worker = begin(pods[0])
    once_ms(worker)
    assert pods[0].slot().leases == 0
    for _ in range(2):
        LeaseFile(leases, GPU).close()
        had, end = pods[0].slot().leases, time.monotonic() + 5
        while pods[0].slot().leases == had and time.monotonic() < end:
            time.sleep(0.05)
            once_ms(worker)
        assert pods[0].slot().leases > had
        assert running(leases) in (0, 1 << A)
        (leases / GPU).unlink()
    assert pods[0].slot().lease_faults == 0


def test_an_agent_that_starts_again_changes_nothing_and_forgets_who_is_gone(pods, begin, leases):
    pods[0].set(quota=900, slot=A, conflicts=1 << B)
    worker = begin(pods[0])
    tell(worker, "eager", 600)
    time.sleep(0.1)
    before = (leases / GPU).stat()
    again = LeaseFile(leases, GPU)
    assert (leases / GPU).stat().st_ino == before.st_ino
    answer(worker)
    with (leases / GPU).open("r+b") as file:
        raw = RawLeases.from_buffer_copy(file.read(LEASES_SIZE))
        raw.running = 1 << B
        raw.slots[B].renewed_at_ns = time.monotonic_ns() + 10**12  # as if it were alive
        file.seek(0)
        file.write(bytes(raw))
    again.forget([B])
    assert once_ms(worker) < (60 if is_calm() else 500)
    assert not running(leases) & 1 << B
