"""One service's requests, on hand-made arrivals and without noise."""

import numpy as np
import pytest

from autoscaler.simulator.lane import WINDOW_S, Lane, Server


class Exact:
    """Physics without noise: 10 ms on any SMs."""

    def law(self, sm):
        return 10.0, 0.0, 0.0

    def noise(self):
        return [0.0] * (1 << 16)


def lane(arrivals, *, slo_s=0.1, queue_limit=100, timeout_s=60.0):
    return Lane(arrivals, slo_s, Exact(), queue_limit, timeout_s)


def server(in_lane, name="a", *, quota=100, weight=1.0, now=0.0, slow=1.0):
    found = Server(name, 0.0)
    found.weight = weight
    in_lane.set_speed(found, 8, quota, slow, now)
    in_lane.join(found, now)
    return found


def test_a_request_alone_takes_its_service_time():
    own = lane([1.0])
    server(own)
    own.advance(2.0)
    assert own.latencies == pytest.approx([0.01])


def test_gpu_time_is_metered_whatever_was_waited_for():
    own = lane([1.0, 1.0, 1.0])
    held = server(own, quota=10)  # 5 ms of every 50
    own.advance(2.0)
    assert (held.answered, held.metered_s) == (3, pytest.approx(0.03))


def test_gpu_time_is_metered_at_the_speed_it_was_spent_at():
    own = lane([1.0])
    held = server(own)
    own.advance(1.005)
    own.set_speed(held, 8, 100, 2.0, 1.005)
    own.advance(2.0)
    assert held.metered_s == pytest.approx(0.005 + 0.010)


def test_requests_wait_for_those_before_them():
    own = lane([1.0, 1.0, 1.0])
    server(own)
    own.advance(2.0)
    assert own.latencies == pytest.approx([0.01, 0.02, 0.03])


def test_answers_after_the_objective_are_late():
    own = lane([1.0] * 5, slo_s=0.035)
    server(own)
    own.advance(2.0)
    assert own.late == 2


def test_the_replica_with_least_work_for_its_weight_is_chosen():
    own = lane([1.0] * 4)
    strong, weak = server(own, "a", weight=3.0), server(own, "b", weight=1.0)
    own.advance(1.0)
    assert (3, 1) == (strong.active, weak.active)


def test_without_a_replica_requests_wait_and_go_to_the_first_one():
    own = lane([1.0, 1.5])
    own.advance(2.0)
    assert own.in_flight == 2
    server(own, now=3.0)
    own.advance(4.0)
    assert own.latencies == pytest.approx([2.01, 1.52])


def test_more_than_the_limit_is_refused():
    own = lane([1.0] * 5, queue_limit=2)
    server(own)
    own.advance(2.0)
    assert (2, 3) == (own.failed, len(own.latencies))


def test_who_waited_too_long_fails_and_is_not_worked_on():
    own = lane([1.0] * 4, timeout_s=0.015)
    server(own)
    own.advance(2.0)
    assert (2, 2) == (own.failed, len(own.latencies))


def test_a_lost_replica_takes_its_requests_with_it():
    own = lane([1.0] * 3)
    lost = server(own)
    own.advance(1.005)
    own.kill(lost)
    own.advance(2.0)
    assert (3, 0, 0) == (own.failed, len(own.latencies), own.in_flight)


def test_a_replica_that_leaves_finishes_what_is_bound_to_it():
    own = lane([1.0, 1.0, 1.2])
    first = server(own)
    own.advance(1.001)
    own.leave(first)
    server(own, "b", now=1.001)
    own.advance(2.0)
    assert own.latencies == pytest.approx([0.01, 0.02, 0.01])


def test_a_resize_holds_for_what_is_left_of_the_request_in_work():
    own = lane([1.0])
    found = server(own)
    own.advance(1.005)
    own.set_speed(found, 8, 100, 2.0, 1.005)  # half is done; the other half takes twice as long
    own.advance(2.0)
    assert own.latencies == pytest.approx([0.015])


@pytest.mark.parametrize(
    ("start", "gpu_s", "end"),
    [
        pytest.param(0.0, 0.01, 0.01, id="within the budget"),
        pytest.param(0.0, 0.02, 0.055, id="15 ms now, 5 ms in the next window"),
        pytest.param(0.04, 0.02, 0.06, id="10 ms at the end of one window, 10 ms of the next"),
        pytest.param(0.0, 0.04, 0.11, id="over three windows"),
    ],
)
def test_the_quota_grants_its_share_of_every_window(start, gpu_s, end):
    found = Server("a", 0.0)
    found.quota, found.budget_s = 0.3, 0.3 * WINDOW_S
    assert end == pytest.approx(found.end_of(start, gpu_s))


def test_what_a_window_granted_is_used_up_for_the_next_request_in_it():
    found = Server("a", 0.0)
    found.quota, found.budget_s = 0.3, 0.3 * WINDOW_S
    found.end_of(0.0, 0.015)
    assert found.end_of(0.02, 0.001) == pytest.approx(0.051)


def test_over_time_no_more_than_the_quota_is_had():
    found = Server("a", 0.013)
    found.quota, found.budget_s = 0.4, 0.4 * WINDOW_S
    now, used = 0.0, 0.0
    for gpu_s in np.random.default_rng(1).random(2000) * 0.02:
        now = found.end_of(now, float(gpu_s))
        used += float(gpu_s)
    assert used / now == pytest.approx(0.4, abs=0.002)
