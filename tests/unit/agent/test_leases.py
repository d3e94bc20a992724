"""Lease slots and conflicts of pods, and the files they lie in."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_has import contract
from quota_runtime.agent.backend import Backend
from quota_runtime.agent.inventory import NodeGpu
from quota_runtime.agent.leases import MOST_PODS, NO_LEASE, Claim, LeaseFiles, leases
from quota_runtime.lease_file import LEASES_SIZE, LeaseFile, RawLeases
from quota_runtime.region import FLAG_BURST

from .conftest import GPU, TOY

CLAIMS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.builds(Claim, st.integers(0, 0xFFFF), st.integers(0, 70)),
    max_size=20,
)


@given(CLAIMS)
def test_pods_conflict_exactly_where_they_share_groups(claims):
    found = leases(claims)
    slots = [lease.slot for lease in found.values()]
    assert len(set(slots)) == len(claims)
    assert all(1 <= slot <= MOST_PODS for slot in slots)
    for one, mine in claims.items():
        expected = {
            found[other].slot
            for other, theirs in claims.items()
            if other != one and mine.groups & theirs.groups
        }
        assert found[one].conflicts == sum(1 << slot for slot in expected)


@given(CLAIMS, st.builds(Claim, st.integers(0, 0xFFFF)))
def test_a_newcomer_takes_no_slot_from_anybody(claims, newcomer):
    before = leases(claims)
    kept = {uid: Claim(claim.groups, before[uid].slot) for uid, claim in claims.items()}
    after = leases({**kept, "newcomer": newcomer})
    assert {uid: after[uid].slot for uid in claims} == {uid: x.slot for uid, x in before.items()}


def test_with_more_pods_than_slots_all_take_turns():
    claims = {f"pod-{i}": Claim(1, i) for i in range(MOST_PODS + 1)}
    assert set(leases(claims).values()) == {NO_LEASE}
    assert len({lease.slot for lease in leases(dict(list(claims.items())[1:])).values()}) == 63


@pytest.fixture
def shared(bench, tmp_path):
    """The bench with a folder of lease files."""
    bench.leases = tmp_path / "leases"
    bench.restart_agent()
    return bench


def test_pods_that_share_groups_learn_of_each_other_and_of_nobody_else(shared):
    shared.put("a", groups=0b0011, quota=40)
    shared.put("b", groups=0b0001, quota=60)
    shared.put("c", groups=0b0100, quota=60)
    shared.step()
    a, b, c = (shared.limits(uid) for uid in "abc")
    assert len({a.lease_slot, b.lease_slot, c.lease_slot, 0}) == 4
    assert (a.lease_conflicts, b.lease_conflicts) == (1 << b.lease_slot, 1 << a.lease_slot)
    assert c.lease_conflicts == 0
    assert a.lease_slice_ns == 8_000_000
    assert (shared.leases / GPU.uuid).stat().st_size == LEASES_SIZE


def test_what_a_pod_is_still_running_on_counts_until_it_has_let_go(shared):
    shared.put("a", groups=0b0011, quota=100)
    shared.step()
    shared.follow("a", 1)
    shared.step()
    shared.put("a", groups=0b0001, quota=100, epoch=2)
    shared.put("b", groups=0b0010, quota=100)
    shared.step()
    assert shared.limits("b") is None
    shared.step(after_s=1.1)  # a is silent for too long: its groups go on
    a, b = shared.limits("a"), shared.limits("b")
    assert a.lease_conflicts == 1 << b.lease_slot
    shared.follow("a", 2)
    shared.step()
    assert shared.limits("a").lease_conflicts == shared.limits("b").lease_conflicts == 0
    assert shared.limits("b").epoch == 1


def test_an_agent_that_starts_again_gives_the_same_slots(shared):
    for uid in "bac":
        shared.put(uid, groups=0b0001, quota=30)
        shared.step()
    before = [shared.limits(uid) for uid in "abc"]
    shared.restart_agent()
    shared.step(after_s=1)
    assert [shared.limits(uid) for uid in "abc"] == before


def test_exclusive_pods_and_gpus_without_mps_have_no_leases(shared):
    shared.put("a", groups=0b0001, **{contract.ISOLATION: "exclusive"})
    shared.step()
    assert shared.limits("a").lease_slot == 0
    shared.restart_agent(NodeGpu(GPU.uuid, TOY, Backend("B", "no MPS")))
    shared.put("b", groups=0b0010, quota=40)
    shared.step()
    assert shared.limits("b").lease_slot == 0


def test_beside_a_pod_that_is_older_than_the_leases_all_keep_to_their_turns(shared):
    shared.put("old", groups=0b0001, quota=40)
    shared.put("new", groups=0b0001, quota=50)
    del shared.pods["old"]["spec"]["containers"][0]["env"]
    shared.step()
    assert shared.limits("old").lease_slot == shared.limits("new").lease_slot == 0
    assert shared.limits("old").phase_ns != shared.limits("new").phase_ns
    del shared.pods["old"]
    shared.step()
    assert shared.limits("new").lease_slot


def test_without_partitions_everybody_is_in_everybodys_way(shared):
    shared.restart_agent(NodeGpu(GPU.uuid, TOY, Backend("C", "an older driver")))
    shared.put("a", groups=0b0001)
    shared.put("b", groups=0b0010)
    shared.step()
    assert shared.limits("a").lease_conflicts == 1 << shared.limits("b").lease_slot


def test_without_a_folder_pods_keep_to_their_turns(bench):
    bench.put("a", quota=40)
    bench.put("b", quota=60)
    bench.step()
    assert bench.limits("a").lease_slot == bench.limits("b").lease_slot == 0
    assert bench.limits("a").phase_ns != bench.limits("b").phase_ns


def test_a_folder_that_cannot_be_made_is_told_of_once(bench, tmp_path, caplog):
    (tmp_path / "leases").write_text("in the way")
    bench.leases = tmp_path / "leases"
    bench.restart_agent()
    bench.put("a")
    for _ in range(3):
        bench.step(after_s=1)
    assert bench.limits("a").lease_slot == 0
    assert len([r for r in caplog.records if "take turns without leases" in r.message]) == 1


@pytest.mark.parametrize(("value", "flag"), [("true", FLAG_BURST), ("false", 0), ("yes", 0)])
def test_only_pods_that_may_borrow_are_told_so(value, flag, shared):
    shared.put("a", **{contract.BURST: value})
    shared.step()
    assert shared.limits("a").flags & FLAG_BURST == flag


def raw(folder):
    return RawLeases.from_buffer_copy((folder / GPU.uuid).read_bytes())


def set_raw(folder, **fields):
    changed = raw(folder)
    for name, value in fields.items():
        setattr(changed, name, value)
    with (folder / GPU.uuid).open("r+b") as file:
        file.write(bytes(changed))


def test_the_slot_of_a_pod_that_is_gone_is_stepped_over_at_once(tmp_path):
    files = LeaseFiles(tmp_path)
    assert files.ready(GPU.uuid)
    files.use(GPU.uuid, [1, 2])
    slots = RawLeases().slots
    for slot in (1, 2):
        slots[slot].renewed_at_ns = slots[slot].waits_at_ns = 99
    set_raw(tmp_path, slots=slots, running=0b110)
    files.use(GPU.uuid, [1])
    times = [(x.renewed_at_ns, x.waits_at_ns) for x in raw(tmp_path).slots[1:3]]
    assert times == [(99, 99), (0, 0)]
    assert raw(tmp_path).running == 0b110  # clearing it is the library's, atomically


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"short"),
        lambda path: set_raw(path.parent, abi_version=1),
        lambda path: set_raw(path.parent, gpu_uuid=b"GPU-other"),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.rename(path.with_name("good")), path.symlink_to("good")),
    ],
    ids=["gone", "too short", "another version", "another GPU", "a pipe", "a link"],
)
def test_a_file_that_cannot_be_used_is_made_anew_and_a_good_one_is_kept(spoil, tmp_path):
    LeaseFile(tmp_path, GPU.uuid).close()
    inode = (tmp_path / GPU.uuid).stat().st_ino
    set_raw(tmp_path, running=0b10)
    LeaseFile(tmp_path, GPU.uuid).close()
    assert ((tmp_path / GPU.uuid).stat().st_ino, raw(tmp_path).running) == (inode, 0b10)
    spoil(tmp_path / GPU.uuid)
    LeaseFile(tmp_path, GPU.uuid).close()
    assert raw(tmp_path).running == 0
    assert raw(tmp_path).gpu_uuid.decode() == GPU.uuid
    assert (tmp_path / GPU.uuid).lstat().st_mode & 0o777777 == 0o100666


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 0),
        lambda path: set_raw(path.parent, magic=1),
        lambda path: (path.unlink(), LeaseFile(path.parent, GPU.uuid).close()),
    ],
    ids=["removed", "cut short", "overwritten", "replaced"],
)
def test_an_agent_survives_what_a_pod_does_to_the_file_and_mends_it(spoil, tmp_path):
    files = LeaseFiles(tmp_path)
    assert files.ready(GPU.uuid)
    files.use(GPU.uuid, [1, 2])
    spoil(tmp_path / GPU.uuid)
    files.use(GPU.uuid, [1])  # the file is not touched through a mapping
    assert files.ready(GPU.uuid)
    slots = RawLeases().slots
    slots[3].renewed_at_ns = 99
    set_raw(tmp_path, slots=slots)
    files.use(GPU.uuid, [1])
    assert raw(tmp_path).slots[3].renewed_at_ns == 0
    assert [path.name for path in tmp_path.iterdir()] == [GPU.uuid]


def test_no_link_that_a_pod_laid_is_written_through(tmp_path):
    """A pod may make files in the folder, and the agent can write where the pod cannot."""
    folder, other = tmp_path / "leases", tmp_path / "of somebody else"
    folder.mkdir()
    other.write_text("kept")
    other.chmod(0o600)
    for name in (f".{GPU.uuid}.{os.getpid()}", GPU.uuid):
        (folder / name).symlink_to(other)
    LeaseFile(folder, GPU.uuid).close()
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("kept", 0o600)
