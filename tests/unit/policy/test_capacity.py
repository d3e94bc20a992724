import itertools
import math
import random
from dataclasses import replace
from heapq import heappop, heappush

import pytest

from autoscaler.policy.capacity import Piece, ladder, utilisation, wait_chance
from kserve_has.gpu import H200
from kserve_has.slo import Slo

from .worlds import SETTINGS, SMALL, TABLE, service


def late_share(services, share, pool, *, jobs=60_000, seed=1):
    """Simulate Poisson arrivals at equal servers with steady service of 1, least requests first.

    Ties go to the first server, as at the gateway. Return the share that waits longer.
    """
    rng = random.Random(seed)
    now, late = 0.0, 0
    frees = [0.0] * pool  # when each server has finished all that is bound to it
    bound: list[list[float]] = [[] for _ in range(pool)]
    for _ in range(jobs):
        now += rng.expovariate(share * pool)
        for queue in bound:
            while queue and queue[0] <= now:
                heappop(queue)
        best = min(range(pool), key=lambda i: len(bound[i]))
        start = max(now, frees[best])
        frees[best] = start + 1.0
        heappush(bound[best], start + 1.0)
        late += start - now > services
    return late / jobs


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("services", [0.0, 0.5, 1.0, 2.5, 6.0])
def test_one_replica_waits_as_the_exact_queue_says(services, share):
    expected = late_share(services, share, 1)
    sigma = math.sqrt(max(expected, 1e-4) / 3_000)  # neighbours in a queue are alike
    assert expected == pytest.approx(wait_chance(services, share, 1), abs=4 * sigma)


@pytest.mark.parametrize(("services", "share"), [(0.5, 0.5), (1.0, 0.7), (3.0, 0.8)])
@pytest.mark.parametrize("pool", [2, 4, 8])
def test_several_replicas_wait_no_longer_than_the_approximation_says(pool, services, share):
    """It lies between one queue for all and a queue for each, and is not optimistic by much."""
    simulated = late_share(services, share, pool)
    told = wait_chance(services, share, pool)
    assert simulated <= told * 1.5 + 0.005
    assert told <= wait_chance(services, share, 1) + 1e-9


def test_the_chance_to_wait_rises_with_load_and_falls_with_patience():
    loads = [wait_chance(2.0, share / 20, 3) for share in range(21)]
    assert loads == sorted(loads)
    assert (loads[0], loads[-1]) == (0.0, 1.0)
    waits = [wait_chance(fifths / 5, 0.7, 1) for fifths in range(60)]
    assert waits == sorted(waits, reverse=True)


def test_the_tail_beyond_the_exact_sum_joins_it_without_a_step():
    below, above = wait_chance(3.99, 0.7, 1), wait_chance(4.01, 0.7, 1)
    assert below == pytest.approx(above, rel=0.05)


def test_the_documented_example_holds():
    assert round(utilisation(87.5, 12.5, 0.02), 2) == 0.76


def test_the_utilisation_keeps_the_chance_it_was_found_for():
    for wait_ms, pool in itertools.product((5.0, 20.0, 80.0), (1, 3, 8)):
        share = utilisation(wait_ms, 10.0, 0.01, pool)
        assert wait_chance(wait_ms / 10.0, share, pool) <= 0.01 + 1e-6


def test_no_time_to_wait_leaves_only_those_who_meet_an_idle_server():
    assert utilisation(-1.0, 10.0, 0.05) == pytest.approx(0.05, abs=1e-3)


def book(slo=None, pool=1, **fields):
    asked = service(slo=slo or Slo(20.0, 99), **fields)
    return ladder(asked, H200, SETTINGS, TABLE, pool)


def test_a_ladder_rises_in_price_and_in_service():
    useful = book().useful
    assert useful
    for lower, higher in itertools.pairwise(useful):
        assert lower.area < higher.area
        assert lower.rps < higher.rps


def test_the_cheapest_piece_is_enough_and_no_cheaper_one_is():
    found = book()
    piece = found.cheapest(100.0)
    assert piece is not None
    assert piece.rps >= 100.0
    assert all(other.rps < 100.0 for other in found.pieces if other.area < piece.area)


def test_more_than_the_strongest_piece_serves_is_served_by_none():
    found = book()
    assert found.cheapest(found.strongest_rps) is not None
    assert found.cheapest(found.strongest_rps + 0.1) is None


def test_a_tighter_objective_never_serves_more():
    loose, tight = book(Slo(40.0, 99)), book(Slo(8.0, 99))
    for sm, quota in itertools.product((8, 32, 132), (20, 60, 100)):
        assert tight.rps_of(sm, quota) <= loose.rps_of(sm, quota)


def test_several_replicas_serve_more_each_than_one_alone():
    assert book(Slo(8.0, 99), pool=4).rps_of(32, 100) > book(Slo(8.0, 99)).rps_of(32, 100)


def test_bounds_of_a_partition_are_kept():
    sizes = {piece.sm for piece in book(min_sm=16, max_sm=48).pieces}
    assert sizes == {16, 24, 32, 40, 48}


def test_an_exclusive_service_takes_all_groups_and_shares_only_time():
    pieces = book(Slo(200.0, 99), exclusive=True).pieces
    assert {(piece.groups, piece.sm) for piece in pieces} == {(16, 132)}
    assert {piece.quota for piece in pieces} >= {20, 50, 100}


def test_an_objective_that_nothing_meets_is_served_by_the_largest_piece():
    (only,) = book(Slo(1.0, 99)).pieces
    assert (only.groups, only.quota) == (16, 100)
    assert only.rps > 0


def test_the_parked_piece_is_the_smallest():
    assert book().smallest == Piece(1, 8, 10, 80, 0.0)


def test_the_odd_last_group_is_counted_only_when_all_are_taken():
    pieces = ladder(service(), SMALL, SETTINGS, TABLE).pieces
    assert {(piece.groups, piece.sm) for piece in pieces} == {(1, 8), (2, 16), (3, 24), (4, 36)}


def test_without_partitions_a_piece_is_its_area_in_time_on_the_whole_gpu():
    turns = replace(H200, partitions=False)
    book = ladder(service(slo=Slo(100.0, 99)), turns, SETTINGS, TABLE)
    cut = ladder(service(slo=Slo(100.0, 99)), H200, SETTINGS, TABLE)
    assert book.rps_of(132, 50) == cut.rps_of(132, 50)
    assert book.rps_of(64, 100) == cut.rps_of(132, 48) > 0
    assert book.work_rps(64, 100) == cut.work_rps(132, 48)
    assert book.rps_of(64, 100) != cut.rps_of(64, 100)


def test_without_partitions_even_the_largest_piece_of_a_bounded_service_is_a_share_of_time():
    turns = replace(H200, partitions=False)
    impossible = service(slo=Slo(0.5, 99), max_sm=64)
    best = ladder(impossible, turns, SETTINGS, TABLE).pieces[-1]
    alone_ms = TABLE.predict("resnet50", "NVIDIA H200", 1, 132, 100).upper_ms
    assert best.rps == pytest.approx(600.0 * 0.48 / alone_ms)
