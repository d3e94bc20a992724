"""What does it cost a decision that the latency model learns?

The fleet of ``policy_speed``, with profiles in place of the table: every network is observed once
in ten seconds, and one network that has learnt something is published in every tick that has one.

    python -m benchmarks.policy_speed_learning [--services 1000 --gpus 250 --ticks 150]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoscaler.policy.decide import decide
from autoscaler.policy.handover import handed_over
from autoscaler.policy.observation import Service
from autoscaler.policy.state import State
from benchmarks.policy_speed import Fleet
from kserve_has.config.policy import PolicySettings
from kserve_has.rapp.online import Learner, Observed
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import read

PROFILE = Path(__file__).parents[1] / "docs/results/profiles"
PROFILED = PROFILE / "resnet50_NVIDIA-H200_fp32-eager.profile.json"
WARM, LOOK = 60, 50  # ticks: before what is timed begins, and between two looks


class ManyNetworks(Fleet):
    """Services of so many networks."""

    networks = 1

    def _service(self, number: int) -> Service:
        name = f"m{number % self.networks}"
        return replace(super()._service(number), served_model=name)


def observations(latency: Learner, networks: int, draw: np.random.Generator) -> list[Observed]:
    """Return one observation of every network, a few per cent off what is believed."""
    found = []
    for number in range(networks):
        place = (f"m{number}", "NVIDIA H200")
        sm = 8 * int(draw.integers(1, 7))
        mean_ms = latency.model.predict(*place, 1, sm, 100).mean_ms
        ms = mean_ms * float(np.exp(0.05 * draw.standard_normal()))
        found.append(Observed(*place, 1, sm, ms))
    return found


def timed(services: int, gpus: int, networks: int, ticks: int, *, learning: bool) -> np.ndarray:
    """Return CPU milliseconds of (learning and handing over, deciding) for every tick."""
    profile = read(PROFILED)
    model = from_profiles([replace(profile, model=f"m{i}") for i in range(networks)])
    settings, learner, draw = PolicySettings(), Learner(model), np.random.default_rng(2)
    kind = type("Fleet", (ManyNetworks,), {"networks": networks})
    fleet, state, spent = kind(services, gpus, seed=1), State(), []
    for tick in range(ticks + WARM):
        seen = fleet.observe(tick)
        if learning and tick % LOOK == 0:
            learner.put(observations(learner, networks, draw))
        former, began = learner.model, time.process_time()
        if learner.step(seen.now_s):
            state = handed_over(state, seen, settings, former, learner.model)
        learnt = time.process_time()
        decision = decide(state, seen, settings, learner.model)
        spent.append((learnt - began, time.process_time() - learnt))
        state = decision.state
        fleet.obey(decision.plan)
    return 1000.0 * np.array(spent[WARM:])


def main() -> None:
    """Print one line for every number of networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=250)
    parser.add_argument("--ticks", type=int, default=150)
    args = parser.parse_args()
    print("| networks | learning | step ms, median | p99 | decision ms, median | p99 |")
    print("|---|---|---|---|---|---|")
    for networks in (3, args.services):
        for learning in (False, True):
            spent = timed(args.services, args.gpus, networks, args.ticks, learning=learning)
            (step, median), (step99, p99) = np.percentile(spent, [50, 99], axis=0)
            told = "yes" if learning else "no"
            print(
                f"| {networks} | {told} | {step:.1f} | {step99:.1f} | {median:.1f} | {p99:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
