"""A small made-up world: networks that follow the core exactly, and profiles of one."""

import numpy as np
import pytest

from kserve_has.rapp import core
from kserve_has.rapp.basis import Basis
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.learn import Assumption, learn
from kserve_has.rapp.profiles import Profile, ProfilePoint

BATCHES = (1, 4, 16)
SMS = (8, 32, 132)
CARD = {
    "gpu": "NVIDIA H200",
    "sm_count": 132,
    "driver": "580.159.04",
    "torch": "2.11.0",
    "date": "2026-11-24",
    "command": "kserve-has profile --model tiny",
}


def network(seed: int) -> Points:
    draw = np.random.default_rng(seed)
    theta = np.log([1.0, 5.0, 20.0, 0.2, 0.05]) + 0.5 * draw.standard_normal(5)
    batch, sm = (a.ravel().astype(float) for a in np.meshgrid(BATCHES, SMS))
    log_ms, _ = core.log_ms(theta, batch, sm)
    return Points(batch, sm, np.full(len(batch), 100.0), log_ms)


@pytest.fixture(scope="session")
def prior():
    networks = [network(seed) for seed in range(12)]
    return learn(networks, Basis((BATCHES, SMS)), assumption=Assumption(rounds=4))


@pytest.fixture
def made_up_network():
    return network


@pytest.fixture
def unseen():
    return network(99)


@pytest.fixture
def profile():
    places = ((1, 8), (16, 8), (16, 132), (1, 132), (4, 32), (8, 64))
    points = tuple(
        ProfilePoint(b, s, 100, 10, ms := 0.5 + 16.0 * b / s, 0.99 * ms, 1.01 * ms)
        for b, s in places
    )
    return Profile("tiny", "bf16", "graph", CARD, points)
