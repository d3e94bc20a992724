import math

import pytest

from autoscaler.controller.samples import (
    BEGUN,
    WAITING,
    Answers,
    History,
    arrivals,
    at_most,
    percentile,
    traffic,
)
from kserve_has.slo import Slo

BUCKETS = ((10.0, 50.0), (20.0, 90.0), (40.0, 100.0), (math.inf, 100.0))


def history(*points, gauge=False):
    found = History()
    found.extend(points, keep_s=1000, gauge=gauge)
    return found


def counted(*values, start=100.0):
    return {BEGUN: history(*((start + at, float(value)) for at, value in enumerate(values)))}


def test_the_rate_of_a_second_is_the_growth_of_the_counter():
    assert arrivals([counted(1000, 1010, 1030)], now=102.5, window_s=60) == (
        (1.5, 10.0),
        (0.5, 20.0),
    )


def test_requests_that_wait_for_a_replica_have_arrived():
    gateway = counted(0, 10, 20)
    gateway[WAITING] = history((100.0, 0.0), (101.0, 30.0), (102.0, 20.0), gauge=True)
    assert [rate for _, rate in arrivals([gateway], 102.0, 60)] == [40.0, 0.0]


def test_a_second_attempt_is_no_arrival():
    gateway = counted(0, 10)
    gateway["envoy_cluster_upstream_rq_retry"] = history((100.0, 0.0), (101.0, 4.0))
    assert [rate for _, rate in arrivals([gateway], 101.0, 60)] == [6.0]


def test_a_request_without_a_replica_is_an_arrival():
    gateway = counted(0, 0)
    gateway["envoy_cluster_upstream_cx_none_healthy"] = history((101.0, 5.0))
    assert [rate for _, rate in arrivals([gateway], 101.0, 60)] == [5.0]


def test_a_gateway_that_starts_again_counts_on():
    assert [rate for _, rate in arrivals([counted(500, 510, 4)], 102.0, 60)] == [10.0, 4.0]


def test_gateways_add_up_each_over_its_own_time():
    late = {BEGUN: history((101.0, 9000.0), (102.0, 9005.0))}
    rates = [rate for _, rate in arrivals([counted(0, 10, 20), late], 102.0, 60)]
    assert rates == [10.0, 15.0]


def test_seconds_are_told_only_when_every_gateway_was_asked():
    early = counted(*range(0, 300, 50), start=100.0)
    late = counted(*range(0, 300, 50), start=99.2)
    assert [rate for _, rate in arrivals([early, late], 105.0, 60)][-4:] == [100.0] * 4


def test_a_gateway_that_is_gone_holds_nobody_up():
    living, gone = counted(*range(0, 3000, 50)), counted(0, 50)
    found = arrivals([living, gone], 160.0, 5)
    assert [rate for _, rate in found] == [50.0] * 5


def test_no_rate_is_invented_before_the_first_sample():
    assert arrivals([counted(7)], 100.0, 60) == ()
    assert arrivals([], 100.0, 60) == ()


def test_history_forgets_what_is_older_than_wanted_and_ignores_what_it_has():
    found = history((100.0, 1.0))
    found.extend([(100.0, 5.0), (101.0, 2.0), (110.0, 3.0)], keep_s=9)
    assert found.points == [(101.0, 2.0), (110.0, 3.0)]


@pytest.mark.parametrize(("bound", "count"), [(10, 50), (15, 70), (40, 100), (5, 25), (99, 100)])
def test_requests_inside_a_bucket_are_spread_evenly(bound, count):
    assert at_most(BUCKETS, bound) == count


@pytest.mark.parametrize(("per_cent", "latency"), [(50, 10.0), (70, 15.0), (90, 20.0), (95, 30.0)])
def test_a_percentile_is_read_off_the_histogram(per_cent, latency):
    assert percentile(BUCKETS, per_cent) == latency


def test_of_latencies_beyond_the_last_edge_only_the_edge_is_known():
    assert percentile(((10.0, 1.0), (math.inf, 100.0)), 95) == 10.0


def test_without_answers_there_is_no_latency():
    assert percentile((), 95) is None
    assert percentile(((10.0, 0.0), (math.inf, 0.0)), 95) is None


def test_late_and_failed_requests_both_miss_the_objective():
    answers = Answers(BUCKETS, failed=5.0, ended=105.0, in_flight=7.0)
    seen = traffic([counted(0, 10)], answers, Slo(20.0, 95), 101.5, (60, 10))
    assert seen.late_share == pytest.approx((10 + 5) / 105)
    assert seen.answered_rps == pytest.approx(10.5)
    assert (seen.median_ms, seen.latency_ms) == (10.0, 30.0)
    assert (seen.in_flight, seen.sample_age_s) == (7.0, 0.5)


def test_a_service_the_gateway_does_not_know_has_no_sample():
    assert traffic([], Answers(), Slo(20.0), 0.0, (60, 10)).sample_age_s == math.inf
