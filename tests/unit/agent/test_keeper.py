import json
import shutil
from datetime import datetime

import pytest

from kserve_has import contract
from quota_runtime import region

from .conftest import WALL_S


def test_a_pod_without_processes_gets_its_limits_and_its_acknowledgement_in_one_step(bench):
    bench.put("a", groups=0b0011, quota=40, epoch=7)
    (owed,) = bench.step()
    limits = bench.limits("a")
    assert (7, 0b0011, 400, 100) == (
        limits.epoch,
        limits.sm_groups,
        limits.quota_permille,
        limits.memory_limit_bytes,
    )
    assert region.FLAG_TIME | region.FLAG_SM | region.FLAG_MEMORY == limits.flags
    value = json.loads(owed.value)
    assert (7, "0x0003", 40) == (value["epoch"], value["sm_groups"], value["quota"])


def test_limits_wait_for_the_volume_that_kubelet_makes(bench):
    bench.put("a", volume=False)
    assert [] == bench.step()
    assert bench.keeper.next_step_s(bench.now()) <= 0.02
    bench.put("a")
    assert 1 == len(bench.step())


def test_limits_hidden_by_a_later_mount_are_written_again(bench):
    bench.put("a")
    bench.step()
    shutil.rmtree(bench.folder("a"))
    bench.folder("a").mkdir()
    bench.step()
    assert 1 == bench.limits("a").epoch


def test_a_change_is_acknowledged_with_the_time_at_which_the_slowest_process_took_it_up(bench):
    bench.put("a", quota=50, epoch=1)
    bench.step()
    bench.follow("a", 1, pid=1)
    bench.follow("a", 1, pid=2)
    bench.put("a", quota=80, epoch=2)
    bench.keeper.acknowledged(bench.step()[0])
    bench.ns += 3_000_000
    bench.follow("a", 2, pid=1)
    assert [] == bench.step()
    bench.ns += 4_000_000
    bench.follow("a", 2, pid=2)
    (owed,) = bench.step(after_s=0.004)
    at = datetime.fromisoformat(json.loads(owed.value)["at"]).timestamp()
    assert at == pytest.approx(WALL_S + (bench.ns - 4_000_000) / 1e9, abs=2e-6)
    assert bench.resizes == pytest.approx([0.007])


def test_an_acknowledgement_is_owed_until_it_has_reached_the_api_server(bench):
    bench.put("a")
    (owed,) = bench.step()
    assert [owed] == bench.step()
    bench.keeper.acknowledged(owed)
    assert [] == bench.step()


def test_while_an_acknowledgement_is_pending_the_usage_file_is_polled_within_20_ms(bench):
    bench.put("a")
    bench.step()
    bench.follow("a", 1)
    bench.put("a", epoch=2)
    bench.step()
    assert bench.keeper.next_step_s(bench.now()) <= 0.02
    bench.follow("a", 2)
    bench.step()
    assert bench.keeper.next_step_s(bench.now()) > 0.02


def test_a_process_that_is_dead_or_stopped_is_not_waited_for(bench):
    bench.put("a")
    bench.step()
    bench.follow("a", 1, silent_s=0.0)
    bench.put("a", epoch=2)
    bench.step()
    assert bench.keeper.replicas["a"].pending
    bench.step(after_s=2.1)
    assert not bench.keeper.replicas["a"].pending


def test_a_process_that_started_since_the_last_look_must_acknowledge(bench):
    bench.put("a")
    bench.step()
    bench.follow("a", 1)
    bench.put("a", epoch=2)
    bench.step(after_s=0.01)
    assert bench.keeper.replicas["a"].pending


