from dataclasses import replace

from benchmarks.gpu.h200_quota_child import ran_on, requests
from benchmarks.gpu.h200_quota_dataset import COLUMNS, KEY, controls, missing
from benchmarks.gpu.h200_quota_plan import (
    ALONE,
    ALONE_WAY,
    BATCHES,
    BESIDE,
    PARTITIONS,
    QUOTAS,
    SHARED,
    THERE,
    Visit,
    assigned,
    visits,
)
from benchmarks.gpu.measuring import MeasuredRows

FAMILY = {"a1": "a", "a2": "a", "b1": "b"}


def written(visit, quota, latency_ms):
    blank = dict.fromkeys(COLUMNS, "1")
    return blank | visit.place() | {"quota": quota, "latency_ms": latency_ms}


def test_every_network_is_in_one_process_and_the_heaviest_are_apart():
    shares = assigned(["a1", "a2", "b1", "c1"], 2, {"a1": 9.0, "b1": 8.0, "a2": 1.0, "c1": 1.0})
    assert sorted(name for share in shares for name in share) == ["a1", "a2", "b1", "c1"]
    assert not any({"a1", "b1"} <= set(share) for share in shares)
    assert assigned(["a1"], 4, {}) == [["a1"]]


def test_the_grid_is_whole_and_comes_before_what_is_measured_again():
    wanted = visits(["a1", "b1"], FAMILY, seed=3)
    grid = [v for v in wanted if v.mode == "graph" and v.way == SHARED and not v.repeat]
    assert {(v.batch, v.sm, q) for v in grid if v.model == "b1" for q in v.quotas} == {
        (batch, sm, quota) for batch in BATCHES for sm in PARTITIONS for quota in QUOTAS
    }
    assert wanted[: len(grid)] == grid
    assert all(v.until < 1 for v in grid)
    assert all(v.until == 1 for v in wanted[len(grid) :])


def test_every_other_way_is_followed_by_the_usual_one():
    wanted = visits(["a1", "b1"], FAMILY, seed=3)
    others = [at for at, v in enumerate(wanted) if v.way != SHARED]
    assert len(others) == ALONE + THERE
    for at in others:
        assert wanted[at + 1] == replace(wanted[at], way=SHARED, repeat=BESIDE)


def test_repeats_are_in_another_order():
    wanted = visits(["a1", "b1"], FAMILY, seed=3)
    again = [(v.model, v.batch, v.sm) for v in wanted if v.repeat == 1 and v.mode == "graph"]
    first = [(v.model, v.batch, v.sm) for v in wanted[: len(again)]]
    assert sorted(again) == sorted(first)
    assert again != first


def test_only_what_is_missing_is_measured_and_other_ways_are_compared(tmp_path):
    visit = Visit("a1", "a", "graph", 8, 24, quotas=(100, 50))
    alone = Visit("a1", "a", "graph", 8, 24, quotas=(50,), way=ALONE_WAY)
    with MeasuredRows(tmp_path / "rows.csv", COLUMNS, KEY) as rows:
        rows.write(written(visit, 50, 2.0))
        assert [v.quotas for v in missing(rows, [visit, alone])] == [(100,), (50,)]
        rows.write(written(alone, 50, 2.02))
        assert missing(rows, [alone]) == []
        assert controls(rows) == {}
        rows.write(written(replace(visit, repeat=BESIDE), 50, 2.0))
        found = controls(rows)
    assert found[ALONE_WAY]["rows"] == 1
    assert found[ALONE_WAY]["mean"] == 0.01


def test_the_meter_says_where_it_ran():
    before = {"gpu_time_ns": 10, "area_sm_ns": 100}
    assert ran_on(before, before) == 0
    assert ran_on(before, {"gpu_time_ns": 30, "area_sm_ns": 100 + 20 * 24}) == 24


def test_longer_requests_are_asked_less_often():
    counts = [requests("graph", ms, fits=ms < 20)[0] for ms in (1.0, 10.0, 30.0, 100.0)]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= 2
