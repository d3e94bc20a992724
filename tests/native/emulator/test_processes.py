"""Several processes on one GPU, in real time; what is compared is time on the simulated GPU."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .building import build_program

KERNEL_MS = 5.0  # of the worker's kernel, alone on all SMs
LAUNCHES = 60
ALONE_MS = KERNEL_MS * LAUNCHES
START_MS = 60  # how far apart two processes may start on a busy machine


@pytest.fixture(scope="session")
def program(built: Path) -> Path:
    parts = ("gpu_list.c",)
    return build_program("worker.c", built, parts=parts, driver=built)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(program: Path, environment: Callable[..., dict[str, str]]) -> Iterator[Start]:
    """Start a worker that is ready to queue its kernels when it gets a line."""
    started: list[subprocess.Popen[str]] = []

    def begin(mode: str = "run", first: int = 0, groups: int = 0) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [program, mode, str(first), str(groups), str(LAUNCHES)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        if mode != "cost":
            assert said(worker) == "ready"
        return worker

    yield begin
    for worker in started:
        worker.kill()
        worker.communicate()


def said(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout
    return worker.stdout.readline().strip()


def go(*workers: subprocess.Popen[str]) -> None:
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("\n")
        worker.stdin.flush()


def took_ms(*workers: subprocess.Popen[str]) -> list[float]:
    return [float(said(worker)) for worker in workers]


def test_a_process_alone_has_full_speed(start):
    worker = start()
    go(worker)
    assert took_ms(worker) == pytest.approx([ALONE_MS], rel=0.001)


def test_two_processes_have_half_the_speed_each(start):
    workers = [start(), start()]
    go(*workers)
    for ms in took_ms(*workers):
        assert 2 * ALONE_MS - START_MS <= ms <= 2 * ALONE_MS + 1


def test_disjoint_partitions_of_two_processes_do_not_slow_each_other(start):
    workers = [start(first=0, groups=7), start(first=7, groups=7)]
    go(*workers)
    expected = ALONE_MS * 132 / 56
    assert took_ms(*workers) == pytest.approx([expected] * 2, rel=0.001)


def test_the_same_groups_in_two_processes_are_the_same_sms(start):
    workers = [start(first=3, groups=11), start(first=3, groups=11)]
    go(*workers)
    expected = 2 * ALONE_MS * 132 / 88
    for ms in took_ms(*workers):
        assert expected - START_MS <= ms <= expected + 1


def test_what_a_killed_process_queued_stops_to_disturb_within_a_moment(start):
    victim, survivor = start("hang"), start()
    go(victim)
    assert said(victim) == "queued"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    go(survivor)
    assert took_ms(survivor)[0] < ALONE_MS + 150  # of 600 if the rest had run


def test_a_zombie_counts_as_dead(start):
    victim, survivor = start("hang"), start()
    go(victim)
    assert said(victim) == "queued"
    victim.send_signal(signal.SIGKILL)  # and nobody waits for it yet
    go(survivor)
    assert took_ms(survivor)[0] < ALONE_MS + 150


def test_a_process_killed_with_the_lock_held_does_not_stop_the_others(start):
    victim, survivor = start("lock"), start()
    go(victim)
    victim.wait(timeout=10)
    assert victim.returncode == -signal.SIGKILL
    go(survivor)
    assert took_ms(survivor)[0] < ALONE_MS + 150


def test_a_launch_costs_less_than_two_microseconds(start):
    assert float(said(start("cost"))) < 2000
