import random
from itertools import pairwise

import pytest

from benchmarks.gpu.window_phases import Phases
from kserve_has.latency.duty import alone_mean_ms, alone_ms

WINDOW_MS = 50.0


def measured(gpu_ms, quota, offset_ms=3.0, **options):
    phases = Phases(WINDOW_MS, offset_ms, **options)
    while (phase := phases.next_ms()) is not None:
        phases.add(phase, alone_ms(gpu_ms, quota, WINDOW_MS, phase))
    return phases


@pytest.mark.parametrize("gpu_ms", [3.0, 12.0, 20.0, 33.0, 75.0])
@pytest.mark.parametrize("quota", [15, 30, 50, 75])
def test_few_requests_give_the_mean_over_the_whole_window(gpu_ms, quota):
    offset_ms = random.Random(gpu_ms).uniform(0, WINDOW_MS)
    phases = measured(gpu_ms, quota, offset_ms)
    expected = alone_mean_ms(gpu_ms, quota, WINDOW_MS)
    assert len(phases.walls) <= phases.most
    assert phases.mean_ms() == pytest.approx(expected, rel=0.015)


def test_what_never_pauses_needs_the_fewest_requests():
    assert len(measured(5.0, 50).walls) == 6


def test_a_jump_is_closed_in_on():
    walls = measured(20.0, 30).walls
    around = sorted(walls)
    gaps = [b - a for a, b in pairwise(around)]
    assert min(gaps) < WINDOW_MS / 6 / 4
