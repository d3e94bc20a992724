"""Profiling on a simulated GPU: it answers from the measured table."""

from importlib.resources import as_file, files

import numpy as np
import pytest

from kserve_has.errors import LatencyModelError
from kserve_has.profiler.session import Budget, run
from kserve_has.rapp.points import read_table
from kserve_has.rapp.priors import packaged
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, ProfilePoint

GPU = "NVIDIA H200"
CARD = {"gpu": GPU, "sm_count": 132, "driver": "1", "torch": "2", "date": "d", "command": "c"}


@pytest.fixture(scope="module")
def measured():
    with as_file(files("kserve_has.latency") / "data" / "h200_networks.csv") as path:
        points = read_table(path, dtype="bf16", mode="graph").networks["resnet50"]
    places = [(int(b), int(s)) for b, s in zip(points.batch, points.sm, strict=True)]
    return dict(zip(places, np.exp(points.log_ms), strict=True))


class SimulatedGpu:
    def __init__(self, table, *, spread=0.01, slower_by=0.0, reason="", point_s=0.5):
        self.table, self.spread, self.slower_by = table, spread, slower_by
        self.reason, self.point_s, self.asked = reason, point_s, []

    def measure(self, batch, sm):
        ms = float(self.table[batch, sm]) * (1 + self.slower_by * len(self.asked))
        self.asked.append((batch, sm))
        spread = self.spread(len(self.asked)) if callable(self.spread) else self.spread
        return ProfilePoint(batch, sm, 100, 20, ms, ms * (1 - spread / 2), ms * (1 + spread / 2))

    def throttled(self):
        return self.reason

    def spent_s(self):
        return self.point_s * len(self.asked)


def profile(gpu, begun=(), keep=lambda _: None, **budget):
    prior = packaged()["bf16-graph"].prior
    start = Profile("net", "bf16", "graph", CARD, tuple(begun))
    return run(gpu, prior, start, list(gpu.table), Budget(**budget), keep)


def test_a_few_points_tell_the_whole_table(measured):
    done = profile(SimulatedGpu(measured), points=6)
    model = from_profiles([done])
    errors = [
        abs(model.predict("net", GPU, b, s, 100).mean_ms / t - 1) for (b, s), t in measured.items()
    ]
    assert np.mean(errors) < 0.04
    assert done.card["complete"]
    assert len({(p.batch, p.sm) for p in done.points}) == len(done.points) <= 6


def test_gpu_time_is_a_budget(measured):
    gpu = SimulatedGpu(measured, point_s=10.0)
    done = profile(gpu, points=20, sure=0.0)
    assert gpu.spent_s() <= 60.0
    assert done.card["gpu_seconds"] == gpu.spent_s()


def test_it_stops_when_it_is_sure(measured):
    assert len(profile(SimulatedGpu(measured), points=40, sure=0.2).points) == 4


def test_every_point_is_kept_at_once_and_a_broken_run_goes_on(measured):
    kept = []

    def keep(so_far):
        kept.append(so_far)
        if len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(SimulatedGpu(measured), keep=keep)
    assert [1, 2, 3] == [len(p.points) for p in kept]
    second = SimulatedGpu(measured)
    done = profile(second, begun=kept[-1].points, points=6)
    assert done.points[:3] == kept[-1].points
    assert not set(second.asked[:-1]) & {(p.batch, p.sm) for p in kept[-1].points}


def test_one_noisy_try_is_forgiven(measured):
    done = profile(SimulatedGpu(measured, spread=lambda asked: 0.9 if asked == 2 else 0.01))
    assert all((p.p90_ms - p.p10_ms) / p.p50_ms < 0.3 for p in done.points)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        pytest.param({"spread": 0.9}, "noisy: p10 .* Is something else using", id="noise"),
        pytest.param({"reason": "heat (hardware)"}, r"throttled \(heat", id="throttled"),
        pytest.param({"slower_by": 0.05}, "clocks or neighbours changed", id="drift"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_refused_with_the_reason(measured, gpu, words):
    with pytest.raises(LatencyModelError, match=words) as caught:
        profile(SimulatedGpu(measured, **gpu))
    assert "run the same command again" in str(caught.value)


def test_no_time_for_anything_is_said(measured):
    with pytest.raises(LatencyModelError, match="give more --seconds"):
        profile(SimulatedGpu(measured), seconds=0.0)
