import pytest

from benchmarks.gpu import h200_quota_child as child
from benchmarks.gpu.h200_quota_plan import Visit


class Pod:
    """Takes every limit; its meter counts requests."""

    def __init__(self):
        self.quotas, self.asked = [], []

    def set(self, quota, groups):
        self.quotas.append(quota)

    def counters(self):
        return {"gpu_time_ns": len(self.asked) * 10**6, "area_sm_ns": len(self.asked) * 24 * 10**6}


class Work:
    def __init__(self, pod):
        self.pod = pod

    def request(self, *_):
        return lambda: self.pod.asked.append(self.pod.quotas[-1])


@pytest.fixture
def rows(monkeypatch):
    said = []
    monkeypatch.setattr(child, "CHECK", True)
    monkeypatch.setattr(child, "say", lambda **answer: said.append(answer["row"]))
    monkeypatch.setattr(child.time, "sleep", lambda _: None)
    monkeypatch.setattr(child, "WINDOW_MS", 0.01)
    return said


@pytest.mark.parametrize(("first", "unmeasured"), [(75, 1), (15, 1)])
def test_no_measured_request_pays_for_the_move_to_its_partition(rows, tmp_path, first, unmeasured):
    pod = Pod()
    lone = child.Lone(pod, Work(pod), child.Turn(tmp_path / "lock"), seed=1)
    lone.all([Visit("a", "a", "graph", 8, 24, quotas=(first, 100))], 0.0, float("inf"))
    row, whole = rows
    assert pod.asked.count(10 * first) == int(row["runs"]) + unmeasured
    assert pod.asked.count(1000) == int(whole["runs"]) + 1  # the one that it settled with


def test_the_meter_is_read_before_the_last_request_and_after_all_others(rows, tmp_path):
    pod = Pod()
    lone = child.Lone(pod, Work(pod), child.Turn(tmp_path / "lock"), seed=1)
    lone.all([Visit("a", "a", "graph", 8, 24, quotas=(100,))], 0.0, float("inf"))
    (row,) = rows
    assert row["metered_sm"] == "24"
    assert float(row["metered_ms"]) == pytest.approx(1.0)
