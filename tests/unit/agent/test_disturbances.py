"""Kills, torn and foreign files, reboots: what an agent finds that starts after them."""

import os
import signal
import subprocess
import sys

import pytest

from kserve_has import contract
from quota_runtime import layout, region
from quota_runtime.accounting import live

from .test_figures import slot

WRITE_FOREVER = """
import sys
from pathlib import Path
from quota_runtime.region import Limits, LimitsWriter
writer, epoch = LimitsWriter(Path(sys.argv[1])), 1
while True:
    epoch += 1
    groups = 0b0011 if epoch % 2 else 0b1100
    writer.write(Limits(epoch, "GPU-a", groups, 8, 500, 100))
    if epoch == 100:
        print("writing", flush=True)
"""


def test_an_agent_killed_while_it_writes_leaves_a_block_that_the_next_one_makes_whole(bench):
    bench.put("a", groups=0b0011, epoch=10**9)
    path = bench.folder("a") / contract.LIMITS_FILE
    for _ in range(5):
        command = [sys.executable, "-c", WRITE_FOREVER, str(path)]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert b"writing\n" == agent.stdout.readline()
        os.kill(agent.pid, signal.SIGKILL)
        agent.wait()
        agent.stdout.close()
        left = region.read_limits(path)
        assert left is None or left.sm_groups == (0b0011 if left.epoch % 2 else 0b1100)
        bench.restart_agent()
        bench.step()
        assert (10**9, 0b0011) == (bench.limits("a").epoch, bench.limits("a").sm_groups)
        path.unlink()


def tear(bench, uid):
    """Leave a block as it is in the middle of a write."""
    path = bench.folder(uid) / contract.LIMITS_FILE
    data = bytearray(path.read_bytes())
    at = layout.RawLimits.seq.offset
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") | 1).to_bytes(4, "little")
    path.write_bytes(data)


def test_what_a_torn_block_granted_is_not_handed_on_while_processes_run_on_it(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.follow("a", 1, sm_groups=(0b0011, 0), quota_permille=1000)
    tear(bench, "a")
    bench.restart_agent()
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.step()
    assert 0b0100 == bench.limits("b").sm_groups
    bench.follow("a", 2, sm_groups=(0b0001, 0), quota_permille=1000)
    bench.step(after_s=0.01)
    assert 0b0110 == bench.limits("b").sm_groups


def test_an_agent_killed_between_shrink_and_acknowledgement_waits_for_the_old_piece(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.follow("a", 1, sm_groups=(0b0011, 0), quota_permille=1000)
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.step(after_s=0.01)
    assert 0b0001 == bench.limits("a").sm_groups
    bench.restart_agent()
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.step()
    assert 0b0100 == bench.limits("b").sm_groups
    bench.follow("a", 2, sm_groups=(0b0001, 0), quota_permille=1000)
    bench.step(after_s=0.01)
    assert 0b0110 == bench.limits("b").sm_groups


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        bytes(region.LIMITS_SIZE),
        b"\xff" * region.LIMITS_SIZE,
        os.urandom(region.LIMITS_SIZE),
    ],
    ids=["empty", "short", "zeros", "ones", "noise"],
)
def test_a_foreign_block_is_taken_over(bench, content):
    bench.put("a", epoch=4)
    (bench.folder("a") / contract.LIMITS_FILE).write_bytes(content)
    bench.restart_agent()
    (owed,) = bench.step()
    assert (4, 4) == (owed.epoch, bench.limits("a").epoch)
    assert "" == bench.keeper.replicas["a"].complaint


def test_a_block_of_another_abi_version_is_replaced_and_its_readers_see_the_change(bench):
    bench.put("a", epoch=4)
    bench.step()
    path = bench.folder("a") / contract.LIMITS_FILE
    data = bytearray(path.read_bytes())
    data[layout.RawLimits.abi_version.offset] = 99
    path.write_bytes(data)
    inode = path.stat().st_ino
    bench.restart_agent()
    bench.step()
    assert (4, inode) == (bench.limits("a").epoch, path.stat().st_ino)


def test_a_block_of_a_gpu_that_is_gone_holds_nothing(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.step()
    old = bench.limits("a")
    fields = {name: getattr(old, name) for name in region.Limits.__slots__}
    writer = region.LimitsWriter(bench.folder("a") / contract.LIMITS_FILE)
    writer.write(region.Limits(**{**fields, "sm_groups": 1 << 100, "max_sm_groups": 0}))
    writer.close()
    bench.restart_agent()
    bench.put("b", groups=0b1100, quota=100)
    bench.step()
    assert 0b1100 == bench.limits("b").sm_groups


def test_processes_from_before_a_reboot_are_not_waited_for(bench):
    bench.put("a")
    bench.step()
    bench.follow("a", 1)
    bench.ns = 60 * 10**9  # the node was started anew; its volumes lie on a disk here
    bench.restart_agent()
    bench.put("a", epoch=2)
    (owed,) = bench.step()
    assert 2 == owed.epoch
    assert not bench.keeper.replicas["a"].pending


def test_only_looks_close_to_now_are_signs_of_life():
    slots = [slot(pid, heartbeat_ns=at) for pid, at in enumerate((50, 89, 90, 110, 111, 200))]
    assert [2, 3] == [s.pid for s in live(slots, 100, 10)]


@pytest.mark.parametrize("size", [14_400, region.USAGE_SIZE], ids=["of release 2", "of today"])
def test_figures_of_another_abi_version_are_refused_whatever_their_size(bench, size):
    """A file of release 2 is shorter: it must not pass for one that nobody has written yet."""
    bench.put("a")
    header = layout.RawUsageHeader(magic=region.USAGE_MAGIC, abi_version=2, slots=64)
    (bench.folder("a") / contract.USAGE_FILE).write_bytes(bytes(header).ljust(size, b"\1"))
    bench.step()
    assert "expected" in bench.keeper.replicas["a"].complaint
    assert "version 2" in bench.keeper.replicas["a"].complaint
    bench.keeper.replicas["a"].folder.joinpath(contract.USAGE_FILE).write_bytes(bytes(size))
    assert region.read_usage(bench.folder("a") / contract.USAGE_FILE).slots == ()