def test_groups_go_to_the_next_pod_only_after_the_last_holder_has_let_go(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.follow("a", 1)
    bench.follow("b", 1)
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.step(after_s=0.01)
    assert (0b0001, 0b0100) == (bench.limits("a").sm_groups, bench.limits("b").sm_groups)
    bench.follow("a", 2)
    bench.step(after_s=0.01)
    assert 0b0110 == bench.limits("b").sm_groups


def test_without_processes_a_handover_takes_one_step(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.step()
    assert 0b0110 == bench.limits("b").sm_groups


def test_a_holder_that_never_answers_is_overridden_after_the_handover_time(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.follow("a", 1)
    bench.step()
    bench.follow("a", 1)
    bench.step(after_s=0.9)
    assert 0b0100 == bench.limits("b").sm_groups
    bench.follow("a", 1)
    bench.step(after_s=0.2)
    assert 0b0110 == bench.limits("b").sm_groups


def test_an_overpromised_piece_is_refused_and_the_last_good_one_kept(bench):
    bench.put("a", groups=0b0001, quota=60)
    bench.put("b", groups=0b0010, quota=60)
    bench.step()
    bench.put("b", groups=0b0001, quota=60, epoch=2)
    bench.step()
    assert (1, 0b0010) == (bench.limits("b").epoch, bench.limits("b").sm_groups)
    assert "100 % of the time" in bench.keeper.replicas["b"].complaint


def test_a_refused_piece_is_given_as_soon_as_its_room_is_free(bench):
    bench.put("a", groups=0b0001, quota=100)
    bench.step()
    bench.put("b", groups=0b0001, quota=100)
    bench.step()
    assert bench.limits("b") is None
    del bench.pods["a"]
    bench.step()
    assert 1 == bench.limits("b").epoch
    assert "" == bench.keeper.replicas["b"].complaint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({contract.QUOTA: "0", contract.SM_GROUPS: "7"}, "sm-groups: '7' is not a bitmap"),
        ({contract.QUOTA: "0", contract.SM_GROUPS: "7"}, "quota: 0 is outside 1..100"),
        ({contract.GPU_UUID: "GPU-z"}, "GPU GPU-z is not on this node"),
        ({contract.EPOCH: "4"}, "epoch 4 after 5: it must grow"),
        ({contract.EPOCH: "5"}, "epoch 5 after 5: it must grow"),
    ],
)
def test_bad_annotations_keep_the_last_good_limits_and_say_why(bench, changes, words):
    bench.put("a", quota=50, epoch=5)
    bench.step()
    bench.put("a", **{"quota": 60, "epoch": 6, **changes})
    bench.step()
    bench.step()
    assert (5, 500) == (bench.limits("a").epoch, bench.limits("a").quota_permille)
    assert words in bench.keeper.replicas["a"].complaint


def test_a_restarted_agent_disturbs_nothing_and_acknowledges_what_is_owed(bench):
    bench.put("a", epoch=3)
    bench.step()
    bench.follow("a", 3)
    before = bench.limits("a")
    bench.restart_agent()
    (owed,) = bench.step(after_s=5)
    assert 3 == owed.epoch
    assert before == bench.limits("a")
    bench.pods["a"]["metadata"]["annotations"][contract.IN_FORCE] = owed.value
    bench.restart_agent()
    assert [] == bench.step()
    assert before == bench.limits("a")


def test_a_restarted_agent_does_not_hand_on_groups_that_are_still_in_use(bench):
    bench.put("a", groups=0b0011, quota=100)
    bench.put("b", groups=0b0100, quota=100)
    bench.step()
    bench.follow("a", 1)
    bench.restart_agent()
    bench.put("a", groups=0b0001, quota=100, epoch=2)
    bench.put("b", groups=0b0110, quota=100, epoch=2)
    bench.step()
    assert 0b0100 == bench.limits("b").sm_groups


def deleted(bench, uid, in_s):
    stamp = datetime.fromtimestamp(bench.now().wall_s + in_s).astimezone()
    bench.pods[uid]["metadata"]["deletionTimestamp"] = stamp.isoformat()


def test_a_deleted_pod_may_launch_until_just_before_it_is_killed(bench):
    bench.put("a")
    bench.step()
    deleted(bench, "a", in_s=10)
    bench.step(after_s=9.4)
    assert not bench.limits("a").flags & region.FLAG_QUIESCE
    bench.step(after_s=0.2)
    assert bench.limits("a").flags & region.FLAG_QUIESCE


@pytest.mark.parametrize("isolation", ["shared", "exclusive"])
def test_a_deleted_pod_that_stays_costs_no_more_steps_than_any_other(bench, isolation):
    bench.put("a", groups=0b1111, **{contract.ISOLATION: isolation})
    bench.keeper.acknowledged(bench.step()[0])
    deleted(bench, "a", in_s=1.0)
    bench.step(after_s=0.3)
    assert bench.keeper.next_step_s(bench.now()) == pytest.approx(0.2, abs=0.01)
    bench.step(after_s=0.2)
    assert bench.limits("a").flags & region.FLAG_QUIESCE
    due = ["a"] if isolation == "shared" else []
    assert [] == bench.keeper.take_terminations()
    bench.step(after_s=0.25)
    assert due == bench.keeper.take_terminations()
    assert [] == bench.keeper.take_terminations()
    bench.step(after_s=100.0)
    assert bench.keeper.next_step_s(bench.now()) > 0.2


def test_the_groups_of_a_quiesced_pod_are_free(bench):
    bench.put("a", groups=0b0001, quota=100)
    bench.step()
    deleted(bench, "a", in_s=0)
    bench.put("b", groups=0b0001, quota=100)
    bench.step()
    bench.step()
    assert 0b0001 == bench.limits("b").sm_groups


def test_pods_that_share_groups_get_turns(bench):
    bench.put("a", groups=0b0001, quota=40)
    bench.put("b", groups=0b0001, quota=60)
    bench.step()
    assert (1, 20_000_000) == (bench.limits("a").phase_ns, bench.limits("b").phase_ns)


def test_a_neighbours_turn_moves_without_a_new_epoch(bench):
    bench.put("a", groups=0b0001, quota=40)
    bench.put("b", groups=0b0001, quota=40)
    bench.step()
    bench.put("a", groups=0b0001, quota=60, epoch=2)
    bench.step()
    bench.step()
    assert (1, 40) == (bench.limits("b").epoch, bench.limits("b").quota_permille // 10)
    assert 60 == bench.limits("a").quota_permille // 10


def test_granted_area_is_the_integral_of_sm_times_quota(bench):
    bench.put("a", groups=0b0011, quota=50)
    bench.step()
    bench.step(after_s=2.0)
    bench.put("a", groups=0b0001, quota=50, epoch=2)
    bench.step()
    bench.step(after_s=1.0)
    assert bench.keeper.replicas["a"].granted_sm_ns / 1e9 == pytest.approx(16 * 0.5 * 2 + 8 * 0.5)


def test_a_pod_that_has_ended_or_is_not_placed_is_left_alone(bench):
    bench.put("a")
    bench.pods["a"]["status"]["phase"] = "Succeeded"
    bench.put("b", **{contract.GPU_UUID: ""})
    bench.step()
    assert {} == bench.keeper.replicas


def test_usage_of_another_release_is_reported_and_not_believed(bench):
    bench.put("a")
    bench.step()
    (bench.folder("a") / contract.USAGE_FILE).write_bytes(b"x" * region.USAGE_SIZE)
    bench.step(after_s=1.0)
    assert "another release" in bench.keeper.replicas["a"].complaint
    bench.restart_agent()
    bench.step()
    assert "another release" in bench.keeper.replicas["a"].complaint
